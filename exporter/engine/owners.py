"""Questions to the identity process and its answers, by serial. No I/O: `outbox` is sent by whoever drives."""

from exporter.flow.connection import Connection, View
from exporter.flow.socket import Process, Socket
from exporter.flow.table import shrink
from exporter.model import Answer, Ask, Gone, Hello, IdentityKey, Owner, Watch, Whose

__all__ = ["Owners"]

MAX_OUTBOX = 16_384
MAX_KNOWN = 4096
MAX_WORDS = 256
ANSWERED = -1
"""For a serial: no more answers come."""


class Owners:
    """Who was asked about, and for which view."""

    def __init__(self, first: int, *, enabled: bool) -> None:
        """Number the questions from `first`: a new worker must not take its predecessor's answers for its own."""
        self.enabled = enabled
        self.outbox: list[Ask | Watch | Whose | Gone | Hello] = []
        self.lost = 0
        """Questions that found the outbox full."""
        self._serial = first
        self._asked: dict[int, tuple[Connection, View]] = {}
        self._watched: dict[int, Connection] = {}
        self._watching: dict[Connection, int] = {}
        self._words: dict[str, str] = {}
        self._known: dict[tuple[int, float], tuple[Owner, IdentityKey]] = {}

    def one(self, owner: Owner) -> tuple[Owner, IdentityKey]:
        """Give the records that stand for a process: a busy one's would else be kept once for each connection."""
        key = (owner.pid, owner.start)
        kept = self._known.get(key)
        if kept is not None and kept[0] == owner:
            return kept
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        kept = self._known[key] = (owner, IdentityKey(owner.process, owner.container, owner.pod))
        return kept

    def word(self, text: str) -> str:
        """Give the one copy of a word of the answers, of which there are few: each is decoded anew, and kept twice."""
        if len(self._words) >= MAX_WORDS:
            self._words.clear()
        return self._words.setdefault(text, text)

    def whose(self, process: Process, cgroup: int) -> None:
        """Ask which process this is."""
        self._serial += 1
        process.serial = self._serial
        self._send(Whose(process.serial, process.pid, process.start, cgroup))

    def drop(self, process: Process) -> None:
        """Ask about a process no longer."""
        if process.serial:
            self._send(Gone(process.serial))

    def ask(self, conn: Connection, view: View) -> None:
        """Ask who owns a view's end."""
        if not self.enabled:
            view.answered = True
            return
        self._serial += 1
        view.serial = self._serial
        self._asked[view.serial] = (conn, view)
        self._send(Ask(view.serial, view.scope, conn.transport, *_ends(conn, view), conn.created))

    def watch(self, conn: Connection, view: View) -> bool:
        """Ask whether the kernel still lists a view's socket; False where nobody can tell, or did not last time."""
        if not self.enabled or self.release(conn):
            return False
        self._serial += 1
        self._watched[self._serial] = conn
        self._watching[conn] = self._serial
        self._send(Watch(self._serial, view.scope, conn.transport, *_ends(conn, view)))
        return True

    def release(self, conn: Connection) -> bool:
        """Wait no longer for word on a connection's socket; tell whether it was waited for."""
        serial = self._watching.pop(conn, None)
        if serial is None:
            return False
        del self._watched[serial]
        return True

    def forget(self, view: View) -> None:
        """Drop a view's question: its connection has ended."""
        if isinstance(view, Socket):
            view.leave()
        if self._asked.pop(view.serial, None) is not None:
            self._send(Gone(view.serial))

    def repeat(self) -> None:
        """Ask everything anew: the identity process has just started and knows nothing."""
        self.outbox.clear()
        for serial, (conn, view) in self._asked.items():
            self._send(Ask(serial, view.scope, conn.transport, *_ends(conn, view), conn.created))
        self._watched.clear()
        self._watching.clear()

    def shrink(self) -> None:
        """Give memory back after a flood."""
        shrink(self._asked)
        shrink(self._watched)

    def watched(self, answer: Answer) -> Connection | None:
        """Give the connection whose socket this answer is about."""
        conn = self._watched.get(answer.serial)
        if conn is not None:
            self.release(conn)
        return conn

    def asked(self, answer: Answer) -> tuple[Connection, View] | None:
        """Give the view that this answer is about; a final answer is the last."""
        if not answer.final:
            return self._asked.get(answer.serial)
        asked = self._asked.pop(answer.serial, None)
        if asked is not None:
            asked[1].serial = ANSWERED  # 48 bytes less
        return asked

    def _send(self, record: Ask | Watch | Whose | Gone) -> None:
        if len(self.outbox) < MAX_OUTBOX:
            self.outbox.append(record)
        else:
            self.lost += 1


def _ends(conn: Connection, view: View) -> tuple[bytes, int, bytes, int]:
    """Give the local address and port, then the remote ones."""
    address0, port0, address1, port1 = conn.ends()
    return (address1, port1, address0, port0) if view.side == 1 else (address0, port0, address1, port1)
