"""Connections that no dissector wants, through the whole inspector until they are given up. Prints JSON."""

import json
import random
import sys
from collections.abc import Iterator

from bench.support.space import pin
from bench.support.spent import microseconds
from exporter import dpi
from exporter.config import Config
from exporter.dissector import Ends
from exporter.flow.inspection import Budget, Inspection
from exporter.flow.inspector import Inspector

CONNECTIONS = 200
LENGTHS = (24, 100, 400, 1448)
PACKETS = 64
WORDS = (
    *(
        "the",
        "quick",
        "brown",
        "fox",
        "jumps",
        "over",
        "a",
        "lazy",
        "dog",
        "while",
        "seven",
        "wizards",
        "mix",
    ),
    *("quietly", "12", "jars", "of", "oxygen,", "and", "so", "on."),
)
KINDS = ("random", "text")


def random_payload(rng: random.Random, size: int) -> bytes:
    return rng.randbytes(size)


def text_payload(rng: random.Random, size: int) -> bytes:
    """Lines of words, as a protocol of somebody's own would have them."""
    text = ""
    while len(text) < size:
        text += " ".join(rng.choices(WORDS, k=rng.randrange(3, 9))) + "\r\n"
    return text.encode()[:size]


def conversations(rng: random.Random, kind: str) -> Iterator[list[bytes]]:
    make = random_payload if kind == "random" else text_payload
    for _ in range(CONNECTIONS):
        size = rng.choice(LENGTHS)
        yield [make(rng, size) for _ in range(PACKETS)]


class Unknown:
    """So many connections, all of one transport."""

    def __init__(self, transport: str, kind: str) -> None:
        config = Config()
        budget = Budget(config.dpi.packets, config.dpi.bytes)
        self.inspection = Inspection(dpi.load(), budget, lambda _: None)
        self.talks = list(conversations(random.Random(kind), kind))
        self.ends = Ends(b"\x0a\0\0\1", 50_000, b"\x0a\0\0\2", 50_001, transport)
        self.given_up = 0

    def __call__(self) -> None:
        self.given_up = 0
        for talk in self.talks:
            inspector = Inspector(self.inspection, self.ends)
            for number, data in enumerate(talk):
                inspector.feed(number & 1, data)
                if not inspector.active:
                    break
            self.given_up += not inspector.active and inspector.dissector is None


def main() -> None:
    pin(1)
    rounds = 5 if sys.argv[1] == "short" else 25
    found = {}
    for transport in ("tcp", "udp"):
        for kind in KINDS:
            unknown = Unknown(transport, kind)
            found[f"{transport}_{kind}"] = microseconds(unknown, rounds) / CONNECTIONS
            assert unknown.given_up >= CONNECTIONS * 0.99, f"{transport} {kind}: {unknown.given_up} given up"
    print(json.dumps(found))


if __name__ == "__main__":
    main()
