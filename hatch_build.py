"""The package's build compiles the kernel's side (tools/build-bpf) and ships it.

Without clang a wheel is built without it, says so, and the exporter takes its next best source;
NETPROC_BPF=require makes that an error, NETPROC_BPF=skip does not try.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OBJECTS = ("flow", "socket")


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]
    """Run before a wheel's files are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        wish = os.environ.get("NETPROC_BPF", "")
        if wish == "skip":
            return
        root = Path(self.root)
        done = subprocess.run([root / "tools/build-bpf"], check=False)  # noqa: S603  (ours)
        if done.returncode:
            if wish == "require":
                raise SystemExit("the kernel's side could not be compiled")
            self.app.display_warning("no eBPF in this build: tools/build-bpf failed")
            return
        build_data["artifacts"] += [f"exporter/ebpf/{name}.bpf.o" for name in OBJECTS]
