# Sourced by tests/run.sh and examples/quickstart.sh: installs what is missing (Debian and Ubuntu packages).
# POSIX sh. Expects to run in the project's root.

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '== %s\n' "$*"; }

# need_packages NAME...: installs those that are not there, with sudo where needed.
need_packages() {
    missing=""
    for package in "$@"; do
        # "|| true": dpkg-query fails for a name that it has never seen.
        state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
        case $state in
            *"ok installed") ;;
            *) missing="$missing $package" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    say "installing:$missing"
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        as_root=sudo
    fi
    # An out-of-date package list is the usual reason for a failed install, so try again after an update.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing \
        >/dev/null 2>&1 && return 0
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

build_packages="gcc libc6-dev make cmake liblua5.4-dev libsqlite3-dev libjansson-dev libsodium-dev"

jobs=$(nproc 2>/dev/null || echo 2)
