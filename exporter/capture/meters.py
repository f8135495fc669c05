"""What the worker says of its source each second: up or not, the kernel's losses and the interfaces' own counters."""

from typing import TYPE_CHECKING

from exporter import metrics as m
from exporter.capture.links import read_counters
from exporter.ebpf.layout import Health
from exporter.ledger import Ledger

if TYPE_CHECKING:
    from exporter.capture.pcap import PcapSource

__all__ = ["Meters", "SocketMeters"]

PCAP, EBPF = "pcap", "ebpf"
SOCKETS = "sockets"
"""What stands for an interface where the kernel counts by socket."""
LOSSES = (
    (Health.UNCOUNTED_PACKETS, m.LOST_PACKETS, (SOCKETS, EBPF)),
    (Health.LOST_FRAMES, m.LOST_EVENTS, (EBPF,)),
    (Health.OVERFLOWS, m.EVICTIONS, ("kernel_table",)),
)


class Meters:
    """Carries captures' totals into the ledger. A ledger that goes on after a restart goes on from its values."""

    def __init__(self, ledger: Ledger, source: "PcapSource") -> None:
        """Remember where the counters stood."""
        self._ledger = ledger
        self._source = source
        self._base: dict[int, float] = {}

    def read(self) -> None:
        """Bring the ledger up to date."""
        ledger = self._ledger
        for name, up in self._source.up().items():
            ledger.values[ledger.slot(m.CAPTURE_UP, None, (name, PCAP))] = float(up)
        for name, stats in self._source.stats().items():
            self._count(ledger.slot(m.LOST_PACKETS, None, (name, "kernel")), stats.dropped)
            self._count(ledger.slot(m.LOST_PACKETS, None, (name, "interface")), stats.missed)
        read_interfaces(ledger)

    def _count(self, slot: int, total: float) -> None:
        base = self._base.setdefault(slot, self._ledger.values[slot])
        self._ledger.values[slot] = base + total


class SocketMeters:
    """Carries into the ledger what the kernel says of its counting.

    It tells what it lost since it began to count, of all workers together: the first one says it. The ledger's file
    and the kernel's tables live equally long, so the totals are the same for a worker that was restarted.
    """

    def __init__(self, ledger: Ledger, *, first: bool) -> None:
        self._ledger = ledger
        self._first = first
        self.lost: dict[Health, int] = {}

    def read(self) -> None:
        """Bring the ledger up to date."""
        ledger = self._ledger
        ledger.values[ledger.slot(m.CAPTURE_UP, None, (SOCKETS, EBPF))] = 1.0
        if not self._first:
            return
        for what, family, labels in LOSSES:
            ledger.values[ledger.slot(family, None, labels)] = self.lost.get(what, 0)
        read_interfaces(ledger)


def read_interfaces(ledger: Ledger) -> None:
    """Say what the kernel counted on each interface."""
    for name, own in read_counters().items():
        for family, value in (
            (m.INTERFACE_RECEIVE_BYTES, own.receive_bytes),
            (m.INTERFACE_RECEIVE_PACKETS, own.receive_packets),
            (m.INTERFACE_TRANSMIT_BYTES, own.transmit_bytes),
            (m.INTERFACE_TRANSMIT_PACKETS, own.transmit_packets),
        ):
            ledger.values[ledger.slot(family, None, (name,))] = value
