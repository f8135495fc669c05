"""What this machine allows, fact by fact; each tries what the exporter would do, and changes nothing."""

import os
import pwd
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from exporter.app import kernel, landlock, listen, policy, seccomp
from exporter.app.supervisor import check_privilege
from exporter.app.trial import Trial
from exporter.app.user import resolve_user
from exporter.capture.interfaces import choose, require_named
from exporter.capture.links import read_links, uplinks
from exporter.config import Config
from exporter.errors import UserError

__all__ = ["Fact", "Here", "gather"]

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, DUMP = 4, 20, 0x301
NLMSG_DONE = 3


class Fact(NamedTuple):
    """One thing that this machine allows or not."""

    name: str
    state: str
    """`ok`, `weak` (works, but less well) or `no` (the exporter does not start)."""
    text: str
    advice: str = ""


class Here(NamedTuple):
    """What all of them look at."""

    config: Config
    kernel: Trial


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def user(here: Here) -> Fact:
    if here.config.process.sandbox == "off":
        return Fact("user", "weak", f"{_name(os.geteuid())}, for all processes", "sandbox is off")
    if os.geteuid() != 0:
        advice = "start as root, so that each process gets a user and capabilities of its own"
        return Fact("user", "weak", f"{_name(os.geteuid())}, for all processes", advice)
    return Fact("user", "ok", f"root; the children become {_name(resolve_user(here.config.process.user)[0])}")


def capabilities(here: Here) -> Fact:
    role = "worker_ebpf" if here.kernel.counts else "worker"
    needed = set(policy.SUPERVISOR | policy.ROLES[role].capabilities)
    if os.geteuid() != 0:  # nobody's user can be changed then
        needed -= {"SETUID", "SETGID", "SETPCAP", "KILL"}
    lacking = sorted(needed - kernel.held())
    held = " ".join(sorted(needed & kernel.held())) or "none"
    if not lacking:
        return Fact("capabilities", "ok", held)
    return Fact("capabilities", "weak", held, f"grant {', '.join(lacking)}")


def packet_sockets(here: Here) -> Fact:
    if here.kernel.counts:
        return Fact("packet sockets", "ok", "not needed: the kernel counts")
    try:
        check_privilege()
    except UserError as error:
        text, _, advice = str(error).partition(": ")
        return Fact("packet sockets", "no", text, advice)
    return Fact("packet sockets", "ok", "AF_PACKET can be opened")


def interfaces(here: Here) -> Fact:
    if here.kernel.counts:
        return Fact("interfaces", "ok", "packets are counted at sockets, whatever their interface")
    links = read_links()
    try:
        require_named(links, here.config.capture)
    except UserError as error:
        return Fact("interfaces", "no", str(error))
    selection = choose(links, here.config.capture, uplinks())
    names = ", ".join(one.name for one in selection.chosen) or "none now; those that come up will be"
    return Fact(
        "interfaces", "ok", names, "; ".join(f"not {name}: {why}" for name, why in selection.left_out.items())
    )


def owners(_here: Here) -> Fact:
    """Ask the kernel for its TCP sockets in no state at all: an empty answer is an answer."""
    request = struct.pack("<IHHII", 72, SOCK_DIAG_BY_FAMILY, DUMP, 1, 0)
    request += struct.pack("<BBBxI48x", socket.AF_INET, socket.IPPROTO_TCP, 0, 0)
    try:
        with closing(socket.socket(policy.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)) as link:
            link.settimeout(1)
            link.send(request)
            kind = struct.unpack_from("<H", link.recv(4096), 4)[0]
    except OSError as error:
        return Fact("socket diagnostics", "weak", f"netlink says: {error}", "/proc/net is read instead")
    if kind != NLMSG_DONE:
        return Fact("socket diagnostics", "weak", "netlink refuses", "/proc/net is read instead")
    return Fact("socket diagnostics", "ok", "netlink sock_diag answers")


def processes(here: Here) -> Fact:
    """Count the processes whose descriptors can be read; a few are always just ending."""
    seen = readable = 0
    for folder in Path(here.config.identity.proc).iterdir():
        if not folder.name.isdecimal():
            continue
        seen += 1
        try:
            next(iter((folder / "fd").iterdir()), None)
            readable += 1
        except OSError:
            continue
    text = f"descriptors of {readable} of {seen} processes can be read"
    if readable * 10 >= seen * 9:
        return Fact("processes", "ok", text)
    return Fact("processes", "weak", text, "grant SYS_PTRACE and DAC_READ_SEARCH; in Kubernetes set hostPID")


def namespace(here: Here) -> Fact:
    if here.kernel.counts:
        return Fact("network namespace", "ok", "sockets are counted in all of them")
    try:
        own, first = (Path(f"/proc/{who}/ns/net").readlink() for who in ("self", "1"))
    except OSError:
        return Fact("network namespace", "ok", "cannot be compared with that of process 1")
    if own == first:
        return Fact("network namespace", "ok", "the one of process 1")
    advice = "only what passes here is seen; in Kubernetes set hostNetwork"
    return Fact("network namespace", "weak", "not the one of process 1", advice)


def landlocked(_here: Here) -> Fact:
    if version := landlock.abi():
        return Fact("landlock", "ok", f"version {version}")
    return Fact("landlock", "weak", "the kernel does not offer it", "files are protected by the user alone")


def filtered(_here: Here) -> Fact:
    if seccomp.supported():
        return Fact("seccomp", "ok", f"filters for {kernel.machine()}")
    return Fact(
        "seccomp", "weak", f"no filters for {kernel.machine()} here", "system calls are not restricted"
    )


def address(here: Here) -> Fact:
    shown = ", ".join(here.config.web.listen_address)
    try:
        for listener in listen.bind_all(here.config.web.listen_address):
            listener.close()
    except UserError as error:
        return Fact("listen address", "no", str(error))
    return Fact("listen address", "ok", f"{shown} is free")


def ebpf(here: Here) -> Fact:
    kernel = here.kernel
    if kernel.refused:
        return Fact("eBPF", "no", kernel.refused)
    if kernel.tells:
        return Fact("eBPF", "weak" if kernel.lacking else "ok", kernel.text, kernel.advice)
    if kernel.lacking:
        return Fact("eBPF", "weak", kernel.text, "packets are captured, and owners looked up instead")
    return Fact("eBPF", "ok", kernel.text, kernel.advice)


FACTS: tuple[Callable[[Here], Fact], ...] = (
    user,
    capabilities,
    packet_sockets,
    interfaces,
    owners,
    processes,
    namespace,
    landlocked,
    filtered,
    address,
    ebpf,
)


def gather(here: Here) -> Iterator[Fact]:
    for fact in FACTS:
        try:
            yield fact(here)
        except OSError as error:
            yield Fact(fact.__name__.replace("_", " "), "weak", f"cannot be told: {error}")
