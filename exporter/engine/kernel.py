"""What the kernel counted enters here: tallies, each turn, and the packets that are read.

A tally is one end's. Its numbers go to that end's rows, never to the other's: where both ends of a connection are in
one namespace there are two tallies, each for its own. One of a known socket and process costs a look-up and a few
additions; everything else takes the slow path behind it. That has its limit in each turn (`room`): what is beyond is
its process' all the same, but of no connection, so that a flood of new ones delays nobody's numbers.
"""

from collections.abc import Callable, Iterable

from exporter import metrics as m
from exporter.engine import kernel_owed
from exporter.engine.context import Context
from exporter.engine.kernel_lives import Lives
from exporter.engine.kernel_owed import COUNTED_TWICE, counted
from exporter.engine.kernel_processes import Processes
from exporter.engine.kernel_reading import Reading
from exporter.flow.connection import Connection
from exporter.flow.socket import Process, Socket
from exporter.model import Answer, Sight, Tally

__all__ = ["Sockets"]

ROOM = 16_384
"""New sockets of a turn that become connections: 60 µs each."""
HELD = 16_384
"""Of sockets that are new to us, so many tallies wait for the names of their processes at a time."""


class Sockets:
    """The engine's door for a source that counts in the kernel."""

    def __init__(self, context: Context, lives: Lives, reading: Reading, defect: Callable[[], None]) -> None:
        """Count into this context's ledger; `defect` is called when our own code failed at something."""
        self._c = context
        self._settlement = lives.settlement
        self._defect = defect
        self._lives = lives
        self._reading = reading
        self.processes = Processes(context, lives.settlement)
        self.touched = False
        """A connection has begun, or changed its state or name, since it was last asked."""
        self.room = self._left = ROOM
        """So many new sockets in each turn become connections."""
        self._holding = 0
        self._since = 0.0
        """When the last turn ended: who is not known of before that, and comes up only now, is not met any more."""
        ledger = context.ledger
        self._evictions = ledger.slot(m.EVICTIONS, None, ("new_connections",))
        self._unread = ledger.slot(m.LOST_EVENTS, None, ("unread",))
        context.view = Socket
        context.changed = self._changed
        context.accounts.watch_sockets()

    # -- what comes in ---------------------------------------------------------------------------------------------

    def sight(self, sight: Sight) -> None:
        """Read a packet."""
        socket = self._c.sockets.get(sight.end.key)
        if socket is None and sight.timestamp < self._since:
            self._c.ledger.values[self._unread] += 1
            return
        try:
            self._reading.take(sight, socket)
        except Exception:  # noqa: BLE001 - one packet, and a defect of ours: the next one must still be read
            self._defect()
        if socket is None or sight.end.transport != "tcp":
            self.touched = True  # QUIC's states are read, not told

    def turned(self, tallies: Iterable[Tally], until: float = 0.0) -> None:
        """Take what moved in one turn, which ended at `until`: packets from before then were read, or are lost."""
        self._left, self._since = self.room, until
        sockets, strange = self._c.sockets.get, []
        for tally in tallies:
            socket = sockets(tally.end.key)
            if socket is not None and socket.by == (tally.pid, tally.start):
                self._move(socket, tally)
            else:
                strange.append(tally)
        strange.sort(key=_time)  # of two that had the same ends in one turn, the first one first
        for tally in strange:
            process = self.processes.of(tally)
            if process.answered:
                self._try(tally, process)
            else:
                self._hold(tally, process)

    def _hold(self, tally: Tally, process: Process) -> None:
        """Keep a tally until its process has a name; of many new ones only the numbers."""
        alone = _alone(tally)
        if alone or (self._holding >= HELD and tally.end.key not in self._c.sockets):
            self._c.ledger.values[self._evictions] += not alone
            self.processes.loose(tally.end.transport, process, counted(tally))
        else:
            process.held.append(tally)
            self._holding += 1

    def _room(self) -> bool:
        """Tell whether one more socket may become known in this turn."""
        if self._left:
            self._left -= 1
            return True
        self._c.ledger.values[self._evictions] += 1
        return False

    def _try(self, tally: Tally, process: Process) -> None:
        try:
            self._strange(tally, process)
        except Exception:  # noqa: BLE001 - as above
            self._defect()

    def _move(self, socket: Socket, tally: Tally) -> None:
        """Count a tally for a socket whose process it is."""
        _, last, _, received, received_size, sent, sent_size, _, _, state, ended, _, _, again, _, _, copy = (
            tally
        )
        if copy and tally.end.transport in COUNTED_TWICE:
            received = received_size = 0
        waiting = socket.waiting
        if waiting is not None:
            waiting[0] += received
            waiting[1] += received_size
            waiting[2] += sent
            waiting[3] += sent_size
        elif socket.rows is not None and socket.peer is not None:
            self._c.accounts.moved(socket.rows, socket.peer, (received, received_size, sent, sent_size))
        conn = socket.conn
        if conn is None:
            return  # late: it has ended
        half, other = (conn.half0, conn.half1) if socket.side == 0 else (conn.half1, conn.half0)
        half.last = last
        packets, size = half.past
        half.past = (packets + sent, size + sent_size)
        if conn.local != 3:  # noqa: PLR2004 - both ends are ours: the other one counts what it sends
            packets, size = other.past
            other.past = (packets + received, size + received_size)
        if state and (ended or again or state != socket.state):
            self._lives.state(conn, socket, tally)
            self.touched = True
        if socket.reads and not ended and (conn.protocol or socket.idle or socket.told is not None):
            self._reading.steer(socket, received + sent)

    def _strange(self, tally: Tally, process: Process) -> None:
        """Count a tally that is not what the last one of its socket was."""
        end, key = tally.end, tally.end.key
        socket = self._c.sockets.get(key)
        if socket is None:
            if _loose(tally) or not self._room():
                self.processes.loose(end.transport, process, counted(tally))
                return
            socket = self._lives.find(end, tally.scope, tally.timestamp, _initiator(tally))
            if end.transport == "tcp":
                self._reading.met(socket, end, tally.scope)
        self.touched = True
        known = socket.process
        if socket.conn is not None and known is not process:
            if known is not None and len(socket.keys) > 1:
                socket = self._lives.split(socket, key)
                known = socket.process
            self.processes.assign(socket, process, tally.quality)
            if known is None:
                self._lives.enter(socket, tally)
        socket.by = (tally.pid, tally.start)
        self._move(socket, tally)

    # -- names -----------------------------------------------------------------------------------------------------

    def answer(self, answer: Answer) -> bool:
        """Take the identity process' word, if it is about a process."""
        process = self.processes.answer(answer)
        if process is None:
            return False
        self.touched = True
        self._release(process)
        return True

    def _release(self, process: Process) -> None:
        """Count what was held for a process' name."""
        if not process.answered:
            return
        held, process.held = process.held, []
        self._holding -= len(held)
        for tally in held:
            self._try(tally, process)
        owed, process.owed = process.owed, {}
        for transport, moved in owed.items():
            self.processes.loose(transport, process, moved)

    def complete(self) -> bool:
        """Tell whether all numbers that came in are in the ledger, or stand beside it (`owed`)."""
        return not self.processes.awaited and not self._settlement.waiting

    def press(self, now: float) -> None:
        """Enter all that waits and whose process has a name: the next turn is due."""
        self.processes.press(now)
        waiting: list[Connection] = list(self._settlement.waiting)
        for conn in waiting:
            self._settlement.settle(conn)

    def owed(self) -> bytes:
        """Give what still waits for a name; it belongs beside a ledger that is published now."""
        return kernel_owed.write((*self.processes.late, *self.processes.awaited))

    def restore(self, owed: bytes, now: float) -> None:
        """Take over what a worker before us had to leave so."""
        self.processes.restore(kernel_owed.read(owed), now)

    def sweep(self, now: float) -> None:
        """Forget processes, and give up names that do not come."""
        for process in self.processes.give_up(now):
            self._release(process)
        self.processes.sweep(now)

    def _changed(self) -> bool:
        touched, self.touched = self.touched, False
        return touched

    def doubt(self) -> None:
        """Take note that the kernel's tables were full."""
        self._lives.doubt()


def _time(tally: Tally) -> float:
    return tally.timestamp


def _loose(tally: Tally) -> bool:
    """Tell whether a tally is of no connection: a listener's, what found the table full, a reset after the end."""
    if _alone(tally):
        return True
    return (
        tally.end.transport == "tcp" and bool(tally.ended) and not tally.established and tally.initiator < 0
    )


def _alone(tally: Tally) -> bool:
    """Tell whether a tally has no other end."""
    end = tally.end
    return end.overflow or not any(end.remote) or (end.transport in COUNTED_TWICE and not end.rport)


def _initiator(tally: Tally) -> int:
    """Tell who began: the kernel knows it of TCP; of others, who alone has sent anything."""
    if tally.end.transport == "tcp":
        return tally.initiator
    if tally.sent and not tally.received:
        return 1
    return 0 if tally.received and not tally.sent else -1
