"""Mutated conversations and raw payloads through every probe and parser.

Broken are: any error but `ParseError`, an input that takes longer than 10 ms of processor time, text that does not
print, labels that nobody declared, and (streams) a cut that changes what is said.
"""

import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from exporter.dissector import Dissector, Ends
from exporter.errors import ParseError
from exporter.model import Message
from tests.dpi.cases import cases
from tests.dpi.reading import DISSECTORS, Piece, Reading, read
from tests.fuzz._done import Done, Memory

NAME = "dissectors"
SLOW, SIZE = 0.010, 16384
"""Seconds of this process's own time for an input of up to this size, which is what the capture keeps of a packet.

A larger one may take as many times as long. What others do to the machine's caches is taken out: see `_pace`.
"""
TEXT_MAX = 8192
LARGE = 1 / 64
"""Share of inputs in which a part is repeated until they are large."""
ENDS = (
    Ends(b"\x0a\0\0\1", 50000, b"\x0a\0\0\2", 50001),
    Ends(b"\x0a\0\0\1", 50000, b"\x0a\0\0\2", 53, "udp"),
    Ends(b"\x0a\0\0\1", 50000, b"\x0a\0\0\2", 50001, "udp"),
)
Conversation = tuple[list[Piece], Ends]


class BrokenError(AssertionError):
    """Something that must never happen."""


def seeds(corpus: Path | None) -> list[Conversation]:
    """Every vector, and every raw payload of the corpus on both transports."""
    found: list[Conversation] = [(list(case.data), case.ends) for case in cases()]
    folder = corpus / "seeds" if corpus else None
    if folder and folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                data = path.read_bytes()[:65536]
                found += [([(0, data), (1, data)], ends) for ends in ENDS]
    return found


def mutate(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    if out and rng.random() < LARGE:  # what is slow in the square of its size shows only now
        at = rng.randrange(len(out))
        part = out[at : at + rng.choice((1, 2, 3, 8, 64, 4096))]
        out[at:at] = part * (SIZE // len(part))
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(out) + 1)
        what = rng.randrange(7)
        if what == 0 and out:
            out[at % len(out)] = rng.choice((0, 1, 0x7F, 0x80, 0xC0, 0xFF, rng.randrange(256)))
        elif what == 1 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif what == 2:
            del out[at : at + rng.choice((1, 2, 16, 256))]
        elif what == 3:
            out[at:at] = rng.randbytes(rng.choice((1, 2, 4, 64)))
        elif what == 4:
            size = rng.choice((1, 8, 64))
            out[at:at] = out[at : at + size] * rng.choice((1, 2, 30))
        elif what == 5:
            out[at : at + 2] = rng.choice((b"\xff\xff", b"\0\0", b"\x7f\xff", b"\r\n", b"\n\n", b"  "))
        else:
            del out[at:]
    return bytes(out[:131072])


def cut(rng: random.Random, pieces: list[Piece]) -> Iterator[Piece]:
    """Cut every piece at random; the order of bytes within a side and between sides stays."""
    for side, data in pieces:
        at = 0
        while at < len(data):
            end = at + rng.choice((1, 2, 5, 50, 536, 1448))
            yield side, data[at:end]
            at = end


def _pace() -> float:
    """Give the processor time of a piece of work that is always the same."""
    began = time.process_time()
    seen: dict[bytes, int] = {}
    for number in range(5000):
        key = number.to_bytes(4, "big")
        seen[key[:2]] = seen.get(key[:2], 0) + key[3]
    return time.process_time() - began


class Slowest:
    """The slowest input of each protocol, in seconds of this process's own time, and its size."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[float, int]] = {}
        self._pace = min(_pace() for _ in range(50))

    def time(self, name: str, size: int, read_it: Callable[[], Any]) -> Any:
        """Read an input. What takes too long is read anew: a garbage collection may have fallen into it."""
        limit = SLOW * max(1, size / SIZE)
        best = float("inf")
        for _ in range(4):
            began = time.process_time()
            found = read_it()
            best = min(best, time.process_time() - began)
            if best <= limit / 4:
                break
        if best > limit:
            pace = min(_pace() for _ in range(5))
            self._pace = min(self._pace, pace)
            best *= self._pace / pace
        if best > self.found.get(name, (0.0, 0))[0]:
            self.found[name] = best, size
        if best > limit:
            raise BrokenError(f"{name}: {best * 1000:.1f} ms for {size} bytes")
        return found


def examine(conversation: Conversation, slowest: Slowest) -> Reading:
    pieces, ends = conversation
    size = sum(len(data) for _, data in pieces)
    reading = slowest.time("conversation", size, partial(read, pieces, ends))
    for _, message in reading.said:
        _check(message, reading.claims)
    return reading


def _check(message: Message, claims: set[str]) -> None:
    declared = [d for d in DISSECTORS if d.name in claims]
    if not any(message.op in d.operations | {"", "other"} for d in declared):
        raise BrokenError(f"operation {message.op!r}")
    if not any(message.status in d.statuses | {"", "other"} for d in declared):
        raise BrokenError(f"status {message.status!r}")
    for key, value in message.attrs.items():
        for text in (value,) if isinstance(value, str) else value:
            if len(text) > TEXT_MAX or not text.isprintable():
                raise BrokenError(f"{key} = {text[:80]!r}")


def _everyone(side: int, data: bytes, ends: Ends, slowest: Slowest) -> None:
    """Every parser, claimed or not: it must stand what a probe would have kept from it."""
    for dissector in DISSECTORS:
        if ends.transport in dissector.transports:
            for message in slowest.time(
                dissector.name, 2 * len(data), partial(_twice, dissector, side, data, ends)
            ):
                _check(message, {dissector.name})


def _twice(dissector: Dissector, side: int, data: bytes, ends: Ends) -> list[Message]:
    parser, said = dissector.parser(ends), []
    try:
        said += parser.feed(side, data)
        parser.skip(side)
        parser.gap(side)
        said += parser.feed(side, data)
        said += parser.close(side)
    except ParseError:
        pass
    return said


def run(rng: random.Random, seconds: float, corpus: Path | None) -> Done:
    """Fuzz for so long; give what was done. Raises `BrokenError`, or whatever a dissector let out."""
    pool = seeds(corpus)
    slowest, memory = Slowest(), Memory()
    done = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pieces, ends = rng.choice(pool)
        changed = [(side, mutate(rng, data) if rng.random() < 0.7 else data) for side, data in pieces]
        try:
            whole = examine((changed, ends), slowest)
            if ends.transport == "tcp":
                parts = read(cut(rng, changed), ends)
                if not whole.error and not parts.error and len(whole.claims | parts.claims) == 1:
                    _same(whole, parts)
            for side, data in changed:
                _everyone(side, data, ends, slowest)
        except Exception as error:
            error.add_note(f"input: {[(side, data.hex()) for side, data in changed]} {ends}")
            raise
        done += 1
        memory.note(1 - (end - time.monotonic()) / seconds)
    return Done(done, slowest.found, memory.grown)


def _same(whole: Reading, parts: Reading) -> None:
    if [(s, m.op, m.status) for s, m in whole.said] != [(s, m.op, m.status) for s, m in parts.said]:
        raise BrokenError(f"cut differently it says\n{parts.said}\ninstead of\n{whole.said}")
