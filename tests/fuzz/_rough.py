"""A conversation as frames: in whole pieces, or cut, doubled, overlapped and late."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from exporter.flow.reassembly import MAX_HELD
from tests.dpi.cases import Case
from tests.engine.frames import End, Talk

WHOLE = 60_000
LATE, LATE_BYTES = MAX_HELD // 2, 32_768
"""Segments and bytes among which order is lost: half of what a hole may hold up."""
SIZES = (1, 2, 7, 50, 536, 1448, 1448, 20_000)
STARTS = (1000, 0xFFFFFFFF, 0xFFFFFFF0, 0xFFFF0000)
Turn = tuple[int, bytes]


class Sent(NamedTuple):
    """Frames, and the packets and IP bytes that they are."""

    frames: list[bytes]
    packets: int
    bytes: int


class Piece(NamedTuple):
    """Part of what a side says in its turn."""

    at: int
    end: int


def _talk(case: Case, start: int) -> Talk:
    return Talk(
        End("10.0.0.1", case.ends.port0), End("10.0.0.2", case.ends.port1), isn=(start, start ^ 0x5555)
    )


def _sent(frames: list[bytes]) -> Sent:
    return Sent(frames, len(frames), sum(int.from_bytes(frame[16:18], "big") for frame in frames))


def whole(case: Case, turns: list[Turn]) -> Sent:
    """Say each piece at once, in order."""
    one = _talk(case, STARTS[0])
    frames = one.handshake()
    for side, data in turns:
        for at in range(0, len(data), WHOLE):
            frames.append(one.say(side, "PA", data[at : at + WHOLE]))
    return _sent(frames + one.close(turns[-1][0]))


def rough(rng: random.Random, case: Case, turns: list[Turn]) -> Sent:
    """Say the same in small pieces, some of them late, again, or with a part of what others bring; FIN may be early."""
    one = _talk(case, rng.choice(STARTS))
    sizes = rng.choices(SIZES, k=3)
    swaps, again = rng.choice((0.0, 0.1, 0.5, 1.0)), rng.choice((0.0, 0.1, 0.3))
    frames = one.handshake()
    old: list[bytes] = []
    last = len(frames)
    for side, data in _turns(turns):
        for window in _windows(_pieces(rng, len(data), sizes)):
            pieces = _disturbed(rng, window, swaps, again)
            start, last = one.next[side], len(frames)
            told = [one.say(side, "PA", data[a:b], seq=start + a) for a, b in pieces]
            frames += _acknowledged(rng, one, side, list(zip(pieces, told, strict=True)))
            if old and rng.random() < again:
                frames.append(rng.choice(old))  # long read, and acknowledged
            old = told
        one.next[side] = one.next[side] + len(data) & 0xFFFFFFFF
    fin, *rest = one.close(turns[-1][0])
    frames.insert(rng.choice((len(frames), rng.randint(last, len(frames)))), fin)
    return _sent(frames + rest)


def _turns(turns: list[Turn]) -> Iterator[Turn]:
    """Join what one side says until the other answers: within that it may come in any order."""
    waiting: Turn | None = None
    for side, data in turns:
        if waiting is not None and waiting[0] == side:
            waiting = side, waiting[1] + data
            continue
        if waiting is not None:
            yield waiting
        waiting = side, data
    if waiting is not None:
        yield waiting


def _pieces(rng: random.Random, size: int, sizes: list[int]) -> Iterator[Piece]:
    at = 0
    while at < size:
        end = min(size, at + rng.choice(sizes))
        yield Piece(at, end)
        at = end


def _windows(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    """Divide pieces into groups that reassembly can hold, with what is doubled in them."""
    window: list[Piece] = []
    for piece in pieces:
        if window and (len(window) >= LATE or piece.end - window[0].at > LATE_BYTES):
            yield window
            window = []
        window.append(piece)
    if window:
        yield window


def _disturbed(rng: random.Random, window: list[Piece], swaps: float, again: float) -> list[Piece]:
    """Double and widen some pieces of a group, then lose the order of all or of neighbours."""
    first, last = window[0].at, window[-1].end
    out = []
    for piece in window:
        wide = rng.random() < again
        more = rng.choice((1, 10, 1000))
        out.append(Piece(max(first, piece.at - more), min(last, piece.end + more)) if wide else piece)
        if rng.random() < again:
            out.append(rng.choice(window))
    if swaps >= 1:
        rng.shuffle(out)
    for at in range(len(out) - 1):
        if rng.random() < swaps:
            out[at], out[at + 1] = out[at + 1], out[at]
    return out


def _acknowledged(
    rng: random.Random, one: Talk, side: int, told: list[tuple[Piece, bytes]]
) -> Iterator[bytes]:
    """Put the other end's acknowledgements between segments: of all before the first hole, never more."""
    start, have = one.next[side], min(piece.at for piece, _ in told)
    seen: list[Piece] = []
    for piece, frame in told:
        yield frame
        seen.append(piece)
        for at, end in sorted(seen):
            if at <= have:
                have = max(have, end)
        if rng.random() < 0.3:
            yield one.say(1 - side, "A", ack=start + have)
