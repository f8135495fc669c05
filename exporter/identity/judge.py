"""What a socket that was found, and its holders, say about the owner of a connection. `now` is monotonic."""

from typing import NamedTuple

from exporter.identity.choice import choose, late
from exporter.identity.netlink import End, Socket
from exporter.identity.questions import Question
from exporter.identity.sources import Sources
from exporter.model import Answer, Owner

__all__ = ["Finding", "Judge"]

ATTEMPTS = 5
"""A socket that was never there on so many looks will not come."""
SETTLED = 1.0
"""A process younger than that may still exec, and its parent may still hold its sockets: look again."""
LISTENERS = 1.0
"""Seconds for which listeners are remembered."""
MEMORY = 8_192
"""Connections whose owners are remembered after their end, for who asks anew."""


class Finding(NamedTuple):
    """The socket whose holder is the owner, and what that says about the connection."""

    question: Question
    method: str
    socket: Socket | None
    quality: str
    alive: bool


class Judge:
    """Makes answers of findings."""

    def __init__(self, sources: Sources) -> None:
        """Take the sources to ask for processes and listeners."""
        self.sources = sources
        self.holders = sources.holders
        self.pids: dict[int, list[int]] = {}
        """Holders of the inodes of this batch."""
        self.listeners: dict[tuple[int, bytes, int], tuple[float, Socket | None]] = {}
        """And when it was proved."""
        self.listened = 0.0
        self.remembered: dict[tuple[int, End], Owner] = {}

    def remember(self, question: Question, owner: Owner) -> None:
        if len(self.remembered) >= MEMORY:
            del self.remembered[next(iter(self.remembered))]
        self.remembered[question.ask.scope, question.end] = owner

    def rest(self, now: float) -> None:
        """Forget what held for one batch only."""
        self.pids.clear()
        if now - self.listened > LISTENERS:
            self.listened = now
            self.listeners.clear()

    def judge(self, finding: Finding, now: float) -> Answer:
        """Make the answer that holds for now."""
        question, method, socket, quality, alive = finding
        serial = question.ask.serial
        final = question.tries >= ATTEMPTS
        if socket is None:
            owner = self.remembered.get((question.ask.scope, question.end)) if quality == "dead" else None
            return Answer(serial, owner, method, quality, alive=alive, final=final or quality == "dead")
        owner, shared = self.owner(socket, now)
        if owner is None and quality == "exact" and (found := self.by_listener(question, now)):
            owner, quality = found, "listener"
        if owner is None:
            quality = "shared" if shared else "none"
            return Answer(serial, None, method, quality, alive=alive, final=False)
        if late(owner, question.ask.since) and not self.inherited(owner, question, now):
            return Answer(serial, None, method, "none", alive=alive, final=final)
        if quality == "listener":
            return Answer(
                serial, owner, method, quality, alive=alive, final=final or (not alive and question.tries > 1)
            )
        young = late(owner, question.ask.since - SETTLED) and question.tries < 3  # noqa: PLR2004 (0, 250 ms, 2 s)
        return Answer(serial, owner, method, "shared" if shared else quality, alive=alive, final=not young)

    def owner(self, socket: Socket, now: float) -> tuple[Owner | None, bool]:
        """Give who uses a socket, and whether several hold it."""
        pids = list(socket.holders)
        if not pids and self.holders:
            pids = self.pids.get(socket.inode) or self.holders.certain(socket.inode)
        owners = [owner for pid in pids if (owner := self.sources.processes.owner(pid, now))]
        if len(owners) == 1:
            return owners[0], False
        return choose(owners), len(owners) > 1

    def by_listener(self, question: Question, now: float) -> Owner | None:
        """Give the owner of the listener, while who accepted the connection is not known."""
        listener = self.listener(question, now)
        return self.owner(listener, now)[0] if listener else None

    def listener(self, question: Question, now: float) -> Socket | None:
        """Find the listener behind a question's end; it is looked up seldom, as its holder is proved anew each time."""
        scope, end = question.ask.scope, question.end
        if end.transport != "tcp":
            return None
        key = (scope, end.local, end.lport)
        proved, listener = self.listeners.get(key, (0.0, None))
        if proved != now:
            if listener is None or not (self.holders and self.holders.known(listener.inode)):
                sockets = self.sources.sockets(scope, now)
                listener = sockets.listener(end) if sockets else None
            self.listeners[key] = (now, listener)
        return listener

    def inherited(self, owner: Owner, question: Question, now: float) -> bool:
        """Tell whether a process that started late got the connection from the listener's process, its ancestor."""
        listener = self.listener(question, now)
        if listener is None:
            return False
        pids = [pid for pid, _ in owner.ancestors]
        if self.holders:
            return any(self.holders.holds(pid, listener.inode) for pid in pids)
        return not set(pids).isdisjoint(listener.holders)
