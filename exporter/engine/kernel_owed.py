"""What processes moved that has no name yet, as it stands beside the ledger for a worker that continues after this one.

Only numbers: of which connection they were dies with the worker.
"""

from collections.abc import Iterable, Iterator

import msgspec

from exporter.flow.socket import Process
from exporter.model import Tally

__all__ = ["COUNTED_TWICE", "Moved", "Owed", "add", "counted", "read", "write"]

COUNTED_TWICE = frozenset({"tcp", "udp"})
"""Transports of which a raw socket receives copies only."""

Moved = tuple[int, int, int, int]
"""Packets and bytes received, then sent."""


class Owed(msgspec.Struct, array_like=True):
    """One process' numbers of one transport."""

    pid: int
    start: int
    cgroup: int
    transport: str
    moved: Moved


_DECODER = msgspec.msgpack.Decoder(list[Owed])


def counted(tally: Tally) -> Moved:
    """Give a tally's numbers; what a raw socket got was counted elsewhere (`Tally.copy`)."""
    if tally.copy and tally.end.transport in COUNTED_TWICE:
        return 0, 0, tally.sent, tally.sent_size
    return tally.received, tally.received_size, tally.sent, tally.sent_size


def add(sums: dict[str, Moved], transport: str, moved: Moved) -> None:
    """Add to the sums of a transport."""
    got, got_size, sent, sent_size = sums.get(transport, (0, 0, 0, 0))
    sums[transport] = got + moved[0], got_size + moved[1], sent + moved[2], sent_size + moved[3]


def write(processes: Iterable[Process]) -> bytes:
    """Encode what is held for these; nothing is no bytes."""
    entries = [entry for process in processes for entry in _of(process)]
    return msgspec.msgpack.encode(entries) if entries else b""


def read(notes: bytes) -> list[Owed]:
    """Decode; what cannot be read is nothing."""
    try:
        return _DECODER.decode(notes) if notes else []
    except msgspec.DecodeError:
        return []


def _of(process: Process) -> Iterator[Owed]:
    sums = dict(process.owed)
    for tally in process.held:
        add(sums, tally.end.transport, counted(tally))
    for transport, moved in sums.items():
        yield Owed(process.pid, process.start, process.cgroup, transport, moved)
