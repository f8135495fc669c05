"""A worker's source where the kernel counts: turns, read into the engine and released once they are published.

A turn's numbers enter the ledger together, and the ledger is published only when none of them waits for a name any
more, or beside those that wait for a late one: so the file holds whole turns, says up to which one, and whoever dies in
between has lost and doubled nothing. A turn has its limits (`READING`, `TOOK`): a flood does not make the page late.
"""

import time
from collections.abc import Callable
from itertools import chain

from exporter.app.child import Begun
from exporter.capture.ebpf import EbpfSource, dealt
from exporter.capture.meters import SocketMeters
from exporter.ebpf.layout import Handles, Health
from exporter.engine import Engine
from exporter.ledger import Ledger
from exporter.model import SocketRow

__all__ = ["EbpfPart"]

BATCH = 512
"""Packets read at once: up to 150 µs each, where each is another connection's first."""
READING = 0.5
"""Seconds of reading packets before a turn, which takes the whole ring but for a flood."""
TOOK = 0.5
"""Seconds that its numbers may take: after a longer turn fewer new connections are taken up in one, else more again."""
LEAST = 1_024
HURRIED = 0.2
"""Of `READING`, where it takes up the fewest."""
GATHER = 0.02
"""Packets that come up are read so seldom: they bear the kernel's time, and waking for each costs more than reading."""


class EbpfPart:
    """Tallies and sights of all sockets."""

    role = "worker_ebpf"

    def __init__(self, begun: Begun, engine: Engine, ledger: Ledger, defect: Callable[[], None]) -> None:
        """Take over where the ledger says that the worker before was; `defect` is told when our own code failed."""
        config = begun.config
        self._ledger = ledger
        self._share = begun.number("index"), begun.number("count")
        self.source = EbpfSource(
            Handles.parse(begun.flags["handles"]),
            turned=ledger.turned,
            wire=config.capture.count_as == "wire",
            own=begun.number("netns"),
        )
        self._sockets = engine.sockets(self._inspect, defect)
        self._most = self._sockets.room
        self._sockets.restore(ledger.notes, time.time())
        self._settle = config.flow.settle
        self._turned = 0.0
        self._meters = SocketMeters(ledger, first=self._share[0] == 0)
        self._meters.lost = self.source.lost()
        self._overflows = self._meters.lost[Health.OVERFLOWS]

    def _inspect(self, key: bytes, on: bool) -> None:  # noqa: FBT001 - the engine's callback
        self.source.inspect(key, on=on)

    def fileno(self) -> int:
        return self.source.fileno()

    def poll(self) -> int:
        """Read the packets that came up; give how many. 0: nothing is left for now."""
        count = self.source.dispatch(self._sockets.sight, BATCH)
        if 0 < count < BATCH:
            time.sleep(GATHER)
        return count

    def ready(self, now: float) -> bool:
        """Tell whether the next turn may begin: what waits for names has them, or waited for long enough."""
        if self._sockets.complete():
            return True
        if 0 <= now - self._turned < self._settle:  # else the clock was set back
            return False
        self._sockets.press(now)
        return True

    def turn(self, now: float) -> None:
        """Take what moved since the last turn; packets that came up before its end are read before it."""
        until, came = time.time(), time.monotonic()
        tallies = self.source.turn()
        first = next(tallies, None)
        reading = time.monotonic() + READING * max(HURRIED, self._sockets.room / self._most)
        while self.source.dispatch(self._sockets.sight, BATCH) == BATCH and time.monotonic() < reading:
            pass
        begun = time.monotonic()
        self._ledger.turned = self.source.turned
        self._sockets.turned(chain((first,), tallies) if first is not None else (), until)
        lost = self.source.lost()
        if lost[Health.OVERFLOWS] > self._overflows:
            self._overflows = lost[Health.OVERFLOWS]
            self._sockets.doubt()
        self._meters.lost = lost
        over = time.monotonic()
        self._turned = now + over - came  # names are asked for only now
        room = self._sockets.room
        self._sockets.room = max(LEAST, room // 2) if over - begun > TOOK else min(self._most, 2 * room)

    def complete(self) -> bool:
        """Tell whether the ledger is whole."""
        return self._sockets.complete()

    def meter(self) -> None:
        """Bring the source's own numbers up to date, and what waits for names."""
        self._meters.read()
        self._ledger.notes = self._sockets.owed()

    def published(self) -> None:
        """The ledger is where a crash cannot lose it: the kernel may forget the turn."""
        self.source.release()

    def rescope(self, scopes: dict[str, int]) -> None:
        """Interfaces are of no interest here: each tally says its namespace."""

    def mine(self, row: SocketRow) -> bool:
        """Tell whether a socket's numbers come to this worker."""
        index, count = self._share
        return dealt((row.local, row.lport), (row.remote, row.rport), count) == index
