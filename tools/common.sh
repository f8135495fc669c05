# Sourced by the other scripts: where things are, and how Debian packages are installed.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
python=${PYTHON:-/usr/bin/python3}

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# One set-up at a time: several `make` may run in one checkout.
lock_setup() {
    exec 9>"$root/.venv.lock"
    flock 9
}

# The stamp of a kind of set-up: changes when anything that it depends on does.
stamp_value() {
    cat "$root/pyproject.toml" "$root/constraints.txt" "$root"/tools/{common,setup-run,setup-test}.sh | sha256sum |
        cut -d' ' -f1
    "$python" -c 'import sys; print(sys.version)'
    pwd -P
}
stamped() { [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.stamp-$1" 2>/dev/null)" = "$(stamp_value)" ]; }
write_stamp() { stamp_value >"$venv/.stamp-$1"; }

missing_packages() {
    local name
    for name; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s\n' "$name"
    done
}

# Installed servers must not start: they would take ports that tests use. Ours stands in for whatever policy there was
# and leaves again, also when the installation fails.
policy=/usr/sbin/policy-rc.d
kept=$policy.netproc-kept
deny_services() {
    restore_services # a killed predecessor may have left ours
    trap restore_services EXIT
    if [ -e "$policy" ]; then mv "$policy" "$kept"; else : >"$kept.none"; fi
    printf '#!/bin/sh\n# Put here by netproc-exporter while it installs test servers.\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}
restore_services() {
    if [ -e "$kept" ]; then
        mv "$kept" "$policy"
    elif [ -e "$kept.none" ]; then
        rm -f "$policy" "$kept.none"
    fi
}

install_packages() {
    local missing
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || die "needs these Debian packages or their like: $missing"
    [ "$(id -u)" = 0 ] || die "run once as root, or install: apt-get install -y" $missing
    say "installing" $missing
    deny_services
    # shellcheck disable=SC2086 # a list of names
    apt_install $missing || { apt-get update -q && apt_install $missing; } || die "apt-get could not install" $missing
    restore_services
}
apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 "$@" </dev/null
}

# Python packages, at the versions of constraints.txt. $1: extras, as in `[dev]`.
install_python() {
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -c "$root/constraints.txt" -e "$root$1"
}
