"""A worker's source where packets are captured: the captures, their frames into the engine, their meters."""

import time
from collections.abc import Callable

from exporter import metrics
from exporter.app.child import Begun
from exporter.capture.deal import shard
from exporter.capture.handle import BATCH, Deal
from exporter.capture.meters import Meters
from exporter.capture.offload import Table
from exporter.capture.pcap import PcapSource
from exporter.ebpf.filters import FilterHandles
from exporter.ebpf.libbpf import BpfError
from exporter.engine import Engine
from exporter.ledger import Ledger
from exporter.model import Interface, SocketRow

__all__ = ["PcapPart"]

BUSY, PAUSE = 64, 0.004
"""So many packets at once, and reading the next a little later costs nobody anything: a turn itself costs 30 µs."""


class PcapPart:
    """Frames of all interfaces; what was counted is in the ledger whenever the engine's clock has ticked."""

    def __init__(self, begun: Begun, engine: Engine, ledger: Ledger, _defect: Callable[[], None]) -> None:
        """Open all captures."""
        config = begun.config
        self._engine = engine
        self._share = begun.number("index"), begun.number("count")
        self._scopes: dict[str, int] = {}
        deal = Deal(*self._share, config.decode.tunnels == "always")
        self.source = PcapSource(config.capture, self._attach, deal, detach=engine.detach)
        self.source.glimpse = engine.glimpse
        self._ledger = ledger
        self.role = "worker"
        if "offload" in begun.flags:
            self._offload(begun.flags["offload"])
        self.source.open()
        self._meters = Meters(ledger, self.source)

    def _offload(self, flag: str) -> None:
        """Have filters of the supervisor's count, if we may use their tables."""
        try:
            table = Table(FilterHandles.parse(flag))
        except BpfError as error:  # before Linux 5.19 without CAP_BPF: all packets come up
            self._degraded(error.reason)
            return
        self.role = "worker_offload"
        self._engine.offload(table)
        self.source.offload = table

    def _degraded(self, reason: str) -> None:
        self._ledger.values[self._ledger.slot(metrics.DEGRADED, None, ("offload", reason))] = 1

    def _attach(self, interface: Interface) -> Callable[[float, bytes], None]:
        """Give the source the engine's function for an interface, with the namespace behind it."""
        scope = self._scopes.get(interface.name, interface.scope)
        role = "pod" if scope else interface.role
        return self._engine.attach(interface._replace(scope=scope, role=role))

    def fileno(self) -> int:
        return self.source.fileno()

    def poll(self) -> int:
        """Read what is there; give how many packets. 0: nothing is left for now."""
        count = self.source.poll(0)
        if BUSY <= count < BATCH:
            time.sleep(PAUSE)
        return count

    def ready(self, now: float) -> bool:  # noqa: ARG002 - the kernel's counting is asked the same
        """Tell whether the next interval may begin."""
        return True

    def turn(self, now: float) -> None:  # noqa: ARG002 - as above
        """Begin the next interval."""
        self.source.refresh(time.monotonic())

    def complete(self) -> bool:
        """Tell whether the ledger is whole."""
        return True

    def meter(self) -> None:
        """Bring the source's own numbers up to date."""
        self._meters.read()
        table = self.source.offload
        for reason in set(table.failed.values()) if table is not None else ():
            self._degraded(reason)

    def published(self) -> None:
        """The ledger is where a crash cannot lose it."""

    def rescope(self, scopes: dict[str, int]) -> None:
        """Learn which interfaces lead into another namespace."""
        changed = {name for name, scope in (scopes.items() ^ self._scopes.items())}
        self._scopes = scopes
        for name in changed:
            self.source.renew(name)

    def mine(self, row: SocketRow) -> bool:
        """Tell whether a socket's packets are dealt to this worker."""
        index, count = self._share
        return count == 1 or shard(row.local, row.remote, count) == index
