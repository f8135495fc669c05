"""What the worker says of its captures each second: up or not, the kernel's losses and the interfaces' own counters."""

from exporter import metrics as m
from exporter.capture.links import read_counters
from exporter.capture.pcap import PcapSource
from exporter.ledger import Ledger

__all__ = ["Meters"]

SOURCE = "pcap"


class Meters:
    """Carries a source's totals into the ledger. A ledger that goes on after a restart goes on from its values."""

    def __init__(self, ledger: Ledger, source: PcapSource) -> None:
        """Remember where the counters stood."""
        self._ledger = ledger
        self._source = source
        self._base: dict[int, float] = {}

    def read(self) -> None:
        """Bring the ledger up to date."""
        ledger = self._ledger
        for name, up in self._source.up().items():
            ledger.values[ledger.slot(m.CAPTURE_UP, None, (name, SOURCE))] = float(up)
        for name, stats in self._source.stats().items():
            self._count(ledger.slot(m.LOST_PACKETS, None, (name, "kernel")), stats.dropped)
            self._count(ledger.slot(m.LOST_PACKETS, None, (name, "interface")), stats.missed)
        for name, own in read_counters().items():
            for family, value in (
                (m.INTERFACE_RECEIVE_BYTES, own.receive_bytes),
                (m.INTERFACE_RECEIVE_PACKETS, own.receive_packets),
                (m.INTERFACE_TRANSMIT_BYTES, own.transmit_bytes),
                (m.INTERFACE_TRANSMIT_PACKETS, own.transmit_packets),
            ):
                ledger.values[ledger.slot(family, None, (name,))] = value

    def _count(self, slot: int, total: float) -> None:
        base = self._base.setdefault(slot, self._ledger.values[slot])
        self._ledger.values[slot] = base + total
