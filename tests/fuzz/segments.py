"""The vectors' TCP conversations as segments that are cut, doubled, overlapped and late, through the whole engine.

Broken are: other messages or parsers' faults than of the same conversation in whole pieces and in order, bytes or
packets that are not those of the frames sent, and a reassembly that gave something up. What is late stays within what
reassembly holds, and what each side says still answers to what the other said before.
"""

import random
import time
from pathlib import Path
from typing import Any

from exporter import metrics as m
from exporter.flow.connection import EVERYTHING
from exporter.model import Interface
from tests.dpi.cases import cases, said
from tests.dpi.reading import DISSECTORS
from tests.engine.frames import HERE
from tests.engine.rig import Rig
from tests.fuzz._done import Done, Memory
from tests.fuzz._rough import Sent, rough, whole
from tests.fuzz.dissectors import BrokenError, mutate

NAME = "segments"
ETH = Interface("eth0", 1, mac=HERE, mtu=EVERYTHING)
"""Takes any size for one packet: so bytes are those of the frames."""
BUDGET = {"dpi": {"packets": 1 << 20}, "capture": {"count_as": "stack"}}
"""Small segments do not use up the inspection: how many are looked at is a limit of its own."""


def run(rng: random.Random, seconds: float, corpus: Path | None) -> Done:
    """Fuzz for so long; give what was done. Raises `BrokenError`, or whatever the engine let out."""
    pool = [case for case in cases() if case.stream]
    slowest: dict[str, tuple[float, int]] = {}
    memory = Memory()
    done = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        case = rng.choice(pool)
        turns = list(case.data)
        damaged = rng.random() < 1 / 8
        if damaged:  # what is said then may depend on the cut
            turns = [(side, mutate(rng, data)) for side, data in turns]
        mixed = rough(rng, case, turns)
        try:
            began = time.process_time()
            other = _played(mixed, fast=rng.random() < 0.8)
            took = time.process_time() - began
            if not damaged:
                _same(_played(whole(case, turns), fast=False), other)
        except Exception as error:
            error.add_note(f"{case.protocol}: {case.name}, {[frame.hex() for frame in mixed.frames]}")
            raise
        if took > slowest.get(case.protocol, (0.0, 0))[0]:
            slowest[case.protocol] = took, mixed.bytes
        done += 1
        memory.note(1 - (end - time.monotonic()) / seconds)
    return Done(done, slowest, memory.grown)


def _played(sent: Sent, *, fast: bool) -> Rig:
    """Give the engine every frame, and see that it counted each."""
    rig = Rig(fast=fast, local=("10.0.0.1",), dissectors=DISSECTORS, metrics={"packets": True}, **BUDGET)
    rig.put(*sent.frames, on=ETH, gap=0.0001).wait(3, 1.0)
    padding = sum(len(frame) - 14 - int.from_bytes(frame[16:18], "big") for frame in sent.frames)
    found = (rig.sum(m.CAPTURED_PACKETS), rig.captured, rig.bytes, rig.ignored)
    if found != (sent.packets, sent.bytes, sent.bytes, padding):
        raise BrokenError(
            f"packets, bytes captured, of processes, ignored: {found}, sent {sent[1:]}, {padding}"
        )
    if given_up := rig.of(m.EVICTIONS, "", "reassembly"):
        raise BrokenError(f"{given_up:g} holes were given up")
    return rig


def _same(straight: Rig, crooked: Rig) -> None:
    """Message for message; versions and certificates too, and what the connection was in the end."""
    wanted, found = _messages(straight), _messages(crooked)
    if wanted != found:
        at = next(
            (i for i, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b),
            min(len(wanted), len(found)),
        )
        raise BrokenError(f"other messages, first the one at {at}: {found[at:]} instead of {wanted[at:]}")
    for family in (m.REQUESTS, m.DISSECTOR_FAULTS):
        if straight.moved(family) != crooked.moved(family):
            raise BrokenError(f"{family.name}: {crooked.moved(family)} instead of {straight.moved(family)}")
    ends = [[(e.protocol, e.reason, e.states, e.attrs) for e in rig.ended] for rig in (straight, crooked)]
    if ends[0] != ends[1] or len(ends[0]) != 1:
        raise BrokenError(f"ended as {ends[1]} instead of {ends[0]}")


def _messages(rig: Rig) -> list[tuple[int, dict[str, Any]]]:
    """What was said, as vectors write it: correlation ids begin anew with each parser, and so depend on the cut.

    The server's name is put to a request if it is known by then, which may be by the same segment's next request; it
    is compared where it stays, with the connection.
    """
    told = [(side, said(message)) for side, message in rig.said]
    for _, message in told:
        if "attrs" in message:
            message["attrs"].pop("server.address", None)
            if not message["attrs"]:
                del message["attrs"]
    return told
