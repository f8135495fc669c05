"""The engine alone: short connections, on the frames' own clock, to their tombstones' end. Prints JSON."""

import gc
import json
import ssl
import sys
import tempfile
import time
from collections.abc import Sequence

from bench.support.frames import MAC, SERVER, conversation
from bench.support.space import pin
from bench.support.tls import NAME, REQUEST, RESPONSE, certificate, contexts
from exporter import dpi
from exporter.config import Config
from exporter.engine import Engine
from exporter.ledger import Ledger
from exporter.model import Addresses, Interface

ETHERNET = 1
RATE = 2000
"""New connections a second, on the frames' clock."""
AFTER = 60
"""Seconds for tombstones to weather."""
HEAD = b"GET /items/17?page=2 HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n\r\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 512\r\n\r\n"
    + b"x" * 512
)

Flights = Sequence[tuple[int, bytes]]


def handshake(version: str) -> Flights:
    """Let two real ends talk in memory, and write down what they say."""
    with tempfile.TemporaryDirectory() as folder:
        client, server = contexts(version, certificate(folder))
    wires = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(wires[1], wires[0], server_hostname=NAME),
        server.wrap_bio(wires[0], wires[1], server_side=True),
    )
    flights: list[tuple[int, bytes]] = []
    shaken = [False, False]
    while not all(shaken):
        for side, end in enumerate(ends):
            try:
                end.do_handshake()
                shaken[side] = True
            except ssl.SSLWantReadError:
                pass
            _forward(wires, side, flights)
    for side, said in ((0, REQUEST), (1, RESPONSE)):
        ends[side].write(said)
        _forward(wires, side, flights)
        ends[1 - side].read(4096)
    return flights


def _forward(wires: tuple[ssl.MemoryBIO, ssl.MemoryBIO], side: int, flights: list[tuple[int, bytes]]) -> None:
    """What a side wrote lies in its own outgoing buffer, which is the other's incoming one."""
    said = wires[side].read()
    if said:
        flights.append((side, said))
        wires[side].write(said)


def microseconds(port: int, flights: Flights, seconds: int) -> float:
    """Give the processor time that a connection takes the engine, with all that comes by the clock."""
    config = Config()
    ledger = Ledger(config.metrics, now=1000.0)
    engine = Engine(config, dpi.select(()), ledger, None)
    engine.context.places.learn(Addresses(0, (SERVER,)))
    frame = engine.attach(Interface("bench", ETHERNET, mac=MAC, mtu=1500))
    talks = [conversation(20_000 + number, port, flights) for number in range(RATE)]
    gc.collect()  # as the worker does
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    start = time.process_time_ns()
    for second in range(1000, 1000 + seconds + AFTER):
        for quarter in range(4):
            now = second + quarter / 4
            if second < 1000 + seconds:
                for talk in talks[quarter::4]:
                    for data in talk:
                        frame(now, data)
            engine.reap(now)
        if second % 5 == 0:
            engine.sweep(second)
        engine.tick(second)
    return (time.process_time_ns() - start) / 1000 / (RATE * seconds)


def main() -> None:
    pin(1)
    seconds = 5 if sys.argv[1] == "short" else 15
    cases: dict[str, tuple[int, Flights]] = {"http": (80, [(0, HEAD), (1, ANSWER)])}
    cases |= {f"tls{version.replace('.', '')}": (443, handshake(version)) for version in ("1.3", "1.2")}
    print(json.dumps({name: microseconds(port, flights, seconds) for name, (port, flights) in cases.items()}))


if __name__ == "__main__":
    main()
