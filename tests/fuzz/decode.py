"""Mutated frames of all link types through the decoder, and those of Ethernet through the engine's two paths.

Broken are: any error but `UndecodableError`, a size that is negative or not what the frame's header says, an input
that takes longer than 10 ms of processor time, memory that fragments keep, and a ledger that comes out differently
when every frame takes the general path.
"""

import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from exporter.decode.frame import Decoder
from exporter.errors import UndecodableError
from exporter.model import Packet
from tests.decode.build import ETHERNET
from tests.fuzz._done import Done, Memory
from tests.fuzz._frames import Run, runs
from tests.fuzz._paths import both_paths
from tests.fuzz.dissectors import BrokenError, Slowest, mutate

NAME = "decode"
REASONS = frozenset({"not_ip", "truncated", "malformed", "link_type", "nested", "fragment"})
FRAGMENTS = 64
LARGEST = 0xFFFF
"""Bytes of IPv4's length field, and of what fragments may be joined to."""
TWICE = 1 / 3
"""Share of Ethernet runs that go through the engine: it costs twenty times what decoding does."""
Given = list[Packet] | str


def run(rng: random.Random, seconds: float, corpus: Path | None) -> Done:
    """Fuzz for so long; give what was done. Raises `BrokenError`, or whatever the decoder let out."""
    pool = runs(corpus)
    links = sorted({each.link for each in pool} | {147})
    slowest, memory = Slowest(), Memory()
    done = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        changed = _changed(rng, rng.choice(pool), links)
        try:
            _decoded(changed, rng.choice((0, 0, 1, 40)), slowest)
            if changed.link == ETHERNET and rng.random() < TWICE:
                both_paths(rng, changed.frames)
        except Exception as error:
            error.add_note(f"input: link type {changed.link}, {[data.hex() for data in changed.frames]}")
            raise
        done += len(changed.frames)
        memory.note(1 - (end - time.monotonic()) / seconds)
    return Done(done, slowest.found, memory.grown)


def _changed(rng: random.Random, seed: Run, links: list[int]) -> Run:
    """Take some frames of a run, each as it is or mutated, some again; now and then as another link type's."""
    at = rng.randrange(len(seed.frames))
    frames = list(seed.frames[at : at + rng.choice((1, 2, 8))])
    for _ in range(rng.choice((0, 1, 2))):
        frames.append(rng.choice(frames))
    frames = [_mutated(rng, data) if rng.random() < 0.7 else data for data in frames]
    link = rng.choice(links) if rng.random() < 1 / 16 else seed.link
    return Run(link, tuple(frames))


def _mutated(rng: random.Random, data: bytes) -> bytes:
    """Change a frame anywhere, or in its first 64 bytes: there are the headers."""
    if rng.random() < 0.5:
        return mutate(rng, data)
    return mutate(rng, data[:64])[:4096] + data[64:]


def _decoded(changed: Run, more: int, slowest: Slowest) -> None:
    """Decode each frame alone, and then all in order; `more` bytes of each were not captured."""
    for data in changed.frames:
        wire = len(data) + more
        given = slowest.time(
            f"link type {changed.link}", len(data), partial(_alone, changed.link, data, wire)
        )
        if isinstance(given, str):
            if given not in REASONS:
                raise BrokenError(f"reason {given!r}")
        else:
            for packet in given:
                _outer(data, wire, packet)
    together = Decoder(tunnels=True, fragments=FRAGMENTS)
    for number, data in enumerate(changed.frames):
        try:
            packets = together.decode(float(number), changed.link, data, len(data) + more)
        except UndecodableError:
            continue
        for packet in packets:
            _each(packet)
    left, size = together.expire(float("inf"))
    if left < 0 or size < 0 or together.expire(float("inf")) != (0, 0):
        raise BrokenError(f"{left} fragments of {size} bytes are left, or stay")


def _alone(link: int, data: bytes, wire: int) -> Given:
    try:
        return Decoder(tunnels=True, fragments=FRAGMENTS).decode(0.0, link, data, wire)
    except UndecodableError as error:
        return error.reason


def _outer(data: bytes, wire: int, packet: Packet) -> None:
    """What a frame gives on its own: all sizes are its header's, or end where it ends."""
    if not 0 <= packet.link <= len(data) or packet.pad < 0:
        raise BrokenError(f"{packet.link} bytes before and {packet.pad} after")
    said = _said(data, wire, packet)
    if packet.size != said:
        raise BrokenError(f"{packet.transport}: size {packet.size}, its header says {said}")
    if packet.link + packet.size + packet.pad != max(wire, packet.link + packet.size):
        raise BrokenError(f"{packet.link} + {packet.size} + {packet.pad} is not {wire}")
    _each(packet)
    room = packet
    for inner in _inside(packet):
        if not len(inner.payload) <= inner.length <= inner.size <= room.length:
            raise BrokenError(f"{inner.tunnel}: {inner.length} of {inner.size} in {room.length} bytes")
        room = inner
    if not packet.length <= packet.size:
        raise BrokenError(f"{packet.transport}: payload of {packet.length} in {packet.size} bytes")


def _said(data: bytes, wire: int, packet: Packet) -> int:
    """The size by the header itself: RFC 791 section 3.1, RFC 8200 section 3, RFC 826; 0 there: all that is left."""
    at, room = packet.link, wire - packet.link
    if packet.transport == "arp":
        return 8 + 2 * (data[at + 4] + data[at + 5])
    if data[at] >> 4 == 4:
        return int.from_bytes(data[at + 2 : at + 4], "big") or room
    length = int.from_bytes(data[at + 4 : at + 6], "big")
    if length or data[at + 6] == 59:
        return length + 40
    return (
        packet.size if data[at + 6] == 0 and packet.size <= max(room, 1 << 20) else room
    )  # a jumbogram's option


def _inside(packet: Packet) -> Iterator[Packet]:
    inner = packet.inner
    while inner is not None:
        yield inner
        inner = inner.inner


def _each(outer: Packet) -> None:
    """What holds of every packet, also of one that fragments were joined to."""
    for packet in (outer, *_inside(outer), *([outer.quoted] if outer.quoted else ())):
        if not packet.transport or len(packet.src) != len(packet.dst) or len(packet.src) not in {4, 16}:
            raise BrokenError(f"{packet.transport!r} from {packet.src!r} to {packet.dst!r}")
        if not (0 <= packet.sport <= LARGEST and 0 <= packet.dport <= LARGEST):
            raise BrokenError(f"ports {packet.sport} and {packet.dport}")
        if not 0 <= len(packet.payload) <= packet.length or packet.size < 0:
            raise BrokenError(
                f"{packet.transport}: {len(packet.payload)} of {packet.length}, size {packet.size}"
            )
        if packet.fragment and packet.payload:
            raise BrokenError("a fragment that is not the last one carries something")
        if packet.length > max(packet.size, LARGEST):
            raise BrokenError(f"{packet.transport}: {packet.length} bytes joined")
