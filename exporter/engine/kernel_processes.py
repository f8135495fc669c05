"""Whose the tallies are: each process is asked about once, and again answered for after an exec.

What a process moved is held until it has a name, so its bytes are never counted under one that it only gets later. The
ledger does not wait for that for ever (`press`): then it is published without them, and they go beside it (`owed`).
"""

from collections.abc import Iterable
from itertools import islice

from exporter import metrics as m
from exporter.engine.accounts import KERNEL
from exporter.engine.context import Context
from exporter.engine.kernel_owed import Moved, Owed, add
from exporter.engine.settlement import OWNED, Settlement
from exporter.flow.connection import UNKNOWN
from exporter.flow.socket import Process, Socket
from exporter.model import Answer, IdentityKey, Tally

__all__ = ["Processes"]

MAX_PROCESSES = 8192
"""Of more at a time, the names are unknown."""
LOOKS = 64
"""How many of the oldest are looked at for one to forget."""
PATIENCE = 30.0
"""Seconds after which a process that nobody says anything about is `unknown`: identity starts anew in less."""
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
        self.awaited: dict[Process, None] = {}
        """Asked about and not answered yet: these hold tallies, and the ledger waits for them."""
        self.late: dict[Process, float] = {}
        """Likewise, but it does not any more; with the time since when."""
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
            process = self._begin(by, tally.cgroup, tally.timestamp)
        process.used = tally.timestamp
        return process

    def _begin(self, by: tuple[int, int], cgroup: int, now: float) -> Process:
        process = self._known[by] = Process(*by)
        process.cgroup = cgroup
        if self._c.owners.enabled:
            self._c.owners.whose(process, cgroup)
            self._asked[process.serial] = process
            if self.late:  # answers come in their order: not before those
                self.late[process] = now
            else:
                self.awaited[process] = None
        else:
            process.answered = True
        return process

    def _room(self) -> bool:
        """Tell whether one more can be remembered, if need be in place of one of the oldest without sockets."""
        if len(self._known) < MAX_PROCESSES:
            return True
        for process in list(islice(self._known.values(), LOOKS)):
            if _idle(process):
                self._forget(process)
                return True
        self._c.ledger.values[self._c.ledger.slot(m.EVICTIONS, None, ("processes",))] += 1
        return False

    def _forget(self, process: Process) -> None:
        del self._known[process.pid, process.start]
        self._asked.pop(process.serial, None)
        self._wait_no_longer(process)
        self._leave(process)
        self._c.owners.drop(process)

    def _wait_no_longer(self, process: Process) -> None:
        process.answered = True
        self.awaited.pop(process, None)
        self.late.pop(process, None)

    def answer(self, answer: Answer) -> Process | None:
        """Take an answer; give the process that it names, if it is about one."""
        process = self._asked.get(answer.serial)
        if process is None:
            return None
        if answer.final:
            del self._asked[answer.serial]
            process.serial = 0
        if answer.owner is not None or answer.final:
            self._wait_no_longer(process)
        if answer.owner is not None:
            self._leave(process)
            process.owner = answer.owner
            for socket in tuple(process.sockets):
                self._name(socket, process)
        return process

    def press(self, now: float) -> None:
        """Let the ledger wait for names no longer; what is held stays so."""
        self.late |= dict.fromkeys(self.awaited, now)
        self.awaited.clear()

    def give_up(self, now: float) -> list[Process]:
        """Wait no longer for those that were waited for long enough; give them."""
        given_up = [process for process, since in self.late.items() if now - since > PATIENCE]
        for process in given_up:
            self._wait_no_longer(process)
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

    def loose(self, transport: str, process: Process, moved: Moved) -> None:
        """Count what is of no connection: a listener's handshakes, what found the kernel's table full."""
        if not process.answered:
            add(process.owed, transport, moved)
            return
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
            if _idle(process) and now - process.used > (OVER if ended else IDLE):
                self._forget(process)

    def repeat(self) -> None:
        """Ask everything anew: the identity process has just started."""
        asked = [process for process in self._known.values() if process.serial]
        self._asked.clear()
        for process in asked:
            self._c.owners.whose(process, process.cgroup)
            self._asked[process.serial] = process

    def restore(self, owed: Iterable[Owed], now: float) -> None:
        """Ask anew about processes whose numbers were held when another worker died."""
        for entry in owed:
            by = (entry.pid, entry.start)
            process = self._known.get(by) or self._begin(by, entry.cgroup, now)
            process.used = now
            self.loose(entry.transport, process, entry.moved)


def _idle(process: Process) -> bool:
    return not process.sockets and not process.held and not process.owed
