"""The one runner: every law holds for every case of every vector file."""

import random
import time
from collections.abc import Iterator

import pytest

from exporter.dissector import NO, YES
from exporter.dpi import load
from tests.dpi.cases import VECTORS, Case, cases, said
from tests.dpi.reading import DISSECTORS, PROBED, Piece, Reading, claims, read

CASES = cases()
SPOKEN = [case for case in CASES if case.messages]
EVERY = 400
"""Up to so many bytes, a piece is cut at every point; above, at as many random ones."""
MUTATIONS = 150
TEXT_MAX = 8192


def each(which: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", which, ids=lambda case: f"{case.protocol}: {case.name}")


def check(case: Case, reading: Reading) -> None:
    assert reading.claims == {case.protocol}
    assert [(side, said(message)) for side, message in reading.said] == list(case.messages)


def bytewise(case: Case) -> Iterator[Piece]:
    for side, data in case.data:
        for byte in data:
            yield side, bytes([byte])


def test_files_and_dissectors_pair_up():
    files = {path.stem for path in VECTORS.iterdir()} - {"unclaimed"}
    assert files == {dissector.name for dissector in load()}
    assert {case.protocol for case in SPOKEN} == files


@each(SPOKEN)
def test_whole(case):
    reading = read(case.data, case.ends)
    check(case, reading)
    assert not reading.error
    if case.rest is not None:
        left = {"client": reading.parser.rest(0).decode(), "server": reading.parser.rest(1).decode()}
        assert left == {"client": "", "server": ""} | case.rest


@each(SPOKEN)
def test_labels_are_declared(case):
    (dissector,) = (d for d in DISSECTORS if d.name == case.protocol)
    for _, message in read(case.data, case.ends).said:
        assert message.op in dissector.operations | {"", "other"}
        assert message.status in dissector.statuses | {"", "other"}


@each([case for case in SPOKEN if case.stream])
@pytest.mark.parametrize("skipping", [True, False])
def test_byte_by_byte(case, skipping):
    check(case, read(bytewise(case), case.ends, skipping=skipping))


@each(SPOKEN)
def test_an_idle_parser_may_be_replaced(case):
    """Between two messages nothing is known that what comes next depends on."""
    check(case, read(case.data, case.ends, resting=True))
    if case.stream:
        check(case, read(bytewise(case), case.ends, resting=True))


def test_some_parsers_are_idle():
    rested = {case.protocol for case in SPOKEN if read(case.data, case.ends, resting=True).rests}
    assert rested >= {"http", "dns"}


@each([case for case in SPOKEN if case.stream])
def test_cut_anywhere(case):
    for index, (side, data) in enumerate(case.data):
        points = range(1, len(data))
        if len(data) > EVERY:
            points = sorted(random.Random(len(data)).sample(points, EVERY))
        for at in points:
            pieces = [*case.data[:index], (side, data[:at]), (side, data[at:]), *case.data[index + 1 :]]
            check(case, read(pieces, case.ends))


@each(CASES)
def test_no_other_may_claim(case):
    """At no length of what one side sends, and it is never taken back."""
    streams = [b"", b""]
    for side, data in case.data:
        if not case.stream:
            assert claims(side, data, case.ends) <= {case.protocol}
            continue
        for at in range(1, len(data) + 1) if len(data) <= EVERY else (*range(1, 50), len(data)):
            assert claims(side, streams[side] + data[:at], case.ends) <= {case.protocol}
        streams[side] += data


@each([case for case in SPOKEN if case.stream])
def test_probes_do_not_waver(case):
    for side in (0, 1):
        stream = b"".join(data for s, data in case.data if s == side)[:PROBED]
        for dissector in DISSECTORS:
            if "tcp" not in dissector.transports:
                continue
            answers = [dissector.probe(side, stream[:at], case.ends) for at in range(len(stream) + 1)]
            settled = [answer for answer in answers if answer in (NO, YES)]
            assert settled == sorted(settled, reverse=settled[:1] == [YES])
            assert len(set(settled)) < 2


@each(CASES)
def test_trailing_bytes(case):
    """What follows may be an error, and changes nothing that was said before."""
    before = [said(message) for _, message in read(case.data, case.ends).said]
    for tail in (b"\0" * 7, b"\xff" * 300, b"\r\n\r\n", case.data[0][1]):
        for side in (0, 1):
            after = [said(message) for _, message in read([*case.data, (side, tail)], case.ends).said]
            assert after[: len(before)] == before


@each(CASES)
def test_mutated(case):
    """Only `ParseError` escapes, quickly, and what is said stays bounded and printable."""
    rng = random.Random(case.name)
    for _ in range(MUTATIONS):
        pieces = [(side, mutated(rng, data)) for side, data in case.data]
        began = time.perf_counter()
        reading = read(pieces, case.ends)
        assert time.perf_counter() - began < 0.25
        for _, message in reading.said:
            for value in message.attrs.values():
                for text in (value,) if isinstance(value, str) else value:
                    assert len(text) <= TEXT_MAX
                    assert text.isprintable()


def mutated(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(5):
            case 0 if out:
                out[at % len(out)] = rng.randrange(256)
            case 1 if out:
                out[at % len(out)] ^= 1 << rng.randrange(8)
            case 2:
                out[at : at + rng.randint(1, 8)] = b""
            case 3:
                out[at:at] = rng.randbytes(rng.randint(1, 8))
            case _:
                out[at:at] = out[at : at + rng.randint(1, 64)]
    return bytes(out)
