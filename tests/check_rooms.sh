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
only "a table of options beside the one (cli/common/options.h)" '#include <argp.h>|argp_parse' '^src/cli/common/'
only "exit" '[^_a-z.](exit|abort) ?\(' '^src/(cli|measure)/'

# What is one operation's own stays in its rooms; the public header has them all. (bsr_sddmm's matrix and options are
# bsr_gemm's.)
operations=$(sed -n 's/^TRI_OPERATION(\([a-z0-9_]*\))$/\1/p' src/op/list.def)
[ -n "$operations" ] || { echo "no operation in src/op/list.def" && exit 1; }
told=""
words() {
    told="$told $1"
    only "a word of $1" "tri_(op_|cli_op_)?$2|triage_$2|\"$1[\" ]|op/$1/" "$3|^src/triage.h"
}
words bsr_gemm bsr '^src/(op|api)/bsr_(gemm|sddmm)/|^src/cli/(bench/bsr_gemm/|common/op_bsr_(gemm|sddmm))'
words bsr_sddmm sddmm '^src/(op|api)/bsr_sddmm/|^src/api/bsr_gemm/(bsr_gemm.h|matrix.c)|^src/cli/common/op_bsr_sddmm'
words attention attention '^src/(op|api)/attention/|^src/cli/(bench/attention/|common/op_attention)'
for operation in $operations; do
    case "$told " in *" $operation "*) ;; *) echo "$operation: no line here says which rooms may name it" && bad=1 ;; esac
done

# Includes go down: a room sees those before it in this list, and itself. An operation may see what op may, and op none.
rooms="base pattern check device op space render store evidence measure tune api cli"
place_of() {
    place=0
    for room in $rooms; do
        place=$((place + 1))
        [ "$room" = "$1" ] && break
    done
}
for from in $rooms; do
    place_of "$from"
    own=$place
    for to in $(grep -rhoE '^#include "[a-z]+/' "src/$from" 2>/dev/null | sed 's/.*"//; s|/||' | sort -u); do
        case " $rooms " in *" $to "*) ;; *) continue ;; esac # a template's args.h
        place_of "$to"
        if [ "$place" -gt "$own" ]; then
            echo "src/$from includes src/$to, which stands above it:"
            grep -rn "^#include \"$to/" "src/$from"
            bad=1
        fi
    done
done
any=$(echo "$operations" | paste -sd '|')
found=$(grep -nE "^#include \"(op/)?($any)/" src/op/*.[ch] || true)
[ -z "$found" ] || { echo "src/op names an operation:" && echo "$found" && bad=1; }

# A file is read top to bottom, a function at a glance, and a name means one thing.
found=$(echo "$sources" | xargs awk 'FNR == 801 { print FILENAME ": more than 800 lines" }
    FNR == 1 { from = 0 }
    /^[a-zA-Z_][^=;]*[(][^;]*$/ && !from { from = FNR; name = $0 }
    /^[}]/ { if (from && FNR - from > 60) print FILENAME ":" from ": more than 60 lines: " name }
    /^[}]/ || /^[^ ].*;$/ { from = 0 }')
[ -z "$found" ] || { echo "$found" && bad=1; }
found=$(grep -hoE '^(typedef )?(struct|enum|union) (TRI_IN_PLACE )?tri_[a-z_0-9]+ \{|^\} tri_[a-z_0-9]+;|^typedef .* tri_[a-z_0-9]+;' \
    $(echo "$sources" | grep '\.h$') | grep -oE 'tri_[a-z_0-9]+( \{|;)$' | sort | uniq -d | grep ';' || true)
[ -z "$found" ] || { echo "two types of one name:" && echo "$found" && bad=1; }

asm=$(find templates -type f | grep -v '^templates/lib/' | xargs grep -nE '\basm\b *(volatile)? *\(' /dev/null || true)
if [ -n "$asm" ]; then
    echo "inline assembly outside templates/lib:"
    echo "$asm"
    bad=1
fi

# What stands at the top is what a stranger sees first.
top="CHANGELOG.md CMakeLists.txt CMakePresets.json CONTRIBUTING.md Dockerfile LICENSE README.md cmake db docs examples python scripts
    src templates tests tuner"
for name in $(git ls-files 2>/dev/null | grep -v '^\.' | cut -d / -f 1 | uniq); do # nothing outside git
    echo $top | grep -qwF -- "$name" || { echo "$name: not one of the top level's $top" && bad=1; }
done

# A kernel is a template, a space entry and a reference (CONTRIBUTING.md): none may be missing. What the api itself launches
# around it (attention's selection of blocks) is named there.
for template in $(find templates -mindepth 2 -name '*.cu' -o -name '*.c'); do
    grep -qF "${template#templates/}" tuner/spaces/*.lua tuner/spaces/*/*.lua src/api/*/*.c || { echo "$template: in no space"; bad=1; }
done
[ "$bad" -eq 0 ] && echo "$(echo "$sources" | wc -l) files"
exit "$bad"
