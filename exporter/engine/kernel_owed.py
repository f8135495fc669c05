"""What processes moved that has no name yet, as it stands beside the ledger for a worker that continues after this one.

Only numbers: of which connection they were dies with the worker.
"""

from collections.abc import Iterable

import msgspec

__all__ = ["Owed", "read", "write"]


class Owed(msgspec.Struct, array_like=True):
    """One process' numbers of one transport: packets and bytes received, then sent."""

    pid: int
    start: int
    cgroup: int
    transport: str
    moved: tuple[int, int, int, int]


_DECODER = msgspec.msgpack.Decoder(list[Owed])


def write(owed: Iterable[Owed]) -> bytes:
    """Encode; nothing is no bytes."""
    entries = list(owed)
    return msgspec.msgpack.encode(entries) if entries else b""


def read(notes: bytes) -> list[Owed]:
    """Decode; what cannot be read is nothing."""
    try:
        return _DECODER.decode(notes) if notes else []
    except msgspec.DecodeError:
        return []
