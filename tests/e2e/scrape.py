"""What `/metrics` said, to be asked."""

from collections import Counter
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

LOSSES = ("netproc_lost_packets_total", "netproc_lost_events_total")
BYTES = ("netproc_receive_bytes_total", "netproc_transmit_bytes_total")
ETHERNET = 14


class Scrape:
    """One scrape. `base` is an earlier one: counters are then told since that."""

    def __init__(self, text: str, base: "Scrape | None" = None) -> None:
        self.text = text
        self.samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        self.base = base

    def by(self, name: str, *labels: str, **chosen: str) -> Counter[tuple[str, ...]]:
        """Sum the samples by some labels; rows of 0 are left out."""
        found: Counter[tuple[str, ...]] = Counter()
        for have, value in self.samples.get(name, ()):
            if all(have.get(k) == v for k, v in chosen.items()):
                found[tuple(have.get(label, "") for label in labels)] += int(value)
        if self.base and name.endswith("_total"):
            found.subtract(self.base.by(name, *labels, **chosen))
        return Counter({k: v for k, v in found.items() if v})

    def sum(self, name: str, **chosen: str) -> int:
        return self.by(name, **chosen).total()

    def bytes_by(self, *labels: str, **chosen: str) -> Counter[tuple[str, ...]]:
        """Bytes in both directions."""
        return sum((self.by(name, *labels, **chosen) for name in BYTES), Counter())

    def processes(self) -> dict[str, int]:
        """Bytes in both directions, by process."""
        return {key[0]: value for key, value in self.bytes_by("process").items()}

    def seen(self) -> float:
        """Packets that were counted or lost, since the start."""
        names = ("netproc_captured_packets_total", "netproc_lost_packets_total")
        return sum(value for name in names for _, value in self.samples.get(name, ()))

    def losses(self) -> dict[str, int]:
        """Every loss counter that is not 0."""
        return {name: total for name in LOSSES if (total := self.sum(name))}

    def interface_bytes(self, interface: str, link_header: int = ETHERNET, ends: int = 1) -> int:
        """DESIGN's equation: what the interface's own counters must have counted.

        `ends`: how many ends of its connections are ours, each counted.
        """
        ip = self.sum("netproc_captured_bytes_total", interface=interface)
        headers = link_header * self.sum("netproc_captured_packets_total", interface=interface)
        assert (ip + headers) % ends == 0
        return (ip + headers) // ends + self.sum("netproc_ignored_bytes_total", interface=interface)

    def counters(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every series that must never fall."""
        suffixes = ("_total", "_count", "_bucket", "_sum")
        return {
            (name, tuple(sorted(labels.items()))): value
            for name, rows in self.samples.items()
            if name.startswith("netproc_") and name.endswith(suffixes)
            for labels, value in rows
        }
