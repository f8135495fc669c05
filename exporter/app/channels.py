"""What the supervisor keeps open for life, so that it survives every child: ledgers, status, channels, the lifeline."""

import contextlib
import fcntl
import json
import os
import socket
import struct
from typing import NamedTuple

__all__ = ["LEDGER_SIZE", "Held", "config_file", "hold", "read_only", "read_status", "write_status"]

LEDGER_SIZE = 64 << 20
"""Bytes of a ledger's file; sparse: only what is written takes memory."""
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
"""No child can cut a file off under another one's mapping."""
CHANNEL_BUFFER = 1 << 20
SO_SNDBUFFORCE = 32
STATUS_SIZE = 1 << 16


class Held(NamedTuple):
    """Descriptors; element i of a list belongs to worker i."""

    ledgers: list[int]
    identity_ledger: int
    status: int
    worker_ends: list[socket.socket]
    identity_ends: list[socket.socket]
    lifeline: int
    """The read end, for children."""
    lifeline_write: int
    """Never written to and held by the supervisor alone: it ends when the supervisor does."""


def _memory(name: str, size: int) -> int:
    fd = os.memfd_create(f"netproc-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def _enlarge(end: socket.socket) -> None:
    """Ask for a large buffer: beyond the machine's limit needs NET_ADMIN, so take what is given."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHANNEL_BUFFER)
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, CHANNEL_BUFFER)


def _channel() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        _enlarge(end)
        end.setblocking(False)  # noqa: FBT003  (the standard library's own interface)
    return pair


def hold(workers: int, size: int = 0) -> Held:
    """Make all of it; `size` is what a ledger needs at least."""
    size = max(size, LEDGER_SIZE)
    channels = [_channel() for _ in range(workers)]
    read, write = os.pipe2(os.O_CLOEXEC)
    return Held(
        ledgers=[_memory(f"ledger-{i}", size) for i in range(workers)],
        identity_ledger=_memory("ledger-identity", size),
        status=_memory("status", STATUS_SIZE),
        worker_ends=[ours for ours, _ in channels],
        identity_ends=[theirs for _, theirs in channels],
        lifeline=read,
        lifeline_write=write,
    )


def read_only(fd: int) -> int:
    """Open the same file again for reading: the exporter sums ledgers and writes none."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # no /proc
        return os.dup(fd)


def config_file(data: bytes) -> int:
    """Give the configuration as a file of its own: children that shared one would share the reading position."""
    fd = os.memfd_create("netproc-config", os.MFD_CLOEXEC)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def write_status(fd: int, status: dict[str, object]) -> None:
    """Length (8 bytes, little-endian), then JSON, in one write."""
    text = json.dumps(status).encode()
    os.pwrite(fd, struct.pack("<Q", len(text)) + text, 0)


def read_status(fd: int) -> dict[str, object]:
    """Read what `write_status` wrote; {} before the first time, or if it is just being written."""
    raw = os.pread(fd, STATUS_SIZE, 0)
    try:
        found = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
