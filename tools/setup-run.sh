#!/usr/bin/env bash
# Installs what running needs, and nothing else: Debian packages, .venv, the exporter. Quick when done already.
set -euo pipefail
. "$(dirname "$0")/common.sh"

lock_setup
stamped run && exit 0
install_packages python3-venv python3-dev gcc libpcap-dev
install_python ''
write_stamp run
say "done"
