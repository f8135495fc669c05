"""What is read and for how long: switches and budgets do the same whether packets are captured or the kernel counts."""

import pytest

from exporter import dpi
from exporter import metrics as m
from exporter.dissector import MORE, YES, Dissector, Parser
from exporter.model import Kind, Message
from tests.engine import frames as f
from tests.engine.counted import Counted, key, moved
from tests.engine.frames import End, Talk
from tests.engine.rig import Rig

HERE, WEB = End("10.0.0.1", 40_000), End("192.0.2.1", 80)
ASK, OK = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
QUESTION = b"\0\1\1\0\0\1\0\0\0\0\0\0\1a\7example\0\0\1\0\1"


class Captured:
    """Packets come by an interface."""

    def __init__(self, **more):
        self.rig = Rig(**more)

    def put(self, *frames, udp=False):
        self.rig.put(*frames)

    def wait(self, seconds):
        self.rig.wait(seconds, 5.0)

    def settle(self):
        self.rig.answer("curl").settle()


class InKernel:
    """The kernel counts, and packets come up to be read."""

    def __init__(self, **more):
        self.rig = Counted(**more)
        self.ends = {False: key(HERE, WEB), True: key(HERE, WEB, 2, "udp")}
        self.used = set()

    def put(self, *frames, udp=False):
        self.used.add(udp)
        for frame in frames:
            self.rig.see(self.ends[udp], frame, sent=frame[26:30] == HERE.packed)

    def wait(self, seconds):
        for _ in range(int(seconds / 5)):
            self.rig.now += 5
            self.rig.engine.sweep(self.rig.now)

    def settle(self):
        self.rig.turn(
            *(moved(self.ends[udp], (3, 300), (4, 400), initiator=1) for udp in sorted(self.used))
        ).settle()


def protocols(rig):
    return {labels[0] for _, labels in rig.moved(m.CONNECTIONS)}


sources = pytest.mark.parametrize("source", [Captured, InKernel])


@sources
@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, {"http", "dns"}),
        ({"dpi": {"enabled": False}}, {"unknown"}),
        ({"dissectors": dpi.select(["http"])}, {"http", "unknown"}),
        ({"dissectors": dpi.select(["-http"])}, {"dns", "unknown"}),
    ],
)
def test_what_is_inspected(source, more, found):
    one, world = Talk(HERE, WEB), source(**more)
    world.put(*one.handshake(), one.c("PA", ASK), one.s("PA", OK), one.c("A"))
    world.put(f.datagram(HERE, WEB, QUESTION), udp=True)
    world.settle()
    assert protocols(world.rig) == found
    assert bool(world.rig.moved(m.REQUESTS)) == ("http" in found)


def dissector(probe, parser=Parser):
    return Dissector(
        "a",
        frozenset({"tcp", "udp"}),
        frozenset(),
        frozenset({"x"}),
        frozenset(),
        probe,
        lambda _: parser(),
        "",
        "",
    )


class Undecided:
    """A dissector that never knows, and how much it was shown."""

    def __init__(self):
        self.shown = []
        self.dissectors = [dissector(self.probe)]

    def probe(self, _side, data, _ends):
        self.shown.append(len(data))
        return MORE


@sources
@pytest.mark.parametrize("udp", [False, True])
def test_so_many_packets_are_looked_at(source, udp):
    undecided = Undecided()
    world, one = source(dissectors=undecided.dissectors, dpi={"packets": 5}), Talk(HERE, WEB)
    if not udp:
        world.put(*one.handshake())
    for _ in range(20):
        world.put(f.datagram(HERE, WEB, b"ab") if udp else one.c("PA", b"ab"), udp=udp)
    assert len(undecided.shown) == 5
    assert world.rig.conn.inspector is None


@sources
def test_so_many_bytes_of_a_side_are_looked_at(source):
    undecided = Undecided()
    world, one = source(dissectors=undecided.dissectors, dpi={"bytes": 500}), Talk(HERE, WEB)
    world.put(*one.handshake())
    for _ in range(20):
        world.put(one.c("PA", b"x" * 100))
    assert undecided.shown == [100, 200, 300, 400, 500]
    assert world.rig.conn.inspector is None


@sources
@pytest.mark.parametrize("udp", [False, True])
def test_so_long_a_connection_may_stay_unknown(source, udp):
    """And gives its memory back, though nothing comes any more."""
    undecided = Undecided()
    world, one = (
        source(dissectors=undecided.dissectors, dpi={"time": 20}, flow={"timeouts": {"udp": 900}}),
        Talk(HERE, WEB),
    )
    if not udp:
        world.put(*one.handshake())
    say = lambda: f.datagram(HERE, WEB, b"ab") if udp else one.c("PA", b"ab")  # noqa: E731 - one line
    world.put(say(), udp=udp)
    world.wait(15)
    assert world.rig.conn.inspector is not None
    world.wait(15)
    conn = world.rig.conn
    assert (conn.inspector, conn.half0.stream, conn.half1.stream) == (None, None, None)
    world.put(say(), udp=udp)
    assert len(undecided.shown) == 1
    assert conn.protocol == ""


@sources
def test_a_fault_is_counted_under_its_protocol_and_counting_goes_on(source):
    class Bad(Parser):
        def feed(self, side, data):
            yield Message(kind=Kind.NOTICE, op="x")
            raise ZeroDivisionError

    world, one = source(dissectors=[dissector(lambda *_: YES, Bad)]), Talk(HERE, WEB)
    world.put(*one.handshake(), one.c("PA", b"x"), one.s("PA", b"y"), one.c("PA", b"z"))
    world.settle()
    assert world.rig.moved(m.DISSECTOR_FAULTS) == {("", ("a",)): 1}
    assert protocols(world.rig) == {"a"}
    assert world.rig.captured == world.rig.bytes > 0
    assert getattr(world.rig, "defects", 0) == 0
