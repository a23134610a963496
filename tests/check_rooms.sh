#!/bin/sh
# A line of code knows its room (docs: CONTRIBUTING.md). Each rule: what, where it may stand.
set -eu
cd "$(dirname "$0")/.."
bad=0

sources=$(find src -name '*.[ch]')
[ -n "$sources" ] || { echo "no file to look at" && exit 1; }

# only WHAT REGEX ALLOWED: no C file outside ALLOWED (a path regex) may match REGEX.
only() {
    found=$(echo "$sources" | grep -Ev "$3" | xargs grep -nE "$2" /dev/null || true)
    if [ -n "$found" ]; then
        echo "$1 outside its room:"
        echo "$found"
        bad=1
    fi
}
only "Lua" 'lua_State|#include <lua' '^src/space/'
only "SQLite" '#include <sqlite3' '^src/store/'
only "PostgreSQL" '#include <libpq' '^src/store/'
only "SQL text" '"(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP) ' '^$'
only "CUDA headers (device/cuda/abi.h declares what is used)" '#include <(cuda|nvrtc|nvml|cublas|cusparse)' '^$'
only "fork or exec" '\b(fork|execv[pe]*|execl[pe]*) ?\(' '^src/measure/'
only "printing" '\b(printf|puts|putchar) ?\(|f(printf|puts) ?\(std(out|err)' '^src/cli/'
only "the environment" '\bgetenv ?\(' '^src/cli/'
only "exit" '[^_a-z.](exit|abort) ?\(' '^src/(cli|measure)/'

asm=$(find templates -type f | grep -v '^templates/lib/' | xargs grep -nE '\basm\b *(volatile)? *\(' /dev/null || true)
if [ -n "$asm" ]; then
    echo "inline assembly outside templates/lib:"
    echo "$asm"
    bad=1
fi

# A kernel is a template, a space entry and a reference (CONTRIBUTING.md): none may be missing.
for template in $(find templates -mindepth 2 -name '*.cu' -o -name '*.c'); do
    grep -qF "${template#templates/}" tuner/spaces/*.lua tuner/spaces/*/*.lua || { echo "$template: in no space"; bad=1; }
done
[ "$bad" -eq 0 ] && echo "$(echo "$sources" | wc -l) files"
exit "$bad"
