"""A worker's source where the kernel counts: what moved each turn, and the few packets that inspection needs.

Everything is counted in `Moved`, by the socket and its owner; a `Sight` is for reading and adds nothing to any sum. Its
addresses are the socket's, which those in its bytes need not be (translation); a packet of a listener has the
listener's local end and no remote one, its bytes have both.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from exporter.ebpf.layout import Handles, Health, Key, Origin
from exporter.ebpf.owners import ticks
from exporter.ebpf.shard import Flow, Shard

__all__ = ["EbpfSource", "End", "Moved", "Sight"]

TRANSPORTS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
STATES = {
    1: "established",
    2: "syn_sent",
    3: "syn_received",
    4: "fin_wait_1",
    5: "fin_wait_2",
    6: "time_wait",
    7: "closed",
    8: "close_wait",
    9: "last_ack",
    10: "listen",
    11: "closing",
    12: "syn_received",
}
SYN_SENT, SYN_RECEIVED, CLOSED = 1 << 2, 1 << 3, 1 << 7
CLOSING = 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11
OVER = 7
ENDS = {111: "refused", 110: "timeout", 113: "unreachable", 101: "unreachable", 104: "reset", 32: "reset"}
"""Why a socket ended, by errno."""
QUALITIES = {
    Origin.CREATED: "exact",
    Origin.USED: "exact",
    Origin.INVENTORY: "exact",
    Origin.LISTENER: "listener",
    Origin.ORPHAN: "none",
    Origin.NONE: "kernel",
    Origin.KERNEL: "kernel",
}
KNOWN = 65_536


class End(NamedTuple):
    """A socket's connection, as it sees it. A listener and an overflow entry have no remote end."""

    cookie: int
    transport: str
    local: bytes
    lport: int
    remote: bytes
    rport: int
    overflow: bool
    key: bytes


class Moved(NamedTuple):
    """What one connection moved in one turn. `last` is Unix time; sizes are IP bytes, as `count_as` says."""

    end: End
    last: float
    scope: int
    """The network namespace's inode, 0 for our own; -1 where it is not known."""
    received: int
    received_size: int
    sent: int
    sent_size: int
    retransmits: int
    state: str
    """The state it is in now; "" for other than TCP."""
    initiator: int
    """1: the local end, 0: the remote one, -1: it began in another turn, or cannot be known."""
    ended: str
    """Of a closed socket: fin, reset, refused, timeout or unreachable."""
    pid: int
    start: int
    """Its process: `/proc/<pid>/stat` has the same start. Both 0: the kernel's, or nobody's."""
    quality: str
    """exact, listener, kernel, none."""
    cgroup: int
    copy: bool
    """Received by a raw socket: of TCP and UDP another socket has counted it too."""


class Sight(NamedTuple):
    """A packet to be read, not counted; `data` begins at its network header."""

    time: float
    end: End
    sent: bool
    size: int
    data: bytes


class EbpfSource:
    """All that a worker sees, by inherited descriptors."""

    def __init__(
        self, handles: Handles, *, turned: int | None = None, wire: bool = True, own: int = 0
    ) -> None:
        """Take over after turn `turned`. `own` is the inode of our network namespace, `wire` whether to count so."""
        self._shard = Shard(handles, turned)
        self._wire = wire
        self._own = own
        self._scopes: dict[int, int] = {}
        self._ends: dict[bytes, End] = {}
        self._offset = offset()

    def fileno(self) -> int:
        return self._shard.fileno()

    def dispatch(self, take: Callable[[Sight], None], limit: int = 4096) -> int:
        """Deliver packets; give how many. 0: nothing is left for now."""
        count = 0
        for seen in self._shard.frames(limit):
            count += 1
            end = self._end(seen.key)
            take(Sight(seen.time * 1e-9 + self._offset, end, bool(seen.way), seen.size, seen.data))
        return count

    def turn(self) -> Iterator[Moved]:
        """Give what moved since the last turn; to be called once a second, and read to the end."""
        self._offset = offset()
        if len(self._ends) > KNOWN:
            self._ends.clear()
        for flow in self._shard.turn():
            yield self._moved(flow)

    @property
    def turned(self) -> int:
        """The turn read last; to be stored with its numbers."""
        return self._shard.turned

    def release(self) -> None:
        """Let the kernel's copy go: the numbers of `turned` are safe."""
        self._shard.release()

    def inspect(self, end: End, *, on: bool) -> None:
        """Bring all of a connection's packets up from now on, or none."""
        self._shard.inspect(end.key, on=on)

    def learn(self, cookie: int, inode: int) -> None:
        """Know a network namespace, from a row of the inventory."""
        self._scopes[cookie] = 0 if inode == self._own else inode

    def lost(self) -> dict[Health, int]:
        """Give what the kernel could not hand over, of all workers together."""
        return self._shard.health()

    def close(self) -> None:
        self._shard.close()

    def _end(self, packed: bytes) -> End:
        end = self._ends.get(packed)
        if end is None:
            key = Key.read(packed)
            transport = TRANSPORTS.get(key.transport, f"ip-{key.transport}")
            end = End(
                key.cookie,
                transport,
                key.local,
                key.lport,
                key.remote,
                key.rport,
                key.overflow,
                packed,
            )
            self._ends[packed] = end
        return end

    def _scope(self, flow: Flow) -> int:
        if flow.space and flow.netns not in self._scopes:
            self.learn(flow.netns, flow.space)
        return self._scopes.get(flow.netns, -1)

    def _moved(self, flow: Flow) -> Moved:
        more = self._wire
        return Moved(
            self._end(flow.key),
            flow.last * 1e-9 + self._offset,
            self._scope(flow),
            flow.received + (flow.received_more if more else 0),
            flow.received_bytes + (flow.received_more_bytes if more else 0),
            flow.sent + (flow.sent_more if more else 0),
            flow.sent_bytes + (flow.sent_more_bytes if more else 0),
            flow.retransmits,
            STATES.get(flow.state, ""),
            initiator(flow.states),
            ended(flow),
            flow.tgid,
            ticks(flow.start),
            QUALITIES[Origin(flow.origin)],
            flow.cgroup,
            bool(flow.raw),
        )


def offset() -> float:
    """Give what to add to the kernel's monotonic clock for Unix time."""
    return time.time() - time.monotonic()


def initiator(states: int) -> int:
    if states & SYN_SENT:
        return 1
    return 0 if states & SYN_RECEIVED else -1


def ended(flow: Flow) -> str:
    """Say why a TCP socket is closed; one that was in no closing state on its way was reset, by us or by the peer."""
    if flow.state != OVER or not flow.states & CLOSED:
        return ""
    if flow.error:
        return ENDS.get(flow.error, "reset")
    return "fin" if flow.states & CLOSING else "reset"
