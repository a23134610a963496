#!/bin/sh
# Installs into a scratch folder and builds a program against what was installed, and nothing else.
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
cmake --install build --prefix "$scratch" >/dev/null
cat >"$scratch/main.c" <<'C'
#include <stdio.h>
#include <triage.h>
int main(void)
{
    triage_context *context = NULL;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "host";
    if (triage_context_open(&context, &options) != TRIAGE_OK) {
        fprintf(stderr, "%s\n", triage_last_error());
        return 1;
    }
    printf("%s\n", triage_context_device_name(context));
    triage_context_free(context);
    return 0;
}
C
lib=$(dirname "$(find "$scratch" -name libtriage.so)")
cc -std=c17 -Wall -Wextra -Wpedantic -Werror "$scratch/main.c" -I "$scratch/include" -L "$lib" -ltriage \
    -Wl,-rpath,"$lib" -o "$scratch/main"
"$scratch/main"
"$scratch/bin/triage_tune" --help >/dev/null
# The one installed header is also C++.
printf '#include <triage.h>\nint main(){return 0;}\n' >"$scratch/main.cc"
if command -v c++ >/dev/null 2>&1; then
    c++ -Wall -Wextra -Wpedantic -Werror -I "$scratch/include" -c "$scratch/main.cc" -o "$scratch/main.o"
fi
# Nothing but triage_* is exported.
if nm -D --defined-only "$lib/libtriage.so" | awk '{print $3}' | grep -v '^triage_' | grep .; then
    echo "FAILED: the library exports the names above"
    exit 1
fi
echo "1 passed"
