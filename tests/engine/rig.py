"""An engine on a bench: frames in, ledger read, time moved by hand."""

from ipaddress import ip_address

import msgspec

from exporter import dpi
from exporter import metrics as m
from exporter.config import Config
from exporter.engine import Engine
from exporter.flow.connection import Connection
from exporter.ledger import Ledger
from exporter.model import Addresses, Answer, Ask, Frame, Interface, Owner, Watch
from tests.engine.frames import HERE, End

CLIENT, SERVER = End("10.0.0.1", 40_000), End("192.0.2.1", 80)
LOCAL = ("10.0.0.1", "2001:db8::1")
ETH = Interface("eth0", 1, mac=HERE)
LO = Interface("lo", 1, mtu=65_536)
START = 1_700_000_000.0


class Ended:
    """What the sink was told of a connection, copied: the engine takes it apart afterwards."""

    def __init__(self, conn: Connection, now: float) -> None:
        self.states = tuple(view.state for view in conn.views)
        self.reason, self.failure, self.protocol = conn.reason, conn.failure, conn.protocol
        self.initiator, self.ends = conn.initiator, (conn.end(0), conn.end(1))
        self.totals, self.created, self.last, self.now = tuple(conn.totals), conn.created, conn.last, now
        self.attrs = dict(conn.attrs or {})


class Listener:
    """The sink: keeps what it is told in its rig."""

    def __init__(self, rig):
        self.rig = rig

    def message(self, conn, now, side, message):
        self.rig.said.append((side, message))

    def ended(self, conn, now):
        self.rig.ended.append(Ended(conn, now))


class Rig:
    """One engine, its ledger and its clock. `fast=False`: every frame takes the general path."""

    def __init__(
        self,
        /,
        *,
        local=LOCAL,
        broadcast=(),
        fast=True,
        dissectors=None,
        begin=True,
        resumed=False,
        listen=True,
        **config,
    ):
        self.config = msgspec.convert(config, Config)
        self.ledger = Ledger(self.config.metrics, now=START)
        self.fast = fast
        self.now = START
        self.ended: list[Ended] = []
        self.said: list[tuple[int, object]] = []
        known = dpi.load() if dissectors is None else dissectors
        self.engine = Engine(self.config, known, self.ledger, Listener(self) if listen else None)
        if begin:
            self.engine.begin(self.now, resumed=resumed, first_serial=100)
        self.places(0, local, broadcast)
        self.handles = {}
        self.asked: list[Ask] = []
        self.watches: list[Watch] = []

    # -- driving ---------------------------------------------------------------------------------------------------

    def places(self, scope, local, broadcast=()):
        packed = tuple(ip_address(a).packed for a in local)
        self.engine.context.places.learn(
            Addresses(scope, packed, tuple(ip_address(a).packed for a in broadcast))
        )

    def handle(self, interface=ETH):
        """The function that takes an interface's frames."""
        if interface not in self.handles:
            taken = self.engine.attach(interface)
            if not self.fast:
                port = self.engine._ports[interface.name]

                def taken(now, data):
                    leaving = bool(interface.mac) and data[6:12] == interface.mac
                    frame = Frame(now, interface.link, data, len(data), "")
                    self.engine._frame(port, frame, leaving=leaving)

            self.handles[interface] = taken
        return self.handles[interface]

    def put(self, *frames, on=ETH, gap=0.001):
        """Feed frames, a millisecond apart."""
        take = self.handle(on)
        for frame in frames:
            self.now += gap
            take(self.now, frame)
        return self

    def read(self, *frames, link=1, interface="file", gap=0.001, snaplen=1 << 20):
        """Feed frames as from a file."""
        for frame in frames:
            self.now += gap
            self.engine.frame(Frame(self.now, link, frame[:snaplen], len(frame), interface))
        return self

    def wait(self, seconds, step=0.25):
        """Let time pass as a worker does."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + step)
            self.engine.reap(self.now)
            self.engine.tick(self.now)
            self.engine.sweep(self.now)
        return self

    def settle(self):
        return self.wait(1.5)

    def over(self):
        """Let every connection and every tombstone end."""
        for _ in range(3):
            self.now += 4000
            self.engine.reap(self.now)
            self.engine.tick(self.now)
            self.engine.sweep(self.now)
            for watch in self.outbox(Watch):
                self.engine.answer(Answer(watch.serial, None), self.now)
        return self

    # -- owners ----------------------------------------------------------------------------------------------------

    def outbox(self, kind):
        """Take the questions of one kind that were sent since."""
        box = self.engine.context.owners.outbox
        found = [record for record in box if isinstance(record, kind)]
        box[:] = [record for record in box if not isinstance(record, kind)]
        return found

    def answer(self, names, *, quality="exact", final=True):
        """Answer what was asked: by local port, or for a single name all of it. A name may be an `Owner`."""
        for ask in self.outbox(Ask):
            name = names.get(ask.lport) if isinstance(names, dict) else names
            if name is not None:
                self.say(ask.serial, name, quality=quality, final=final)
        return self

    def say(self, serial, name, *, quality="exact", final=True):
        owner = name if isinstance(name, Owner) else Owner(name, pid=1, start=1.0) if name else None
        method = "netlink" if owner else "none"
        answer = Answer(serial, owner, method, quality if owner else "none", owner is not None, final)
        packed = msgspec.msgpack.encode(answer)  # as it comes: each word is made anew
        self.engine.answer(msgspec.msgpack.decode(packed, type=Answer), self.now)
        return self

    # -- reading ---------------------------------------------------------------------------------------------------

    def rows(self, family):
        """All rows of a family: (process, labels) to value."""
        out: dict[tuple[str, tuple[str, ...]], float] = {}
        for row in self.ledger.rows.values():
            if row.key[0] is family:
                key = (row.key[1].process, row.key[2])
                out[key] = out.get(key, 0) + self.ledger.values[row.slot]
        return out

    def moved(self, family):
        """Rows that are not 0."""
        return {key: value for key, value in self.rows(family).items() if value}

    def sum(self, family):
        return sum(self.rows(family).values())

    def of(self, family, process, *labels):
        return self.rows(family).get((process, labels), 0)

    def count(self, family, process):
        """A histogram's observations of a process, by its labels."""
        out = {}
        for row in self.ledger.rows.values():
            if row.key[0] is family and row.key[1].process == process:
                out[row.key[2]] = sum(self.ledger.values[row.slot : row.slot + len(family.buckets) + 1])
        return out

    def total(self, family, process):
        """A histogram's sum over all labels of a process."""
        return sum(
            self.ledger.values[row.slot + len(family.buckets) + 1]
            for row in self.ledger.rows.values()
            if row.key[0] is family and row.key[1].process == process
        )

    @property
    def conns(self):
        return list(self.engine.context.table)

    @property
    def conn(self):
        (only,) = self.conns
        return only

    @property
    def states(self):
        return tuple(view.state for view in self.conn.views)

    @property
    def captured(self):
        return self.sum(m.CAPTURED_BYTES)

    @property
    def bytes(self):
        """What all processes sent and received."""
        return self.sum(m.RECEIVE_BYTES) + self.sum(m.TRANSMIT_BYTES)

    @property
    def ignored(self):
        return self.sum(m.IGNORED_BYTES)
