"""The portable way: psutil lists sockets with their processes, wherever it runs.

It is slow, so it is asked seldom; and of several holders of a socket it tells one.
"""

import socket
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import psutil

from exporter.identity.budget import Budget
from exporter.identity.groups import Grouping, clean
from exporter.identity.netlink import ANY, CONNECTED, STATES, End, Socket, normal
from exporter.identity.processes import DEPTH, KEPT
from exporter.identity.procfs import LONGEST_PATH
from exporter.identity.stats import Stats
from exporter.model import Owner

__all__ = ["PsutilProcesses", "PsutilSockets", "get_addresses"]

WORDS = 8
"""Words of a command line that are kept."""
T = TypeVar("T")
NUMBERS = {name: number for number, name in STATES.items()}
STATUS = {
    psutil.CONN_ESTABLISHED: "established",
    psutil.CONN_SYN_SENT: "syn_sent",
    psutil.CONN_SYN_RECV: "syn_received",
    psutil.CONN_FIN_WAIT1: "fin_wait_1",
    psutil.CONN_FIN_WAIT2: "fin_wait_2",
    psutil.CONN_TIME_WAIT: "time_wait",
    psutil.CONN_CLOSE: "closed",
    psutil.CONN_CLOSE_WAIT: "close_wait",
    psutil.CONN_LAST_ACK: "last_ack",
    psutil.CONN_LISTEN: "listen",
    psutil.CONN_CLOSING: "closing",
}


class PsutilSockets:
    """All sockets at one moment; taken anew as often as a budget of time allows."""

    method = "psutil"

    def __init__(self, stats: Stats, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start with nothing; the clock measures cost only."""
        self.stats = stats
        self.clock = clock
        self.rows: dict[End, Socket] = {}
        self.budget = Budget(rate=0.25, burst=0.5)
        self.read_at = 0.0

    def prepare(self, now: float) -> float:
        if not self.budget.ready(now):
            return self.read_at
        begun = self.clock()
        self.read_at = now
        try:
            self.rows = self.read()
        except (psutil.Error, OSError) as error:
            self.stats.degraded["psutil"] = type(error).__name__
        spent = self.clock() - begun
        self.budget.spend(spent)
        self.stats.dumps += 1
        self.stats.dump_seconds += spent
        return self.read_at

    def read(self) -> dict[End, Socket]:
        rows: dict[End, Socket] = {}
        for row in psutil.net_connections("inet"):
            transport = "tcp" if row.type == socket.SOCK_STREAM else "udp"
            local, lport = pack(row.laddr, row.family)
            remote, rport = pack(row.raddr, row.family)
            end = End(transport, local, lport, remote, rport)
            pids = {row.pid} if row.pid else set()
            if end in rows:
                pids.update(rows[end].holders)
            state = STATUS.get(row.status) or ("established" if row.raddr else "closed")
            rows[end] = Socket(end, state, 0, holders=tuple(sorted(pids)))
        return rows

    def lookup(self, end: End) -> Socket | None:
        any_ = ANY[len(end.local)]
        tries = [end, end._replace(remote=any_, rport=0), end._replace(local=any_, remote=any_, rport=0)]
        tries.append(End(end.transport, ANY[16], end.lport, ANY[16], 0))
        found = next(filter(None, map(self.rows.get, tries)), None)
        bound = found and found.end.rport == 0 and found.state != "listen"
        return None if bound and end.transport == "tcp" else found

    def listener(self, end: End) -> Socket | None:
        found = self.lookup(end._replace(remote=ANY[len(end.local)], rport=0))
        return found if found and found.state == "listen" else None

    def dump(self, transport: str, states: int = CONNECTED) -> Iterator[Socket]:
        for row in list(self.rows.values()):
            if row.end.transport == transport and states >> NUMBERS.get(row.state, 0) & 1:
                yield row


def pack(address: object, family: int) -> tuple[bytes, int]:
    """Pack psutil's address; the empty one is "any"."""
    size = 4 if family == socket.AF_INET else 16
    if not isinstance(address, tuple) or not address:
        return ANY[size], 0
    host, port = str(address[0]).partition("%")[0], int(address[1])
    return normal(
        socket.inet_pton(socket.AF_INET if family == socket.AF_INET else socket.AF_INET6, host)
    ), port


class PsutilProcesses:
    """Processes as psutil shows them."""

    def __init__(self, grouping: Grouping) -> None:
        """Take the rules for names."""
        self.grouping = grouping
        self.known: dict[int, tuple[psutil.Process, str, Owner]] = {}
        self.seen: dict[int, float] = {}

    def owner(self, pid: int, now: float) -> Owner | None:
        try:
            process = psutil.Process(pid)
            known = self.known.get(pid)
            name = process.name()
            if known is None or known[0] != process or known[1] != name:
                known = self.known[pid] = (process, name, self.build(process, name))
        except (psutil.Error, OSError):
            return None
        self.seen[pid] = now
        return known[2]

    def build(self, process: psutil.Process, name: str) -> Owner:
        path = text(get(process.exe))
        command = tuple(text(word) for word in get(process.cmdline) or ())[:WORDS]
        name = clean(path.replace("\\", "/").rpartition("/")[2].removesuffix(" (deleted)") or name)
        uids = get(process.uids) if hasattr(process, "uids") else None
        parents = list(get(process.parents) or ())[:DEPTH]
        parent = parents[0].pid if parents else 0
        return Owner(
            process=self.grouping.own(process.pid, parent) or self.grouping.label(name, path, command, ""),
            pid=process.pid,
            start=process.create_time(),
            executable=path.removesuffix(" (deleted)"),
            command=command,
            uid=uids.effective if uids else -1,
            ppid=parent,
            ancestors=tuple((parent.pid, clean(text(get(parent.name)))) for parent in parents),
        )

    def prune(self, now: float) -> None:
        for pid in [pid for pid, seen in self.seen.items() if now - seen > KEPT]:
            del self.seen[pid], self.known[pid]


def text(value: str | None) -> str:
    """Make it valid UTF-8 of bounded length: psutil gives bytes that are not as half characters."""
    return (value or "")[:LONGEST_PATH].encode("utf-8", "replace").decode()


def get(read: Callable[[], T]) -> T | None:
    """Read what may be forbidden."""
    try:
        return read()
    except (psutil.Error, OSError):
        return None


def get_addresses() -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Give all local addresses, and the IPv4 broadcast addresses."""
    local: dict[bytes, None] = {}
    broadcast: dict[bytes, None] = {}
    for rows in psutil.net_if_addrs().values():
        for row in rows:
            if row.family in {socket.AF_INET, socket.AF_INET6}:
                local[pack((row.address, 0), row.family)[0]] = None
                if row.broadcast and row.family == socket.AF_INET:
                    broadcast[pack((row.broadcast, 0), row.family)[0]] = None
    return tuple(local), tuple(broadcast)
