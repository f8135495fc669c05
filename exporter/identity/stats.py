"""What the identity process counts of itself."""

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Stats"]


@dataclass
class Stats:
    """Plain numbers, cumulative unless told otherwise; the main loop publishes them."""

    asks: int = 0
    watches: int = 0
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """First answers that name an owner, and the last word on those that got none, by (method, quality)."""
    scans: int = 0
    """Looks through new and recent processes."""
    sweeps: int = 0
    """Looks through all processes."""
    scanned: int = 0
    """Processes whose descriptors were read."""
    scan_seconds: float = 0.0
    dumps: int = 0
    dump_seconds: float = 0.0
    sockets: int = 0
    """Connected sockets in the last listing."""
    errors: Counter[str] = field(default_factory=Counter)
    """What went wrong, by reason: `full` (a worker did not take a record), `malformed` (not a record), `evicted` (too
    many questions), `lost` (what the kernel told and there was no room for), `failed` (a table could not be read)."""
    pending: int = 0
    """Now: questions without their last answer."""
    denied: int = 0
    """Now: processes whose descriptors may not be read."""
    degraded: dict[str, str] = field(default_factory=dict)
    """Now: what does not work, by component, with the reason."""
