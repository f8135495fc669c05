#!/usr/bin/env bash
# Proves that a fresh Debian 12 machine needs nothing but `make run` and `make test`: builds a minimal root with
# mmdebstrap, types there what the README says, and watches.
#
#   tools/fresh-root.sh run          `make run` until the exporter answers on its port
#   tools/fresh-root.sh test         `make test`
#   tools/fresh-root.sh run test     both, one after the other, in one root
#   tools/fresh-root.sh shell        a shell in it
#
# The committed HEAD is what is tried. The root shares this machine's network, since it has to reach the package
# registries as this machine does: apt's sources and options, pip's configuration, proxies and certificates are carried
# over as they are. It shares the process table too, since eBPF sees the kernel's own process numbers. Its mounts are its
# own (tools/enter-root.sh), and when this script ends every process in it is killed, so nothing is left.
# The bare root is kept in ${XDG_CACHE_HOME:-~/.cache}/netproc-exporter for a week.
set -euo pipefail
. "$(dirname "$0")/common.sh"

suite=bookworm
port=10187
[ "$(id -u)" = 0 ] || die "needs root (chroot, mounts)"
command -v mmdebstrap >/dev/null || die "needs mmdebstrap: run make setup"
[ $# -gt 0 ] || set -- run

work=$(mktemp -d /var/tmp/netproc-fresh-root.XXXXXX)
home=srv # where the tree lies: unlike /root, every user may read it, and tests become other users
machine=
cleanup() {
    stop
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- the bare root -------------------------------------------------------------------------------------------------

# This machine's Debian sources if it has any, else mmdebstrap's own.
sources() {
    [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = "$suite" ] || return 0
    find /etc/apt/sources.list /etc/apt/sources.list.d -name '*.sources' -o -name '*.list' 2>/dev/null |
        while read -r file; do
            if grep -qE "^(deb|Suites:) .*$suite" "$file"; then printf '%s\n' "$file"; fi
        done
}

# How this machine reaches its archives: proxies, time-outs, certificates.
apt_options() {
    apt-config dump | grep -E '^Acquire::(https?(::|-)|(Check|Retries|Max)[A-Za-z:-]*).* "[^"]+";$' || true
}

bare_root() {
    local cache key tar
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/netproc-exporter
    mkdir -p "$cache"
    apt_options >"$work/apt.conf"
    mapfile -t from < <(sources)
    key=$(cat "$work/apt.conf" "${from[@]}" </dev/null | sha256sum | cut -c1-12)
    tar=$cache/root-$suite-$key.tar
    find "$cache" -name 'root-*.tar' -mtime +7 -delete
    if [ ! -e "$tar" ]; then
        say "making a bare $suite root"
        mmdebstrap --quiet --mode=root --variant=apt --format=tar --aptopt="$work/apt.conf" \
            "$suite" "$work/root.tar" "${from[@]}" >&2
        mv "$work/root.tar" "$tar"
    fi
    mkdir "$work/root"
    tar -xf "$tar" -C "$work/root"
}

# --- this machine's ways out, and the tree ---------------------------------------------------------------------------

carry() {
    local path
    for path; do
        [ -e "$path" ] || continue
        mkdir -p "$work/root$(dirname "$path")"
        cp -rL "$path" "$work/root$(dirname "$path")"
    done
}

# Variables that say how to reach registries; all others stay outside.
passed_environment() {
    env | grep -iE '^(PIP_[A-Z_]+|(https?|ftp|all|no)_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CI|NETPROC_[A-Z_]+)=' |
        grep -vE '^NETPROC_CORPUS=' || true
}

furnish() {
    # The local certificates too: installing ca-certificates makes the bundle anew from them.
    carry /etc/resolv.conf /etc/hosts /etc/pip.conf /usr/local/share/ca-certificates \
        "${PIP_CERT:-}" "${PIP_CONFIG_FILE:-}" "${SSL_CERT_FILE:-}" "${REQUESTS_CA_BUNDLE:-}"
    git clone -q --no-hardlinks "$root" "$work/root/$home/netproc-exporter"
}

# --- the machine -----------------------------------------------------------------------------------------------------

# Runs a script in the root. $1: the seconds that it may take, 0 for ever.
enter() {
    mapfile -t passed < <(passed_environment)
    corpus=${NETPROC_CORPUS:-$root/../shared/corpus}
    exec timeout --foreground --kill-after=10 "$1" unshare --mount --propagation private \
        env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" LANG=C.UTF-8 "${passed[@]}" \
        "$root/tools/enter-root.sh" "$work/root" "$corpus" "$home/shared/corpus" "cd /$home/netproc-exporter && $2"
}

# The same in the background, where a signal to this script is heeded at once. $3: the log's name.
begin() {
    (enter "$1" "$2") >"$work/$3.log" 2>&1 </dev/null &
    machine=$!
}

# Everybody whose root directory this is, in whatever namespace, session or process group.
residents() {
    { stat -L -c '%d:%i %n' /proc/[0-9]*/root 2>/dev/null || true; } |
        awk -v root="$(stat -c %d:%i "$work/root" 2>/dev/null)" '$1 == root { split($2, part, "/"); print part[3] }'
}

# First by way of `timeout`, whose child may not yet be in the root; then whoever is in there, again and again, since a
# process may have forked since it was listed.
stop() {
    local left=
    if [ -n "$machine" ]; then
        kill -TERM "$machine" 2>/dev/null || true
        sleep 0.2
    fi
    for _ in {1..50}; do
        left=$(residents)
        [ -n "$left" ] || break
        # shellcheck disable=SC2086 # a list of numbers
        kill -KILL $left 2>/dev/null || true
        sleep 0.1
    done
    [ -z "$machine" ] || wait "$machine" 2>/dev/null || true
    machine=
    [ -z "$left" ] || say "still there, 5 s after SIGKILL:" $left
}

answers() {
    "$python" - "$1" <<'PY'
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    with opener.open(f"http://127.0.0.1:{sys.argv[1]}/metrics", timeout=2) as reply:
        sys.exit(0 if b"netproc_build_info" in reply.read() else 1)
except OSError:
    sys.exit(1)
PY
}

busy() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

prepare() {
    begin 900 'apt-get update -q && apt-get install -q -y make git' prepare
    wait "$machine" || { tail -30 "$work/prepare.log" >&2; die "apt-get failed in the fresh root"; }
    stop
    say "apt-get update && apt-get install -y make git: done at $SECONDS s"
}

try_run() {
    local stamp=$work/root/$home/netproc-exporter/.venv/.stamp-run installed=
    if busy "$port"; then die "port $port is taken on this machine: stop what listens there"; fi
    begin 1200 'exec make run' run
    until answers "$port"; do
        [ -n "$installed" ] || { [ -e "$stamp" ] && installed=$SECONDS; } || true
        kill -0 "$machine" 2>/dev/null || { tail -40 "$work/run.log" >&2; die "make run ended"; }
        [ $((SECONDS - ${installed:-$SECONDS})) -lt 30 ] || { tail -40 "$work/run.log" >&2; die "no answer on port $port"; }
        sleep 0.2
    done
    say "make run: installed at ${installed:=$SECONDS} s, answered on port $port within $((SECONDS - installed + 1)) s"
    [ $((SECONDS - installed)) -le 5 ] || die "it should answer within 5 s after installation"
    stop
    for _ in {1..20}; do busy "$port" || return 0; sleep 0.1; done
    die "something still listens on port $port 2 s after the exporter was killed"
}

try_test() {
    local began=$SECONDS
    begin 2400 'exec make test' test
    wait "$machine" || { cat "$work/test.log" >&2; die "make test failed in the fresh root, or took over 40 minutes"; }
    stop
    grep '^SKIPPED ' "$work/test.log" || true
    tail -1 "$work/test.log" # what passed, failed and was skipped
    say "make test: done at $SECONDS s, took $((SECONDS - began)) s"
}

bare_root
furnish
say "bare root: ready at $SECONDS s"
prepare
for what; do
    case $what in
    run) try_run ;;
    test) try_test ;;
    shell) (enter 0 'exec bash') ;;
    *) die "run, test or shell, not $what" ;;
    esac
done
