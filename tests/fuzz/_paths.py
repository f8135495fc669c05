"""The engine's two paths: what the fast one counts, the general one counts too."""

import random
from ipaddress import ip_address

from exporter import metrics as m
from exporter.decode.frame import Decoder
from exporter.engine.fastpath import SHORTEST
from exporter.errors import UndecodableError
from tests.decode.build import ETHERNET
from tests.dpi.reading import DISSECTORS
from tests.engine.rig import LOCAL, Rig
from tests.fuzz.dissectors import BrokenError


def both_paths(rng: random.Random, frames: tuple[bytes, ...]) -> None:
    """Feed frames twice, so that their connections are known; either path must leave the same ledger."""
    frames = tuple(_trimmed(data) for data in frames)
    first = frames[0]
    own = first[26:30] if first[12:14] == b"\x08\x00" else first[22:38]
    local = (*LOCAL, str(ip_address(own))) if len(own) in {4, 16} and rng.random() < 0.7 else LOCAL
    count_as = rng.choice(("wire", "stack"))
    quick, plain = (_played(frames, fast, local, count_as) for fast in (True, False))
    ours, other = _all_of(quick), _all_of(plain)
    if ours != other:
        raise BrokenError(
            f"fast, not general: {_lacks(ours, other)}; general, not fast: {_lacks(other, ours)}"
        )
    captured = quick.sum(m.CAPTURED_BYTES)
    if quick.bytes != captured:
        raise BrokenError(f"{quick.bytes} bytes of processes, {captured} captured")


def _trimmed(data: bytes) -> bytes:
    """Cut off what a long frame has behind its packet.

    The fast path looks for that in the shortest frames only: there drivers put it, and looking costs.
    """
    try:
        given = Decoder(tunnels=False, fragments=1).decode(0.0, ETHERNET, data, len(data))
    except UndecodableError:
        return data
    pad = given[0].pad if given else 0
    return data[: max(SHORTEST, len(data) - pad)] if pad else data


def _played(frames: tuple[bytes, ...], fast: bool, local: tuple[str, ...], count_as: str) -> Rig:
    rig = Rig(fast=fast, local=local, dissectors=DISSECTORS, capture={"count_as": count_as})
    return rig.put(*frames, *frames).wait(2, 1.0).wait(40, 20.0)


def _all_of(rig: Rig) -> dict[object, list[float]]:
    return {
        (row.key[0].name, row.key[1], row.key[2]): list(
            rig.ledger.values[row.slot : row.slot + row.key[0].width]
        )
        for row in rig.ledger.rows.values()
    }


def _lacks(one: dict[object, list[float]], other: dict[object, list[float]]) -> dict[object, list[float]]:
    return {key: value for key, value in one.items() if other.get(key) != value}
