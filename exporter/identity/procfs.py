"""The process file system: what it says of a process, a descriptor, a namespace. The root is a parameter.

`get*` reads and may raise OSError: the process is gone, or is not ours to look at. `parse*` thinks and takes any bytes.
"""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from exporter.identity.groups import clean

__all__ = ["Procfs", "Stat", "get_name", "parse_command", "parse_link", "parse_stat", "parse_uid"]

DELETED = b" (deleted)"
COMM = 15
"""Bytes that the kernel keeps of a command's name."""
LONGEST_PATH = 512
LONGEST_COMMAND = 1024
TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = 65_536
READ = os.O_RDONLY | os.O_CLOEXEC


class Stat(NamedTuple):
    """`/proc/<pid>/stat`, as far as we need it."""

    comm: bytes
    state: str
    ppid: int
    ticks: int
    """Start in clock ticks after boot: with the pid it names a process for ever."""


class Procfs:
    """A mounted procfs."""

    def __init__(self, root: str = "/proc") -> None:
        """Take the place where it is mounted."""
        self.root = root

    def pids(self) -> set[int]:
        """List all processes: thread-group leaders only."""
        return {int(name) for name in os.listdir(self.root) if name.isdigit()}

    def read(self, pid: int | str, name: str, limit: int = 65536) -> bytes:
        """Read at most `limit` bytes of a file that the kernel gives whole in one read."""
        fd = os.open(f"{self.root}/{pid}/{name}", READ)
        try:
            return os.read(fd, limit)
        finally:
            os.close(fd)

    def read_all(self, pid: int | str, name: str) -> bytes:
        """Read a table, which the kernel gives in pieces of a page."""
        return b"".join(self.pieces(pid, name))

    def pieces(self, pid: int | str, name: str) -> Iterator[bytes]:
        """Read a table in whole lines, a page at a time: there may be a million."""
        fd = os.open(f"{self.root}/{pid}/{name}", READ)
        begun = b""
        try:
            while piece := os.read(fd, PAGE):
                lines, end, rest = (begun + piece).rpartition(b"\n")
                begun = rest
                yield lines + end
        finally:
            os.close(fd)
        if begun:
            yield begun

    def stat(self, pid: int) -> Stat:
        return parse_stat(self.read(pid, "stat", 4096))

    def link(self, name: str) -> str:
        return os.readlink(f"{self.root}/{name}")

    def alive(self, pid: int | str) -> bool:
        return os.path.exists(f"{self.root}/{pid}/stat")

    def exe(self, pid: int) -> bytes:
        return os.readlink(f"{self.root}/{pid}/exe".encode())

    def netns(self, pid: int | str) -> int:
        """Give the inode number of a process' network namespace."""
        return parse_link(os.readlink(f"{self.root}/{pid}/ns/net"), "net:[")

    def inode(self, pid: int, fd: int) -> int:
        """Give the inode number of the socket behind a descriptor; 0: not a socket, or not there."""
        try:
            return parse_link(os.readlink(f"{self.root}/{pid}/fd/{fd}"), "socket:[")
        except OSError:
            return 0

    def descriptors(self, pid: int) -> Iterator[tuple[int, int]]:
        """Give all descriptors of a process, each with its socket's inode number (0: no socket), one by one.

        OSError where they may not be seen. There may be a million: whoever reads them may pause, or stop.
        """
        directory = os.open(f"{self.root}/{pid}/fd", READ | os.O_DIRECTORY)
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    try:
                        link = os.readlink(entry.name, dir_fd=directory)
                    except FileNotFoundError:  # closed meanwhile
                        continue
                    yield int(entry.name), int(link[8:-1]) if link.startswith("socket:[") else 0
        finally:
            os.close(directory)


def parse_link(link: str, prefix: str) -> int:
    """Read `socket:[123]` or `net:[123]`; 0 if it is something else."""
    number = link[len(prefix) : -1]
    return int(number) if link.startswith(prefix) and number.isdigit() else 0


def parse_stat(data: bytes) -> Stat:
    """Read a stat line; the name may hold anything, brackets and line ends too, so the last bracket counts."""
    head, _, tail = data.rpartition(b")")
    fields = tail.split()
    try:
        return Stat(
            head.partition(b"(")[2], fields[0].decode("ascii", "replace"), int(fields[1]), int(fields[19])
        )
    except (IndexError, ValueError):
        raise ProcessLookupError("unreadable stat") from None


def parse_uid(status: bytes) -> int:
    """Read the effective user from `/proc/<pid>/status`; -1 if it is not told."""
    for line in status.split(b"\n"):
        if line.startswith(b"Uid:"):
            fields = line.split()
            return int(fields[2]) if len(fields) > 2 and fields[2].isdigit() else -1
    return -1


def parse_command(data: bytes) -> tuple[str, ...]:
    """Read a command line, cut to a bounded length."""
    words = data[:LONGEST_COMMAND].rstrip(b"\0").split(b"\0")
    return tuple(word.decode("utf-8", "replace") for word in words) if words != [b""] else ()


def get_name(exe: bytes, comm: bytes, command: tuple[str, ...]) -> tuple[str, str]:
    """Give a process' name and executable path: the executable's base name, else what the kernel calls it.

    The kernel's name is cut to 15 bytes; the first word of the command line often has the rest. A file without a path
    (memfd) has no name of its own.
    """
    path = exe.removesuffix(DELETED)
    if path.startswith(b"/") and not path.startswith(b"/memfd:"):
        text = path.decode("utf-8", "replace")
        return clean(text.rpartition("/")[2]), text[:LONGEST_PATH]
    name = comm.decode("utf-8", "replace")
    first = command[0].rpartition("/")[2] if command else ""
    if len(comm) == COMM and first.startswith(name):
        name = first
    return clean(name), path.decode("utf-8", "replace")[:LONGEST_PATH]


def get_boot_time() -> float:
    """Give the Unix time of boot, by the clock that start times are told in."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
