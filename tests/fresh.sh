#!/bin/sh
# What a newcomer sees: makes a bare Debian in a folder (debootstrap, minbase: no compiler, no git, no CUDA), puts a copy
# of this tree in, and runs the README's two commands there, as root and as an ordinary user with sudo.
#
#   sh tests/fresh.sh [--as root|user] [bookworm|trixie] [COMMAND...]
#
#   --as      only as that one (default: both, each in a Debian of its own)
#   COMMAND   instead of the README's, e.g. 'sh tests/run.sh build unit'
#
# In it TRIAGE_BARE names the Debian as it was made, to be copied by who needs one with nothing in it (tests/install.sh).
#
# Needs root, and the host's apt sources, proxies, certificates and pip settings are used. What was downloaded is kept in
# /var/cache/triage-fresh, so that a second run is quick; nothing else is left, and the host's mounts are not touched.
# Exit code 0: all went well; 1: a command failed; 64: usage; 77: no such Debian can be made here.
set -eu
tree=$(cd "$(dirname "$0")/.." && pwd)
cache=/var/cache/triage-fresh
users="root user"
suite=bookworm

say() { printf '== fresh %s: %s\n' "$suite" "$*"; }
cannot() {
    echo "skipped: $*"
    exit 77
}

if [ "${1:-}" = --as ]; then
    case ${2:-} in
        root | user) users=$2 ;;
        *) echo "--as ${2:-} is not one of root, user" && exit 64 ;;
    esac
    shift 2
fi
case ${1:-} in
    bookworm | trixie) suite=$1 && shift ;;
    [a-z]*\ * | "") ;;
    *) echo "$1 is not one of bookworm, trixie" && exit 64 ;;
esac
# The commands of the README's "Start": lines of a shell block, a comment behind them.
if [ $# -eq 0 ]; then
    commands=$(sed -n '/^## Start/,/^## From/s/^\(sh [^#]*[^# ]\) *#.*/\1/p' "$tree/README.md")
else
    commands=$(printf '%s\n' "$@")
fi
[ -n "$commands" ] || { echo "README.md: no command in \"Start\"" && exit 1; }

# ---- the bare Debian ----

# The host's source whose address ends in $1, else $2.
source_of() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)*\([^ ]*\) .*/\2/p' | tr ' ' '\n' | grep -E "/$1/?\$" | head -n 1 |
        grep . || echo "$2"
}

write_sources() {
    for line in "$(source_of debian http://deb.debian.org/debian) $suite $suite-updates" \
        "$(source_of debian-security http://deb.debian.org/debian-security) $suite-security"; do
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n' "${line%% *}" "${line#* }" \
            /usr/share/keyrings/debian-archive-keyring.gpg
    done >"$1/etc/apt/sources.list.d/debian.sources"
    rm -f "$1/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::(http|https)::' >"$1/etc/apt/apt.conf.d/90host" || true
}

# Once per suite; a later run copies it.
make_base() {
    [ ! -d "$cache/$suite" ] || return 0
    say "making a bare Debian in $cache/$suite"
    rm -rf --one-file-system "$cache/$suite.new"
    debootstrap --variant=minbase "$suite" "$cache/$suite.new" "$(source_of debian http://deb.debian.org/debian)" \
        >"$cache/$suite.log" 2>&1 || { tail -n 5 "$cache/$suite.log" && cannot "debootstrap $suite failed"; }
    write_sources "$cache/$suite.new"
    rm -f "$cache/$suite.new"/var/cache/apt/archives/*.deb
    mv "$cache/$suite.new" "$cache/$suite"
}

# Those of runs that were killed.
remove_leftovers() {
    for left in "$cache"/root-*; do
        [ ! -d "$left" ] || kill -0 "${left##*-}" 2>/dev/null || rm -rf --one-file-system "$left"
    done
}

copy_tree() {
    mkdir -p "$1"
    at=$(git -C "$tree" stash create 2>/dev/null) || at=""
    if [ -e "$tree/.git" ] && git -C "$tree" archive "${at:-HEAD}" >"$root.tar" 2>/dev/null; then
        tar -C "$1" -xf "$root.tar"
    else # not from git: all but what is built
        tar -C "$tree" --exclude='./build*' --exclude=./.git --exclude=./.cache -cf - . | tar -C "$1" -xf -
    fi
    rm -f "$root.tar"
}

# What the machine around has and a newcomer's would have of its own: certificates, pip's settings, the user.
furnish() {
    mkdir -p "$root/bare" "$root/etc/ssl/certs" "$root/usr/local/share/ca-certificates" "$root$home/.cache" "$cache/pip"
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    [ ! -e /etc/pip.conf ] || cp -L /etc/pip.conf "$root/etc/"
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" 2>/dev/null || true
    cp -rL /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
    cp -a "$cache/pip" "$root$home/.cache/pip"
    mkdir -p "$cache/apt-$suite"
    cp -alf "$cache/apt-$suite/." "$root/var/cache/apt/archives/"
    copy_tree "$root$home/triage"
    [ "$user" != root ] || return 0
    inside root 'apt-get update -qq && apt-get install -y -qq --no-install-recommends sudo >/dev/null 2>&1
        useradd -s /bin/bash user && chown -R user: /home/user
        echo "user ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/user'
}

# ---- running in it ----

# inside USER SCRIPT: in namespaces of its own, so that mounts and processes end with it and with us. Waited for
# in the background: a shell handles signals only between commands. The inner shell stays root: who changes its user is
# no longer killed with its parent.
inside() {
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child sh -eu -c '
        root=$1 user=$2 home=$3 script=$4 bare=$5
        mount -t proc proc "$root/proc"
        mount --rbind /sys "$root/sys"
        mount --bind "$bare" "$root/bare" && mount -o remount,bind,ro "$root/bare"
        mount -t tmpfs -o mode=1777 shm "$root/dev/shm" 2>/dev/null || mkdir -p -m 1777 "$root/dev/shm"
        mkdir -p "$root/dev/pts" && mount -t devpts -o newinstance,ptmxmode=0666,mode=620 pts "$root/dev/pts"
        set -- env -i HOME="$home" USER="$user" LOGNAME="$user" LANG=C.UTF-8 TERM=dumb TRIAGE_BARE=/bare \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ${CI:+CI="$CI"} \
            ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
            ${no_proxy:+no_proxy="$no_proxy"} ${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL"} \
            ${PIP_CERT:+PIP_CERT="$PIP_CERT"} ${PIP_DEFAULT_TIMEOUT:+PIP_DEFAULT_TIMEOUT="$PIP_DEFAULT_TIMEOUT"}
        code=0
        chroot --userspec="$user:$user" "$root" "$@" sh -c "cd \"\$HOME/triage\" && $script" || code=$?
        exit "$code"' \
        sh "$root" "$1" "$home" "$2" "$cache/$suite" &
    child=$!
    code=0
    wait "$child" || code=$?
    child=""
    return "$code"
}

keep_downloads() {
    cp -aln "$root"/var/cache/apt/archives/*.deb "$cache/apt-$suite/" 2>/dev/null || true
    cp -an "$root$home/.cache/pip/." "$cache/pip/" 2>/dev/null && chown -R 0:0 "$cache/pip" || true
}

end() {
    [ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true
    [ -z "$child" ] || wait "$child" 2>/dev/null || true
    rm -rf --one-file-system "$root" "$root.tar"
}

# visit USER: everything in a new copy.
visit() {
    user=$1
    home=/root
    [ "$user" = root ] || home=/home/$user
    say "a new copy, as $user"
    rm -rf --one-file-system "$root"
    cp -a "$cache/$suite" "$root"
    furnish
    printf '%s\n' "$commands" >"$root/commands"
    while read -r command <&3; do
        started=$(date +%s)
        say "$command (as $user)"
        code=0
        inside "$user" "$command" || code=$?
        say "$command (as $user): exit $code after $(($(date +%s) - started)) s"
        [ "$code" -eq 0 ] || bad=1
    done 3<"$root/commands"
    keep_downloads
}

[ "$(id -u)" -eq 0 ] || cannot "not root"
command -v debootstrap >/dev/null 2>&1 || apt-get install -y -qq debootstrap >/dev/null 2>&1 ||
    { apt-get update -qq && apt-get install -y -qq debootstrap; } >/dev/null 2>&1 || cannot "debootstrap cannot be had"
unshare --mount --pid --fork true 2>/dev/null || cannot "no namespaces of our own"
mkdir -p "$cache"
root=$cache/root-$$
child=""
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
exec 9>"$cache/lock"
flock 9
remove_leftovers
make_base
exec 9>&-
bad=0
for who in $users; do
    visit "$who"
done
exit "$bad"
