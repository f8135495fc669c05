"""An engine whose source counts in the kernel: tallies and sights by hand."""

import struct

from exporter import metrics as m
from exporter.model import Answer, Owner, Sight, Tally, Whose
from exporter.model import End as Key
from tests.engine.frames import End
from tests.engine.rig import Rig

HERE, THERE = End("10.0.0.1", 40_000), End("192.0.2.1", 80)
ANY = End("0.0.0.0", 0)


def key(local=HERE, remote=THERE, cookie=1, transport="tcp", *, overflow=False):
    """A socket's connection, as the kernel names it."""
    a, b = local.packed, remote.packed
    packed = struct.pack("=Q16s16sHHs", cookie, a, b, local.port, remote.port, transport[:1].encode())
    return Key(cookie, transport, a, local.port, b, remote.port, overflow, packed + bytes([overflow]))


NOTHING = {
    "scope": 0,
    "pid": 10,
    "start": 7,
    "state": "",
    "ended": "",
    "established": False,
    "initiator": -1,
    "retransmits": 0,
    "quality": "exact",
    "cgroup": 0,
    "copy": False,
}


def moved(end, got=(0, 0), sent=(0, 0), at=0.0, **more):
    """What a socket moved in a turn: (packets, bytes) each way."""
    if end.transport == "tcp" and "state" not in more:
        more |= {"state": "established", "established": True}
    return Tally(
        end=end,
        timestamp=at,
        received=got[0],
        received_size=got[1],
        sent=sent[0],
        sent_size=sent[1],
        **(NOTHING | more),
    )


class Counted(Rig):
    """A `Rig` with sockets in place of interfaces."""

    def __init__(self, **more):
        super().__init__(**more)
        self.steered = []
        self.defects = 0
        self.sockets = self.engine.sockets(lambda key, on: self.steered.append((key, on)), self.failed)
        self.names = {10: "curl", 11: "nginx"}
        self.serials = {}

    def failed(self):
        self.defects += 1
        raise  # noqa: PLE0704 - the engine calls it where it has caught something

    def turn(self, *tallies, answer=True, gap=1.0):
        """A second later these have moved; then the names come."""
        self.now += gap
        self.sockets.turned(iter([t if t.timestamp else t._replace(timestamp=self.now) for t in tallies]))
        if answer:
            self.tell()
        return self

    def tell(self, *, final=False):
        """Answer what was asked about processes."""
        for whose in self.outbox(Whose):
            self.serials[whose.pid] = whose.serial
            if whose.pid in self.names:
                self.call(whose.pid, self.names[whose.pid], final=final)
        return self

    def call(self, pid, name, *, final=False):
        """Say what a process is called, which was asked before."""
        owner = Owner(name, pid=pid, start=1.0) if name else None
        answer = Answer(self.serials[pid], owner, "ebpf" if owner else "none", "exact", final=final)
        self.engine.answer(answer, self.now)
        return self

    def see(self, end, frame, *, sent, scope=0, gap=0.001, cut=1 << 16):
        """A packet comes up."""
        self.now += gap
        self.sockets.sight(Sight(self.now, end, scope, sent, len(frame) - 14, frame[14 : 14 + cut]))
        return self

    def settle(self):
        """What a worker does before it publishes."""
        self.engine.reap(self.now)
        if not self.sockets.complete():
            self.sockets.press(self.now)
        self.engine.reap(self.now)
        self.engine.tick(self.now)
        return self

    def by_process(self):
        """(received, sent) bytes by process."""
        out = {}
        for at, family in enumerate((m.RECEIVE_BYTES, m.TRANSMIT_BYTES)):
            for (process, _), value in self.moved(family).items():
                out.setdefault(process, [0, 0])[at] += int(value)
        return {process: tuple(pair) for process, pair in out.items()}
