"""The answer to a scrape: the ledgers' rows, and what this process says of itself."""

import zlib
from collections.abc import Sequence
from time import monotonic, perf_counter

from exporter.config import Config
from exporter.export import text
from exporter.export.names import Names
from exporter.export.negotiate import Wish
from exporter.export.own import ProcessText, Status, own_samples, read_status
from exporter.export.shards import Block, Shards
from exporter.metrics import CAPTURE_UP, Family, Kind

__all__ = ["Renderer", "compress"]

QUIET = 10.0
"""A worker that has published nothing for so many seconds, or for five intervals, is not up."""
GZIP_LEVEL = 1
GZIP = 31
"""zlib's window bits for the gzip format."""
DATED = (Kind.COUNTER, Kind.HISTOGRAM)


class Renderer:
    """Reads the memory files and renders them. The last buffer is the identity process'. One caller at a time."""

    def __init__(self, config: Config, buffers: Sequence[memoryview], names: Names, status: int = -1) -> None:
        self._created = config.metrics.created
        self._quiet = max(QUIET, 5 * config.flow.publish_interval)
        self._shards = Shards(buffers, names)
        self._workers = len(buffers) - 1
        self._changed = [float("-inf")] * len(buffers)
        self._descriptor = status
        self._status = Status()
        self._process = ProcessText()
        self._duration = 0.0
        self.own = True
        """Say what this process itself takes; replay, which is to print the same each time, does not."""
        self.degraded: list[tuple[str, str]] = []

    def refresh(self) -> None:
        """Read what is new. Called at each scrape, and now and then between."""
        before = self._shards.sequences
        self._shards.refresh()
        now = monotonic()
        for at, (old, new) in enumerate(zip(before, self._shards.sequences, strict=True)):
            if old != new:
                self._changed[at] = now
        if self._descriptor >= 0:
            self._status = read_status(self._descriptor, self._status)

    def up(self) -> list[bool]:
        """Tell of each worker whether it publishes."""
        since = monotonic() - self._quiet
        return [changed > since for changed in self._changed[: self._workers]]

    def unready(self) -> str:
        """Tell what is missing until the metrics mean something; empty: nothing."""
        silent = [number for number, one in enumerate(self.up()) if not one]
        if silent:
            return f"worker {silent[0]} has not published yet"
        block = self._shards.block(CAPTURE_UP)
        if block is None or not any(block.values(self._shards.values)):
            return "no capture is up"
        return ""

    def render(self, wish: Wish) -> bytes:
        """Render what is wished for."""
        begin = perf_counter()
        self.refresh()
        found: dict[str, list[str]] = {}
        for block in self._shards.blocks():
            if wish.wants(block.family):
                found[block.family.name] = self._block(block, wish)
        degraded = (*self._status.degraded, *self.degraded)
        said = own_samples(self._status, degraded, self.up(), self._duration) if self.own else {}
        for family, samples in said.items():
            if samples and wish.wants(family):
                lines = _own(family, samples, wish)
                found[family.name] = _joined(found.get(family.name, []), lines)
        parts = [line for name in sorted(found) for line in found[name]]
        if self.own:
            parts.append(self._process.render(wish.names, openmetrics=wish.openmetrics))
        if wish.openmetrics:
            parts.append("# EOF\n")
        body = "".join(parts).encode()
        self._duration = perf_counter() - begin
        return body

    def _block(self, block: Block, wish: Wish) -> list[str]:
        family = block.family
        lines = text.lines(block.prefixes, block.values(self._shards.values))
        if wish.openmetrics and self._created and family.kind in DATED:
            lines = _dated(block, lines)
        return [text.header(family, openmetrics=wish.openmetrics), *lines]


def _dated(block: Block, lines: list[str]) -> list[str]:
    """Put each row's time of creation behind its lines."""
    name = f"{text.base_name(block.family)}_created"
    step = len(lines) // len(block.labels)
    dated: list[str] = []
    for at, (labels, created) in enumerate(zip(block.labels, block.created, strict=True)):
        dated += lines[at * step : (at + 1) * step]
        braces = f"{{{labels}}}" if labels else ""
        dated.append(f"{name}{braces} {text.number(created)}\n")
    return dated


def _own(family: Family, samples: list[tuple[tuple[str, ...], float]], wish: Wish) -> list[str]:
    lines = [text.header(family, openmetrics=wish.openmetrics)]
    for labels, value in samples:
        before = text.prefixes(family, text.label_text(zip(family.labels, labels, strict=True)))
        lines += text.lines(before, [float(value)])
    return lines


def _joined(some: list[str], others: list[str]) -> list[str]:
    """Join what a ledger and this process say of one family (the header is in both)."""
    return others if not some else [some[0], *sorted({*some[1:], *others[1:]})]


def compress(body: bytes) -> bytes:
    """Compress fast rather than well."""
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP)
    return packer.compress(body) + packer.flush()
