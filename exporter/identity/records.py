"""What the kernel told of one socket or process, and which of several sockets with the same ends is meant."""

from typing import NamedTuple

from exporter.ebpf.layout import Key
from exporter.ebpf.owners import Ends
from exporter.identity.netlink import PROTOCOLS, End
from exporter.model import Owner

__all__ = ["TRANSPORTS", "Bound", "Place", "Record", "Running", "Use", "end_of", "pick"]

TOLERANCE = 20_000_000
"""By which the time of a packet and that of an event may disagree."""
LINGER = 2_000_000_000
"""After its close a connection may still be seen for the first time: by a worker that has just started."""
HANDSHAKE = 60_000_000_000
"""After its SYN a listener may have a connection so much later."""
TRANSPORTS = {number: name for name, number in PROTOCOLS.items()}

Place = tuple[int, End]
"""A network namespace by its inode, and a socket's ends there."""
Bound = tuple[int, int]
"""The same, and a UDP port."""


class Running(NamedTuple):
    """Which process: the two together name it for ever."""

    pid: int
    start: int
    """Clock ticks from boot, as `/proc/<pid>/stat` tells it."""


class Record:
    """One socket's owner. Times are nanoseconds of the monotonic clock; `closed` is 0 while it is open.

    `process` is a pid and the nanoseconds from boot to its start.
    """

    __slots__ = ("closed", "cookie", "local", "opened", "origin", "place", "process")

    def __init__(self, told: Ends, place: Place | Bound) -> None:
        self.cookie = told.key.cookie
        self.local = told.key.local
        self.place = place
        self.opened = told.time
        self.closed = 0
        self.take(told)

    def take(self, told: Ends) -> None:
        self.process = (told.tgid, told.start)
        self.origin = told.origin

    def open_at(self, when: int) -> bool:
        return self.opened <= when + TOLERANCE and (not self.closed or self.closed >= when - TOLERANCE)


class Use(NamedTuple):
    """Who uses a socket."""

    owner: Owner
    sure: bool
    """Else it is known who made it, and not whether somebody else uses it."""
    bound: bool
    """Known by its own end only."""
    accepted: bool
    """Not used yet: its listener's."""
    alive: bool


def end_of(key: Key) -> End:
    return End(TRANSPORTS[key.transport], key.local, key.lport, key.remote, key.rport)


def pick(records: list[Record] | tuple[()], when: int) -> Record | None:
    """Choose among the sockets that have had the same ends, one after the other: the one that was open then.

    Else the one that a listener got soon after, or the one that was closed shortly before.
    """
    for record in reversed(records):
        if record.open_at(when):
            return record
    for record in records:
        if when < record.opened < when + HANDSHAKE:
            return record
    return records[-1] if records and records[-1].closed >= when - LINGER else None
