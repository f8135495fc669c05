"""Mutated conversations and raw payloads through every probe and parser.

Broken are: any error but `ParseError`, an input that takes longer than 10 ms, memory that grows, text that does not
print, labels that nobody declared, and (streams) a cut that changes what is said.
"""

import random
import time
from collections.abc import Iterator
from pathlib import Path

from exporter.dissector import Ends
from exporter.errors import ParseError
from exporter.model import Message
from tests.dpi.cases import cases
from tests.dpi.reading import DISSECTORS, Piece, Reading, read

NAME = "dissectors"
SLOW = 0.010
TEXT_MAX = 8192
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


def examine(conversation: Conversation) -> Reading:
    pieces, ends = conversation
    began = time.perf_counter()
    reading = read(pieces, ends)
    took = time.perf_counter() - began
    if took > SLOW * max(1, sum(len(data) for _, data in pieces) / 16384):
        began = time.perf_counter()
        read(pieces, ends)  # once more: the machine may have been busy
        if time.perf_counter() - began > SLOW:
            raise BrokenError(f"{took * 1000:.1f} ms")
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


def _everyone(side: int, data: bytes, ends: Ends) -> None:
    """Every parser, claimed or not: it must stand what a probe would have kept from it."""
    for dissector in DISSECTORS:
        if ends.transport in dissector.transports:
            parser = dissector.parser(ends)
            try:
                for message in parser.feed(side, data):
                    _check(message, {dissector.name})
                parser.skip(side)
                parser.gap(side)
                list(parser.feed(side, data))
                list(parser.close(side))
            except ParseError:
                pass


def run(rng: random.Random, seconds: float, corpus: Path | None) -> int:
    """Fuzz for so long; give the number of executions. Raises `BrokenError`, or whatever a dissector let out."""
    pool = seeds(corpus)
    done = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pieces, ends = rng.choice(pool)
        changed = [(side, mutate(rng, data) if rng.random() < 0.7 else data) for side, data in pieces]
        try:
            whole = examine((changed, ends))
            if ends.transport == "tcp":
                parts = read(cut(rng, changed), ends)
                if not whole.error and not parts.error and len(whole.claims | parts.claims) == 1:
                    _same(whole, parts)
            for side, data in changed:
                _everyone(side, data, ends)
        except Exception as error:
            error.add_note(f"input: {[(side, data.hex()) for side, data in changed]} {ends}")
            raise
        done += 1
    return done


def _same(whole: Reading, parts: Reading) -> None:
    if [(s, m.op, m.status) for s, m in whole.said] != [(s, m.op, m.status) for s, m in parts.said]:
        raise BrokenError(f"cut differently it says\n{parts.said}\ninstead of\n{whole.said}")
