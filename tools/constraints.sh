#!/usr/bin/env bash
# Resolves all dependencies anew in an environment of its own and writes constraints.txt.
set -euo pipefail
. "$(dirname "$0")/common.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check -e "$root[dev,otel]"
{
    sed '/^#/!d' "$root/constraints.txt"
    "$work/venv/bin/python" -m pip freeze --exclude-editable --disable-pip-version-check
} >"$work/new"
cp "$work/new" "$root/constraints.txt"
