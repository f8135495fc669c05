"""The package's build compiles the kernel's side (tools/build-bpf) and ships it, in wheel and source archive alike.

`NETPROC_BPF` says how much that matters: `auto` (what is meant without it) compiles where clang is, and goes without
where it is not; the exporter then says `not_built` and takes its next best source. `require` makes that an error, `off`
does not try. A source archive brings what it was built with, for machines without clang.

What is compiled runs on every machine of the same byte order (no register of any processor is named, and the kernel's
structures are found by their BTF), so a wheel of a little-endian machine is for all: py3-none-any. On the others it
is for its own platform.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WISHES = ("auto", "require", "off")


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]
    """Run before the files of a wheel or source archive are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        wish = os.environ.get("NETPROC_BPF") or "auto"
        if wish not in WISHES:
            raise SystemExit(f"NETPROC_BPF: expected one of {', '.join(WISHES)}, not {wish!r}")
        if wish == "off":
            return
        if failed := self._compile():
            if wish == "require":
                raise SystemExit(failed)
            self.app.display_warning(f"no eBPF in this build: {failed}")
            return
        build_data["artifacts"] += [f"exporter/ebpf/{path.name}" for path in self._objects()]
        if sys.byteorder != "little" and self.target_name == "wheel":
            build_data |= {"pure_python": False, "infer_tag": True}

    def _objects(self) -> list[Path]:
        return [path.with_suffix(".o") for path in sorted(Path(self.root, "exporter/ebpf").glob("*.bpf.c"))]

    def _compile(self) -> str:
        """Compile, or take what the source archive brings; say what failed."""
        done = subprocess.run(
            ["/bin/sh", "tools/build-bpf"], cwd=self.root, capture_output=True, text=True, check=False
        )
        brought = Path(self.root, "PKG-INFO").is_file() and all(path.is_file() for path in self._objects())
        return "" if done.returncode == 0 or brought else f"tools/build-bpf failed: {done.stderr.strip()}"
