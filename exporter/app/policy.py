"""What each role keeps, and the words for what could not be taken away. The table stands in `sandbox.py`."""

import socket
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from exporter.app.seccomp import Sockets
from exporter.ebpf import support

__all__ = [
    "NO_PRIVILEGE",
    "READABLE",
    "ROLES",
    "SUPERVISOR",
    "WORDS",
    "Config",
    "Degraded",
    "Policy",
    "explain",
]

Degraded = tuple[str, str]
"""(component, reason), as `netproc_degraded_info` shows them."""


class Process(Protocol):
    """Section `process` of the configuration."""

    @property
    def user(self) -> str: ...
    @property
    def sandbox(self) -> str: ...


class Web(Protocol):
    """Section `web`."""

    @property
    def config_file(self) -> str: ...


class Config(Protocol):
    """What is read of the configuration, whose own module loads more than the standard library."""

    @property
    def process(self) -> Process: ...
    @property
    def web(self) -> Web: ...


class Policy(NamedTuple):
    """What a role keeps."""

    capabilities: frozenset[str]
    sockets: Sockets
    landlock: bool
    maps: bool = False
    """It reads and writes maps of the kernel's side that it was given."""


AF_NETLINK, AF_PACKET = 16, 17  # by number: type stubs know them on Linux only
MAPS = frozenset() if support.release() >= (5, 19) else frozenset({"BPF"})
"""What it takes to use an inherited map: since Linux 5.19 (c8644cd0efe7) nothing."""
WEB = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, AF_NETLINK)
ROLES = {
    "worker": Policy(frozenset({"NET_RAW"}), Sockets((AF_PACKET,), mute=True), landlock=True),
    "worker_ebpf": Policy(MAPS, Sockets((), mute=True), landlock=True, maps=True),
    "worker_offload": Policy(MAPS | {"NET_RAW"}, Sockets((AF_PACKET,), mute=True), landlock=True, maps=True),
    "identity": Policy(
        frozenset({"SYS_PTRACE", "DAC_READ_SEARCH"}),
        Sockets((AF_NETLINK, socket.AF_UNIX), mute=False),
        landlock=False,
    ),
    "exporter": Policy(frozenset(), Sockets(WEB, mute=False), landlock=True),
}
SUPERVISOR = frozenset({"SYS_PTRACE", "DAC_READ_SEARCH", "SETUID", "SETGID", "SETPCAP", "KILL"})
"""What it takes to change the children's user and to stop them afterwards (KILL), and what identity needs. What a
worker needs is added."""

NO_PRIVILEGE = (
    "no privilege to capture packets: run as root, or grant the capability NET_RAW "
    "(systemd: AmbientCapabilities=CAP_NET_RAW CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_BPF CAP_PERFMON CAP_NET_ADMIN, "
    "of which the last three suffice where the kernel counts; "
    "Kubernetes: runAsUser: 0 and securityContext.capabilities.add)"
)

READABLE = (
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share",
    "/usr/local/lib",
    "/dev/urandom",
    "/dev/random",
    "/proc",
    "/sys",
    "/run/systemd/resolve",  # where /etc/resolv.conf may lead
)
"""Paths that every role under Landlock may read, beside the installation and configured paths."""

WORDS = {
    "not_root": "not started as root, so all processes keep its user",
    "kept_root": "configured to stay root",
    "no_setuid": "the capabilities SETUID and SETGID are missing, so the user cannot be changed",
    "no_such_id": "the user is not known in this user namespace",
    "unreadable_installation": "the user cannot read the directory that the program is installed in",
    "no_setpcap": "the capability SETPCAP is missing, so the bounding set stays as it is",
    "unsupported": "the kernel does not offer it",
    "refused": "the kernel refused it",
    "old_kernel": "the kernel is older than 5.12",
    "no_libbpf": "libbpf is not installed (Debian: libbpf1)",
    "not_built": "this installation was built without clang, so without the kernel's side",
    "no_btf": "the kernel has no type information (/sys/kernel/btf/vmlinux)",
    "no_cgroup2": "cgroup v2 is not mounted",
    "cgroup2_not_root": "the root of cgroup v2 is not visible here (a cgroup namespace)",
    "no_cap_bpf": "the capability BPF is missing",
    "no_cap_net_admin": "the capability NET_ADMIN is missing",
    "no_cap_perfmon": "the capability PERFMON is missing",
    "pid_namespace": "this is not the machine's own process namespace (in Kubernetes: hostPID)",
    "no_tracepoint": "the kernel does not have the tracepoint",
    "link_type": "its link type is not known to the filter",
    "too_many_workers": "the kernel counts for 64 workers at most",
    "permission": "the kernel does not permit it",
    "verifier": "the kernel's verifier refuses the programs",
    "memory": "the kernel has no memory for the maps (section ebpf of the configuration)",
    "kernel": "the kernel lacks what the programs use",
    "system": "the system does not let it be loaded",
}


def explain(degraded: Iterable[Degraded]) -> str:
    return "; ".join(f"{component}: {WORDS.get(reason, reason)}" for component, reason in degraded)
