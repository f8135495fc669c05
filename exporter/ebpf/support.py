"""What this machine lets us load and attach. Reasons are small words: they become labels and lines of `check`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from exporter.ebpf import libbpf

__all__ = ["COMPONENTS", "Component", "Place", "Support", "examine", "find_cgroup"]

NET_ADMIN, SYS_ADMIN, PERFMON, BPF = 1 << 12, 1 << 21, 1 << 38, 1 << 39
OLDEST = (5, 12)
INITIAL_PIDS = 0xEFFFFFFC
"""PROC_PID_INIT_INO (include/linux/proc_ns.h): the inode of the first process namespace."""
ROOT_INODE = 1
"""Of the root of cgroup v2, wherever it is mounted; a cgroup namespace's own root has another."""


class Component(NamedTuple):
    """A group of programs that is loaded together or not at all."""

    object: str
    programs: tuple[str, ...]
    cgroup: bool = False
    """Attached to the root of cgroup v2 (NET_ADMIN); else a tracepoint or iterator (PERFMON)."""
    tracepoint: str = ""
    """One that not every kernel has."""


COMPONENTS: Mapping[str, Component] = {
    "flows": Component("flow", ("receive", "transmit"), cgroup=True),
    "creation": Component("socket", ("on_create", "on_release"), cgroup=True),
    "addresses": Component(
        "socket", ("on_connect4", "on_connect6", "on_sendmsg4", "on_sendmsg6"), cgroup=True
    ),
    "ends": Component("socket", ("on_connection", "on_bind4", "on_bind6"), cgroup=True),
    "usage": Component("socket", ("on_send", "on_recv"), tracepoint="btf_trace_sock_send_length"),
    "states": Component("socket", ("on_state",)),
    "retransmits": Component("socket", ("on_retransmit",)),
    "exec": Component("socket", ("on_exec",)),
    "inventory": Component("socket", ("list_files", "list_tcp", "list_udp")),
}


class Place(NamedTuple):
    """Where to look; tests and containers have theirs."""

    proc: Path = Path("/proc")
    btf: Path = Path("/sys/kernel/btf/vmlinux")
    objects: Path = Path(__file__).parent


class Support(NamedTuple):
    """What can be tried, and why the rest cannot."""

    reasons: dict[str, str]
    """By component; one that is absent can be tried."""
    cgroup: Path | None
    task_helpers: bool
    """Whether programs at a cgroup may read the process that calls them (PERFMON)."""

    def can(self, component: str) -> bool:
        return component not in self.reasons


def find_cgroup(mountinfo: str) -> tuple[Path | None, str]:
    """Find the root of cgroup v2 among the mounts; or say why there is none."""
    why = "no_cgroup2"
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        if source.split(" ", 1)[0] != "cgroup2":
            continue
        path = Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), mount.split(" ")[4]))
        try:
            if path.stat().st_ino == ROOT_INODE:
                return path, ""
        except OSError:
            pass
        why = "cgroup2_not_root"
    return None, why


def capabilities(status: str) -> int:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return int(found[1], 16) if found else 0


def release() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


def machine_wide(place: Place) -> bool:
    """Tell whether our process numbers are the kernel's: in a process namespace another process has each of them."""
    try:
        return (place.proc / "self/ns/pid").stat().st_ino == INITIAL_PIDS
    except OSError:
        return True  # a kernel without such namespaces


def general(place: Place, held: int) -> str:
    """Say what forbids everything, if something does."""
    if release() < OLDEST:
        return "old_kernel"
    try:
        libbpf.library()
    except libbpf.BpfError:
        return "no_libbpf"
    if not all((place.objects / f"{one.object}.bpf.o").is_file() for one in COMPONENTS.values()):
        return "not_built"
    if not held & (BPF | SYS_ADMIN):
        return "no_cap_bpf"
    if not machine_wide(place):
        return "pid_namespace"
    return "" if place.btf.exists() else "no_btf"


def examine(place: Place | None = None) -> Support:
    """Look, and change nothing."""
    place = place or Place()
    held = capabilities((place.proc / "self/status").read_text())
    cgroup, no_cgroup = find_cgroup((place.proc / "self/mountinfo").read_text())
    all_of_it = general(place, held)
    if all_of_it:
        return Support(dict.fromkeys(COMPONENTS, all_of_it), cgroup, task_helpers=False)
    names = place.btf.read_bytes()
    reasons = {}
    for name, component in COMPONENTS.items():
        if component.cgroup:
            why = no_cgroup or ("" if held & NET_ADMIN else "no_cap_net_admin")
        else:
            why = "" if held & (PERFMON | SYS_ADMIN) else "no_cap_perfmon"
        if not why and component.tracepoint and f"\0{component.tracepoint}\0".encode() not in names:
            why = "no_tracepoint"
        if why:
            reasons[name] = why
    return Support(reasons, cgroup, task_helpers=bool(held & (PERFMON | SYS_ADMIN)))
