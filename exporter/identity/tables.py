"""The socket tables of one network namespace, read from `/proc/<pid>/net/{tcp,tcp6,udp,udp6}` of a process in it.

Rows are looked up by the kernel's own spelling of addresses, so that a table is split but not decoded.
"""

import contextlib
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from exporter.identity.budget import Budget
from exporter.identity.netlink import ANY, CONNECTED, MAPPED, STATES, End, Socket, normal
from exporter.identity.procfs import Procfs
from exporter.identity.stats import Stats

__all__ = ["Tables", "parse_table", "spell", "unspell"]

FILES = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}
LISTEN = "0A"
COLUMNS = 11
V4 = 4
FRESH = 0.01
"""Seconds for which a table is as good as new."""
SLICE = 0.005
"""Seconds of reading at a time; other questions come in between."""

NATIVE = "<" if sys.byteorder == "little" else ">"
WORDS = {4: struct.Struct(NATIVE + "I"), 16: struct.Struct(NATIVE + "4I")}

Key = tuple[str, str, str]


class Row(NamedTuple):
    """State, inode number and user, as spelt."""

    state: str
    inode: str
    uid: str


def spell(address: bytes, port: int) -> str:
    """Write an address as procfs does: words in the machine's byte order, in hexadecimal."""
    words = WORDS[len(address)].unpack(address)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def unspell(text: str) -> tuple[bytes, int]:
    """Read what `spell` writes; an IPv4-mapped address is IPv4."""
    words, _, port = text.partition(":")
    numbers = [int(words[at : at + 8], 16) for at in range(0, len(words), 8)]
    return normal(WORDS[len(words) // 2].pack(*numbers)), int(port, 16)


def parse_table(data: bytes, transport: str) -> dict[Key, Row]:
    """Read lines of a table; its heading and torn lines are passed over."""
    rows: dict[Key, Row] = {}
    for line in data.decode("ascii", "replace").splitlines():
        fields = line.split(None, COLUMNS - 1)
        if len(fields) == COLUMNS and len(fields[1]) == len(fields[2]) and len(fields[1]) in {13, 37}:
            rows[transport, fields[1], fields[2]] = Row(fields[3], fields[9], fields[7])
    return rows


class Tables:
    """The tables of a namespace, read when asked for, and only as often as a budget of time allows."""

    method = "procfs"

    def __init__(
        self,
        proc: Procfs,
        pids: Callable[[], list[int | str]],
        stats: Stats,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take a way to name processes in the namespace, best first."""
        self.proc = proc
        self.pids = pids
        self.stats = stats
        self.clock = clock
        self.rows: dict[Key, Row] = {}
        self.read_at = self.begun = float("-inf")
        self.reading: Iterator[dict[Key, Row] | None] | None = None
        self.budget = Budget(rate=0.02, burst=0.1)

    def prepare(self, now: float) -> float:
        """Begin to make the tables fresh if that may be; small ones are so at once."""
        if self.reading is None and now - self.read_at >= FRESH and self.budget.ready(now):
            self.begun = now
            self.reading = self.read()
            self.step()
        return self.read_at

    def step(self) -> None:
        """Go on for one slice with what `prepare` has begun: `reading` is None when it is done."""
        if self.reading is None:
            return
        begun = self.clock()
        for rows in self.reading:
            if rows is not None:
                self.rows, self.read_at, self.reading = rows, self.begun, None
                self.stats.dumps += 1
                break
            if self.clock() - begun >= SLICE:
                break
        spent = self.clock() - begun
        self.budget.spend(spent)
        self.stats.dump_seconds += spent

    def read(self) -> Iterator[dict[Key, Row] | None]:
        """Read them through the first process that still lives: None after each piece, all the rows at last."""
        for pid in self.pids():
            rows: dict[Key, Row] = {}
            try:
                for transport, names in FILES.items():
                    for name in names:
                        with contextlib.suppress(FileNotFoundError):  # no IPv6 in this kernel
                            for piece in self.proc.pieces(pid, f"net/{name}"):
                                rows.update(parse_table(piece, transport))
                                yield None
            except OSError:
                continue
            if rows or self.proc.alive(pid):
                yield rows
                return
        yield {}

    def lookup(self, end: End) -> Socket | None:
        """Find the connection, else what is bound to its local end."""
        exact = (end.local, end.lport), (end.remote, end.rport)
        size = len(end.local)
        for local, remote in (exact, (exact[0], (ANY[size], 0)), ((ANY[size], end.lport), (ANY[size], 0))):
            if found := self.find(end.transport, local, remote):
                return found
        if size == V4:
            return self.find(end.transport, (ANY[16], end.lport), (ANY[16], 0))
        return None

    def listener(self, end: End) -> Socket | None:
        found = self.lookup(end._replace(remote=ANY[len(end.local)], rport=0))
        return found if found and found.state == "listen" else None

    def find(self, transport: str, local: tuple[bytes, int], remote: tuple[bytes, int]) -> Socket | None:
        """Look a row up; IPv4 also in the IPv6 table, where sockets for both families stand."""
        row = self.rows.get((transport, spell(*local), spell(*remote)))
        if row is None and len(local[0]) == V4:
            mapped = (MAPPED + local[0], local[1]), (MAPPED + remote[0], remote[1])
            row = self.rows.get((transport, spell(*mapped[0]), spell(*mapped[1])))
        if row is None or (transport == "tcp" and not remote[1] and row.state != LISTEN):
            return None
        return make(End(transport, *local, *remote), row)

    def dump(self, transport: str, states: int = CONNECTED) -> Iterator[Socket]:
        """List sockets in these states."""
        for (kind, local, remote), row in list(self.rows.items()):
            if kind == transport and states >> int(row.state, 16) & 1:
                with contextlib.suppress(ValueError, struct.error):
                    yield make(End(transport, *unspell(local), *unspell(remote)), row)


def make(end: End, row: Row) -> Socket:
    number = int(row.inode) if row.inode.isdigit() else 0
    uid = int(row.uid) if row.uid.isdigit() else -1
    return Socket(end, STATES.get(int(row.state, 16), "unknown"), number, uid)
