"""Whose the tallies are: each process is asked about once, and again answered for after an exec.

What a process moved is held until it has a name, or for as long as whoever drives waits (`press`): so its bytes are
never counted under a name that it only gets later.
"""

from itertools import islice

from exporter import metrics as m
from exporter.engine.accounts import KERNEL
from exporter.engine.context import Context
from exporter.engine.settlement import OWNED, Settlement
from exporter.flow.connection import UNKNOWN
from exporter.flow.socket import Process, Socket
from exporter.model import Answer, IdentityKey, Tally

__all__ = ["Processes"]

MAX_PROCESSES = 8192
"""Of more at a time, the names are unknown."""
LOOKS = 64
"""How many of the oldest are looked at for one to forget."""
IDLE, OVER = 60.0, 5.0
"""Seconds for which a process without sockets is remembered, and one that has ended: its last may be still to come."""


class Processes:
    """All that moved something lately."""

    def __init__(self, context: Context, settlement: Settlement) -> None:
        """Ask through `context.owners`."""
        self._c = context
        self._settlement = settlement
        self._known: dict[tuple[int, int], Process] = {}
        self._asked: dict[int, Process] = {}
        self.nameless: dict[Process, None] = {}
        """Asked about and not answered yet: these hold tallies."""
        self._kernel = Process(0, 0)
        self._nobody = Process(0, 0)
        self._kernel.answered = self._nobody.answered = True

    def of(self, tally: Tally) -> Process:
        """Give whose this is; asks, if it is somebody new."""
        if tally.quality == "kernel":
            return self._kernel
        by = (tally.pid, tally.start)
        process = self._known.get(by)
        if process is None:
            if not tally.pid or tally.quality == "none" or not self._room():
                return self._nobody
            process = self._known[by] = Process(*by)
            self._ask(process, tally.cgroup)
        process.used = tally.timestamp
        return process

    def _room(self) -> bool:
        """Tell whether one more can be remembered, if need be in place of one of the oldest without sockets."""
        if len(self._known) < MAX_PROCESSES:
            return True
        for process in list(islice(self._known.values(), LOOKS)):
            if not process.sockets and not process.held:
                self._forget(process)
                return True
        self._c.ledger.values[self._c.ledger.slot(m.EVICTIONS, None, ("processes",))] += 1
        return False

    def _forget(self, process: Process) -> None:
        del self._known[process.pid, process.start]
        self._asked.pop(process.serial, None)
        self.nameless.pop(process, None)
        self._leave(process)
        self._c.owners.drop(process)

    def _ask(self, process: Process, cgroup: int) -> None:
        if self._c.owners.enabled:
            self._c.owners.whose(process, cgroup)
            self._asked[process.serial] = process
            self.nameless[process] = None
        else:
            process.answered = True

    def answer(self, answer: Answer) -> Process | None:
        """Take an answer; give the process that it names, if it is about one."""
        process = self._asked.get(answer.serial)
        if process is None:
            return None
        if answer.final:
            del self._asked[answer.serial]
            process.serial = 0
        if answer.owner is not None or answer.final:
            process.answered = True
            self.nameless.pop(process, None)
        if answer.owner is not None:
            self._leave(process)
            process.owner = answer.owner
            for socket in tuple(process.sockets):
                self._name(socket, process)
        return process

    def give_up(self) -> list[Process]:
        """Wait for names no longer; give whose tallies were held for one."""
        given_up = list(self.nameless)
        self.nameless.clear()
        for process in given_up:
            process.answered = True
        return given_up

    def assign(self, socket: Socket, process: Process, quality: str) -> None:
        """Note that a socket is this process' from now on."""
        if socket.process is not None:
            socket.process.sockets.discard(socket)
        socket.process = process
        socket.quality = quality
        process.sockets.add(socket)
        self._name(socket, process)

    def _name(self, socket: Socket, process: Process) -> None:
        conn = socket.conn
        if conn is None:
            return
        socket.answered = True
        if process.owner is not None and conn.transport in OWNED:
            socket.method = "ebpf"
            self._settlement.own(conn, socket, process.owner)
        else:
            socket.owner = None
            self._settlement.name(conn, socket, self.identity(process, conn.transport))

    def identity(self, process: Process, transport: str) -> IdentityKey:
        """Give the name under which a process' packets of a transport count."""
        if process is self._kernel or transport not in OWNED:
            return KERNEL
        return self._c.owners.one(process.owner)[1] if process.owner is not None else UNKNOWN

    def loose(self, tally: Tally, process: Process, moved: tuple[int, int, int, int]) -> None:
        """Count what is of no connection: a listener's handshakes, what found the kernel's table full."""
        transport = tally.end.transport
        rows = process.rows.get(transport)
        if rows is None:
            identity, accounts = self.identity(process, transport), self._c.accounts
            rows = process.rows[transport] = (
                accounts.claim(identity, "unknown", transport),
                accounts.towards(identity, "unknown"),
            )
        self._c.accounts.moved(*rows, moved)

    def _leave(self, process: Process) -> None:
        for rows in process.rows.values():
            for one in rows:
                self._c.accounts.leave(one)
        process.rows.clear()

    def sweep(self, now: float) -> None:
        """Forget who has no sockets and moved nothing for a while."""
        for process in list(self._known.values()):
            ended = process.answered and not process.serial
            if not process.sockets and not process.held and now - process.used > (OVER if ended else IDLE):
                self._forget(process)

    def repeat(self) -> None:
        """Ask everything anew: the identity process has just started."""
        asked = [process for process in self._known.values() if process.serial]
        self._asked.clear()
        for process in asked:
            self._c.owners.whose(process, 0)
            self._asked[process.serial] = process
