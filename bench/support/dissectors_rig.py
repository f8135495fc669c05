"""Probes and messages of each dissector, on the conversations of the vector files. Prints JSON.

By protocol: the median probe of any protocol's opening, and of its own; the median segment or datagram; and for
streams the costliest full segment that repeats one piece of a conversation, which holds a hundred messages and more.
"""

import json
import sys
from functools import partial
from statistics import median
from typing import TypeVar

from bench.support.space import pin
from bench.support.spent import microseconds
from exporter import dpi
from exporter.dissector import YES, Dissector
from exporter.errors import ParseError
from tests.dpi.cases import Case, cases

T = TypeVar("T")
PROBED = 4096
SEGMENT = 1448
MOST = 60
"""Openings that each probe is shown, and pieces that are repeated, evenly chosen."""


def probe(dissector: Dissector, case: Case) -> int:
    side, data = case.data[0]
    return dissector.probe(side, data[:PROBED], case.ends)


def feed(dissector: Dissector, case: Case) -> None:
    """Read a conversation as far as it is one of this protocol."""
    parser = dissector.parser(case.ends)
    try:
        for side, data in case.data:
            for message in parser.feed(side, data):
                if message.switch is not None:
                    return
            if parser.skip(side) < 0:
                return
    except ParseError:
        return


def repeated(dissector: Dissector, case: Case, at: int, rounds: int) -> float:
    """Give what a segment costs that is full of one piece; 0: the piece cannot be repeated."""
    side, data = case.data[at]
    if len(data) > SEGMENT // 2:
        return 0.0
    full = data * (SEGMENT // len(data))

    def read(times: int) -> bool:
        parser = dissector.parser(case.ends)
        try:
            for its, piece in (*case.data[:at], *((side, full),) * times):
                for message in parser.feed(its, piece):
                    if message.switch is not None:
                        return False
                if parser.skip(its):
                    return False
        except ParseError:
            return False
        return True

    if not read(3):
        return 0.0
    return (microseconds(partial(read, 11), rounds) - microseconds(partial(read, 1), rounds)) / 10


def pieces(case: Case) -> int:
    return max(1, len(case.data))


def costs(dissector: Dissector, all_: list[Case], rounds: int) -> tuple[float, float, float, float]:
    spoken = [case for case in all_ if case.ends.transport in dissector.transports]
    own = [case for case in spoken if case.protocol == dissector.name]
    claimed = [case for case in own if probe(dissector, case) == YES] or own
    streams = [(case, at) for case in own if case.stream for at in range(len(case.data))]
    return (
        median(microseconds(partial(probe, dissector, case), rounds) for case in some(spoken)),
        median(microseconds(partial(probe, dissector, case), rounds) for case in claimed),
        median(microseconds(partial(feed, dissector, case), rounds) / pieces(case) for case in own),
        max((repeated(dissector, case, at, rounds) for case, at in some(streams)), default=0.0),
    )


def some(all_: list[T]) -> list[T]:
    return all_[:: max(1, len(all_) // MOST)]


def main() -> None:
    pin(1)
    rounds = 3 if sys.argv[1] == "short" else 9
    all_ = [case for case in cases() if case.data]
    print(json.dumps({one.name: costs(one, all_, rounds) for one in dpi.load()}))


if __name__ == "__main__":
    main()
