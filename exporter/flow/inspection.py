"""What the inspection of all connections shares: the dissectors, whom to ask first, and how much is looked at."""

from collections.abc import Callable, Iterable

from exporter.attributes import TABLE
from exporter.dissector import Dissector, Ends

__all__ = ["Budget", "Inspection"]


class Budget:
    """How much is looked at until a connection counts as unknown."""

    __slots__ = ("bytes", "packets", "time")

    def __init__(self, packets: int, size: int, time: float = 60.0) -> None:
        """Allow so many payload packets, so many bytes of a side, and so many seconds."""
        self.packets = packets
        self.bytes = size
        self.time = time


class Inspection:
    """What all inspectors share: the dissectors, the budget, who counts faults, and which attributes are kept."""

    def __init__(
        self,
        dissectors: Iterable[Dissector],
        budget: Budget,
        fault: Callable[[str], None],
        keep: frozenset[str] | None = frozenset(TABLE),
    ) -> None:
        """Arrange the dissectors; `fault(protocol)` is told of every failed parse.

        `keep`: other attributes go no further; None: nobody reads any.
        """
        self.budget = budget
        self.fault = fault
        self.keep = keep
        self.by_name = {d.name: d for d in dissectors}
        self._plain: dict[str, tuple[Dissector, ...]] = {}
        self._first: dict[tuple[str, int], tuple[Dissector, ...]] = {}
        self._hinted: dict[tuple[str, int], tuple[Dissector, ...]] = {}
        """All of a transport, those first whose port it is; made when it is first met: there are hundreds."""
        for dissector in self.by_name.values():
            for transport in dissector.transports:
                self._plain[transport] = (*self._plain.get(transport, ()), dissector)
                for port in dissector.ports:
                    self._first[transport, port] = (*self._first.get((transport, port), ()), dissector)
        self.transports = frozenset(self._plain)

    def keeps(self, attribute: str) -> bool:
        """Tell whether an attribute is read by anybody."""
        return self.keep is not None and attribute in self.keep

    def candidates(self, ends: Ends) -> tuple[Dissector, ...]:
        """Give the dissectors of a transport, those first whose ports fit."""
        for port in (ends.port1, ends.port0):
            place = (ends.transport, port)
            if first := self._first.get(place):
                return self._hinted.get(place) or self._arrange(place, first)
        return self._plain.get(ends.transport, ())

    def _arrange(self, place: tuple[str, int], first: tuple[Dissector, ...]) -> tuple[Dissector, ...]:
        transport, port = place
        found = self._hinted[place] = (*first, *(d for d in self._plain[transport] if port not in d.ports))
        return found
