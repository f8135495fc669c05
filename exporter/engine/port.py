"""One capture handle as the engine sees it: its look-up tables, its meters, and what it ignored."""

from exporter import metrics as m
from exporter.decode.frame import Decoder
from exporter.flow.connection import Half
from exporter.ledger import Ledger
from exporter.model import Interface

__all__ = ["Port"]

ETHERNET = 1
RAW = frozenset({12, 14, 101, 228, 229})
"""Link types without a link header: the engine reads them below an Ethernet header of its own making."""
HEADERS = {ETHERNET: 14, 113: 16, 276: 20}
"""Bytes that the kernel's counters of an interface add to an IP packet, by link type; others add none."""


class Port:
    """The tables of directions that one interface carries, by transport, and its own numbers."""

    __slots__ = (
        "_both",
        "_ledger",
        "_received",
        "_sent",
        "decoder",
        "header",
        "ignored",
        "interface",
        "invented",
        "receive",
        "tables",
        "tcp",
        "transmit",
        "udp",
        "values",
    )

    def __init__(self, interface: Interface, ledger: Ledger, decoder: Decoder) -> None:
        """Prepare an interface's rows in the ledger."""
        self.interface = interface
        self.decoder = decoder
        self.invented = HEADERS[ETHERNET] if interface.link in RAW and interface.role != "file" else 0
        """Bytes of link header that are not on the wire."""
        self.header = HEADERS.get(interface.link, 0)
        self.tcp: dict[bytes, Half] = {}
        self.udp: dict[bytes, Half] = {}
        self.tables: dict[str, dict[bytes, Half]] = {"tcp": self.tcp, "udp": self.udp}
        self._ledger = ledger
        self.values = ledger.values
        self.receive = self._meter("receive")
        self.transmit = self._meter("transmit")
        self._sent, self._received = (self.transmit,), (self.receive,)
        self._both = (self.transmit, self.receive)
        self.ignored: dict[str, tuple[int, int]] = {}

    def table(self, transport: str) -> dict[bytes, Half]:
        """Give the directions of a transport by their key."""
        found = self.tables.get(transport)
        if found is None:
            found = self.tables[transport] = {}
        return found

    def ignore(self, reason: str, packets: int, size: int) -> None:
        """Count what is no IP packet of a connection; `size` with its link header."""
        slots = self.reason(reason)
        self.values[slots[0]] += packets
        self.values[slots[1]] += size

    def reason(self, reason: str) -> tuple[int, int]:
        """Give the ledger's slots (packets, bytes) for what is ignored for a reason."""
        slots = self.ignored.get(reason)
        if slots is None:
            labels = (self.interface.name, reason)
            slots = self.ignored[reason] = (
                self._ledger.slot(m.IGNORED_PACKETS, None, labels),
                self._ledger.slot(m.IGNORED_BYTES, None, labels),
            )
        return slots

    def meters(self, *, sends: bool, receives: bool) -> tuple[tuple[int, int], ...]:
        """Give the meters of a direction whose sender or receiver is ours; what is neither was received."""
        if not sends:
            return self._received
        return self._both if receives else self._sent

    def _meter(self, direction: str) -> tuple[int, int]:
        labels = (self.interface.name, direction)
        return (
            self._ledger.slot(m.CAPTURED_PACKETS, None, labels),
            self._ledger.slot(m.CAPTURED_BYTES, None, labels),
        )
