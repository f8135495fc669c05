"""A worker's source where the kernel counts: what moved each turn, and the few packets that inspection needs.

Everything is counted in `Tally`, by the socket and its owner; a `Sight` is for reading and adds nothing to any sum. Its
addresses are the socket's, which those in its bytes need not be (translation); a packet of a listener has the
listener's local end and no remote one, its bytes have both.
"""

import time
from collections.abc import Callable, Iterator

from exporter.ebpf import maps
from exporter.ebpf.layout import FLOW, UNLIMITED, Handles, Health, Key, Origin
from exporter.ebpf.owners import TICK
from exporter.ebpf.shard import Flow, Shard
from exporter.model import End, Sight, Tally

__all__ = ["EbpfSource", "dealt"]

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
WAITS = 1 << 5 | 1 << 11
"""States whose next one is TIME_WAIT: the kernel closes the socket then, and another thing waits in its place."""
ESTABLISHED = 1 << 1 | 1 << 6 | CLOSING
OVER = 7
ENDS = {111: "refused", 110: "timeout", 113: "unreachable", 101: "unreachable", 104: "reset", 32: "reset"}
"""Why a socket ended, by errno."""
QUALITIES = {
    int(Origin.CREATED): "exact",
    int(Origin.USED): "exact",
    int(Origin.INVENTORY): "exact",
    int(Origin.LISTENER): "listener",
    int(Origin.ORPHAN): "none",
    int(Origin.NONE): "kernel",
    int(Origin.KERNEL): "kernel",
}
NAMELESS = 1 << 62
"""Below minus this: a socket whose network namespace the kernel did not tell is alone in one."""


class EbpfSource:
    """All that a worker sees, by inherited descriptors."""

    def __init__(
        self, handles: Handles, *, turned: int | None = None, wire: bool = True, own: int = 0
    ) -> None:
        """Take over after turn `turned`. `own` is the inode of our network namespace, `wire` whether to count so."""
        self._shard = Shard(handles, turned)
        self._flows = handles.flows
        self._wire = wire
        self._own = own
        self._scopes: dict[int, int] = {}
        """Scopes of network namespaces, by their cookies."""
        self._ends: dict[bytes, End] = {}
        self._older: dict[bytes, End] = {}
        """Ends by their keys, of this turn and of the last one: what is idle takes no memory here."""
        self._offset = offset()

    def fileno(self) -> int:
        return self._shard.fileno()

    def dispatch(self, take: Callable[[Sight], None], limit: int = 4096) -> int:
        """Deliver packets; give how many. 0: nothing is left for now."""
        count = 0
        later = self._offset
        for seen in self._shard.frames(limit):
            count += 1
            scope = self._scopes.get(seen.netns)
            if scope is None:
                scope = self._look(seen.netns, seen.key)
            take(
                Sight(
                    seen.time * 1e-9 + later, self._end(seen.key), scope, seen.way == 1, seen.size, seen.data
                )
            )
        return count

    def turn(self) -> Iterator[Tally]:
        """Give what moved since the last turn; to be called once a second, and read to the end."""
        self._offset = offset()
        self._older, self._ends = self._ends, {}
        for flow in self._shard.turn():
            yield self._tally(flow)

    @property
    def turned(self) -> int:
        """The turn read last; to be stored with its numbers."""
        return self._shard.turned

    def release(self) -> None:
        """Let the kernel's copy go: the numbers of `turned` are safe."""
        self._shard.release()

    def inspect(self, key: bytes, *, on: bool) -> None:
        """Bring all of a connection's packets up from its next turn on, or none."""
        self._shard.inspect(key, on=on)

    def lost(self) -> dict[Health, int]:
        """Give what the kernel could not hand over, of all workers together."""
        return self._shard.health()

    def close(self) -> None:
        self._shard.close()

    def _end(self, packed: bytes) -> End:
        end = self._ends.get(packed)
        if end is None:
            end = self._older.pop(packed, None)
            if end is None:
                end = _read(packed)
            self._ends[packed] = end
        return end

    def _look(self, netns: int, key: bytes) -> int:
        """Find out which namespace this is of which nothing was counted yet: what is being counted says it."""
        turn = self._shard.generation
        for generation in (turn, turn - 1):
            value = maps.lookup(self._flows[generation & 1], key, FLOW.size)
            if value is not None:
                return self._scope(Flow(key, *FLOW.unpack(value)))
        return -netns

    def _scope(self, flow: Flow) -> int:
        netns, inode = flow.netns, flow.space
        if not netns:
            return -NAMELESS - self._end(flow.key).cookie
        if inode:
            scope = self._scopes[netns] = 0 if inode == self._own else inode
            return scope
        return self._scopes.setdefault(netns, -netns)

    def _tally(self, flow: Flow) -> Tally:
        """Write a flow as what the engine takes. Each one that moved passes here: 2 µs."""
        key, received, received_size, more_in, more_in_size, sent, sent_size, more_out, more_out_size, *_ = (
            flow
        )
        if self._wire:
            received += more_in
            received_size += more_in_size
            sent += more_out
            sent_size += more_out_size
        states = flow.states
        why = ended(flow) if states & CLOSED else ""
        scope = self._scopes.get(flow.netns)
        return Tally(
            self._ends.get(key) or self._end(key),
            flow.last * 1e-9 + self._offset,
            scope if scope is not None and (scope >= 0 or not flow.space) else self._scope(flow),
            received,
            received_size,
            sent,
            sent_size,
            flow.tgid,
            flow.start * TICK // 1_000_000_000,
            "time_wait" if why == "fin" and states & WAITS else STATES.get(flow.state, ""),
            why,
            states & ESTABLISHED != 0,
            initiator(states),
            flow.retransmits,
            QUALITIES[flow.origin],
            flow.cgroup,
            flow.raw != 0,
        )


def _read(packed: bytes) -> End:
    key = Key.read(packed)
    transport = TRANSPORTS.get(key.transport, f"ip-{key.transport}")
    return End(key.cookie, transport, key.local, key.lport, key.remote, key.rport, key.overflow, packed)


def offset() -> float:
    """Give what to add to the kernel's monotonic clock for Unix time."""
    return time.time() - time.monotonic()


def initiator(states: int) -> int:
    if states & SYN_SENT:
        return 1
    return 0 if states & SYN_RECEIVED else -1


def ended(flow: Flow) -> str:
    """Say why a TCP socket is closed; one that was in no closing state on its way was reset, by us or by the peer."""
    if flow.state != OVER:
        return ""
    if flow.error:
        return ENDS.get(flow.error, "reset")
    return "fin" if flow.states & CLOSING else "reset"


def dealt(local: tuple[bytes, int], remote: tuple[bytes, int], count: int) -> int:
    """Tell which of `count` workers has a connection, as maps.bpf.h deals them."""
    value = local[1] ^ remote[1]
    for address in (local[0], remote[0]):
        for at in range(0, len(address), 4):
            value ^= int.from_bytes(address[at : at + 4], "little")
    return (value * 0x9E3779B1 & UNLIMITED) * count >> 32 if count > 1 else 0
