"""A connection's end that the kernel counts, and the process that it belongs to. Plain records, as in `connection`."""

from typing import TYPE_CHECKING

from exporter.flow.connection import Connection, Rows, View

if TYPE_CHECKING:
    from exporter.model import Owner, Tally

__all__ = ["Process", "Socket"]


class Socket(View):
    """A local end with numbers of its own, of both directions: those of its connection's `Half`s stay 0."""

    __slots__ = ("by", "conn", "idle", "keys", "over", "process", "reads", "told", "waiting")

    def __init__(self, side: int, scope: int = 0) -> None:
        """Be an end of which no socket was met yet."""
        super().__init__(side, scope)
        self.conn: Connection | None = None
        """None: it has ended; what comes late is still this end's."""
        self.keys: tuple[bytes, ...] = ()
        """What the kernel knows its socket by; several where the same process used the same ends by several."""
        self.process: Process | None = None
        self.by = (-1, -1)
        """pid and start of the last tally."""
        self.waiting: list[int] | None = [0, 0, 0, 0]
        """Packets and bytes received, then sent, that are still to enter the ledger; None: they do so at once."""
        self.over = ""
        """Why this end is closed: fin, reset or timeout."""
        self.reads = False
        """What this socket sends and receives is what is read of the connection."""
        self.idle = 0
        """Packets of this turn that came up for reading, and of which nothing was wanted."""
        self.told: bool | None = None
        """Whether the kernel was told to bring packets up; None: nothing, so it brings the first few."""

    def leave(self) -> None:
        """Let the connection go: it has ended."""
        if self.process is not None:
            self.process.sockets.discard(self)
        self.process = self.conn = None


class Process:
    """Who sends and receives, by pid and start; asked about once."""

    __slots__ = (
        "answered",
        "cgroup",
        "held",
        "owed",
        "owner",
        "pid",
        "rows",
        "serial",
        "sockets",
        "start",
        "used",
    )

    def __init__(self, pid: int, start: int) -> None:
        """Know nothing but its number."""
        self.pid = pid
        self.start = start
        self.cgroup = 0
        self.serial = 0
        """Of the question; 0: no more answers come."""
        self.owner: Owner | None = None
        self.answered = False
        self.held: list[Tally] = []
        """What it moved, until it has a name, or was waited for long enough."""
        self.owed: dict[str, tuple[int, int, int, int]] = {}
        """The same by transport, of what is of no connection: packets and bytes received, then sent."""
        self.sockets: set[Socket] = set()
        self.rows: dict[str, tuple[Rows, Rows]] = {}
        """By transport: what it moved that is of no connection."""
        self.used = 0.0
        """When it moved something last."""
