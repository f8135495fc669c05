"""Feeds a conversation to all dissectors as the inspector does: probing, then one parser, then perhaps another."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.dpi import load
from exporter.errors import ParseError
from exporter.flow.inspector import DATAGRAMS
from exporter.model import Message

PROBED = 4096
DISSECTORS = load()
Piece = tuple[int, bytes]


@dataclass
class Reading:
    """What came of a conversation. It stops where another protocol takes over."""

    claims: set[str] = field(default_factory=set)
    said: list[tuple[int, Message]] = field(default_factory=list)
    error: str = ""
    parser: Parser | None = None
    heard: set[int] = field(default_factory=set)
    rests: int = 0


def claims(side: int, seen: bytes, ends: Ends) -> set[str]:
    """Who says YES to these first bytes, or this datagram."""
    asked = [d for d in DISSECTORS if ends.transport in d.transports]
    return {d.name for d in asked if d.probe(side, seen[:PROBED], ends) == YES}


def read(pieces: Iterable[Piece], ends: Ends, *, skipping: bool = True, resting: bool = False) -> Reading:
    """Read pieces in order.

    With `skipping`, what the parser does not want is not fed; with `resting`, a new one goes on wherever one is idle.
    """
    reading = Reading()
    seen = [b"", b""]
    waiting: list[Piece] = []
    skips = [0, 0]
    refused: set[tuple[int, str]] = set()
    asked = 0
    speaks: Dissector | None = None
    for side, data in pieces:
        if reading.parser is None:
            seen[side] = seen[side] + data if ends.transport == "tcp" else data
            waiting.append((side, data))
            asked += 1
            final = ends.transport == "tcp" or asked >= DATAGRAMS
            found = _asked(side, seen[side], ends, refused if final else set())
            if not found:
                if ends.transport == "udp":
                    waiting.clear()
                continue
            reading.claims |= {d.name for d in found}
            speaks = found[0]
            reading.parser = speaks.parser(ends)
            todo, waiting = waiting, []
        else:
            todo = [(side, data)]
        for each in todo:
            if _over(reading) or reading.error:
                return reading
            _feed(reading, each, skips, skipping=skipping)
        if resting and speaks and reading.parser and reading.heard == {0, 1} and not any(skips):
            _rest(reading, speaks.parser(ends))
    return reading


def _rest(reading: Reading, parser: Parser) -> None:
    """Let another parser go on, if the one before has nothing under way."""
    if reading.parser is not None and not _over(reading) and not reading.error and reading.parser.idle():
        reading.parser = parser
        reading.rests += 1


def _asked(side: int, seen: bytes, ends: Ends, refused: set[tuple[int, str]]) -> list[Dissector]:
    found = []
    for each in DISSECTORS:
        if ends.transport not in each.transports or (side, each.name) in refused:
            continue
        answer = each.probe(side, seen[:PROBED], ends)
        if answer == YES:
            found.append(each)
        elif answer == NO:
            refused.add((side, each.name))
    return found


def _over(reading: Reading) -> bool:
    return any(message.switch is not None for _, message in reading.said)


def _feed(reading: Reading, piece: Piece, skips: list[int], *, skipping: bool) -> None:
    side, data = piece
    assert reading.parser is not None
    if skips[side] < 0:
        return
    unwanted = min(skips[side], len(data))
    skips[side] -= unwanted
    if not data[unwanted:]:
        return
    try:
        for message in reading.parser.feed(side, data[unwanted:]):
            reading.said.append((side, message))
        reading.heard.add(side)
    except ParseError as error:
        reading.error = error.reason
        return
    if skipping:
        for either in (0, 1):
            skips[either] = skips[either] or reading.parser.skip(either)
