#!/usr/bin/env bash
# Installs what running needs, and nothing else: Debian packages, .venv, the exporter. Quick when done already.
set -euo pipefail
. "$(dirname "$0")/common.sh"

lock_setup
# The kernel's side, which is compiled again when its sources have changed. Without it all else works.
build_bpf() { command -v clang >/dev/null && "$root/tools/build-bpf" || say "no eBPF: tools/build-bpf needs clang"; }
if stamped run; then
    build_bpf
    exit 0
fi
install_packages python3-venv python3-dev gcc libpcap-dev
(install_packages clang llvm libbpf-dev linux-libc-dev) || say "without them there is no eBPF"
build_bpf
install_python ''
write_stamp run
say "done"
