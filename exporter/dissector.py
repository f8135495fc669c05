"""What `exporter/dpi/x.py` declares as `DISSECTOR`: how one application protocol is recognised and read.

A dissector is pure: bytes in, messages out. It names itself, its transports and its closed sets of operations and
statuses (they become labels, so the network must not choose them), a cheap probe, and a parser per connection.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from exporter.attributes import TABLE, Attribute
from exporter.model import Message

__all__ = ["MORE", "NO", "YES", "Dissector", "Ends", "Parser", "known_attributes"]

NO, MORE, YES = 0, 1, 2
"""A probe's three answers: never this protocol; cannot tell yet; certainly this one."""

MAX_LABELS = 64
"""How many operations or statuses one dissector may declare."""


class Ends(NamedTuple):
    """Addresses (packed) and ports of both sides. Side 0 began the connection, or was seen first."""

    address0: bytes
    port0: int
    address1: bytes
    port1: int
    transport: str = "tcp"
    """The same wire format may be framed differently on a stream and in datagrams (DNS, SIP, STUN)."""


class Parser(Protocol):
    """One connection's reader: a dissector's parser inherits from it and overrides what it needs.

    `feed` gets each side's bytes in order and without holes (TCP), or one datagram (UDP).
    """

    __slots__ = ()

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        """Read on; raise `ParseError` and nothing else. Never keep more than a bounded amount of data.

        Iterate it to its end: what was said before an error comes before the error. After a message whose `switch` is
        set nothing more is read: what was fed and not read is got from `rest`.
        """
        ...

    def skip(self, side: int) -> int:  # noqa: ARG002 - a default
        """Tell how many of this side's next bytes need not be fed (a body of known length); -1: none ever again.

        0: feed everything. Asked after each `feed`, for both sides where either may have decided (TLS). The answer
        is handed over: bytes that were skipped are never fed, lost or not, and asking again gives 0.
        """
        return 0

    def gap(self, side: int) -> bool:  # noqa: ARG002 - a default
        """Bytes of this side that were not skipped are lost. True: reading can resume at the next segment.

        False: give the connection up.
        """
        return False

    def close(self, side: int) -> Iterable[Message]:  # noqa: ARG002 - a default
        """Say what can still be said when a side ends (a response whose body is delimited by the close)."""
        return ()

    def idle(self) -> bool:
        """Tell whether nothing is under way: a new parser would read what comes next just as this one."""
        return False

    def rest(self, side: int) -> bytes:  # noqa: ARG002 - a default
        """Hand over this side's bytes that were fed and not read, after a `switch`; they belong to what comes next."""
        return b""


@dataclass(frozen=True, slots=True)
class Dissector:
    """One application protocol.

    `name` is the protocol label and the module's and vector file's name. `ports` decide who is asked first; they prove
    nothing. `operations` and `statuses` are closed sets of at most 64; the engine maps all else to `other`.
    `probe(side, data, ends)` sees the first bytes of a side (TCP, from the first byte seen, at most 4096) or one
    datagram (UDP), is cheap and never raises; once YES, more bytes never make it NO. `idle`, seconds, replaces the
    default idle timeout once recognised. `attributes` are those that it tells beside the table's
    (`attributes.py`); what is in neither is never kept.
    """

    name: str
    transports: frozenset[str]
    ports: frozenset[int]
    operations: frozenset[str]
    statuses: frozenset[str]
    probe: Callable[[int, bytes, Ends], int]
    parser: Callable[[Ends], Parser]
    reads: str
    specification: str
    idle: float | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what would let the network choose labels."""
        if len(self.operations) > MAX_LABELS or len(self.statuses) > MAX_LABELS:
            msg = f"{self.name}: at most {MAX_LABELS} operations and statuses"
            raise ValueError(msg)


def known_attributes(dissectors: Iterable[Dissector]) -> dict[str, Attribute]:
    """Give all attributes that can be kept: the table's, and what dissectors declare beside it."""
    return {name: one for each in dissectors for name, one in each.attributes.items()} | dict(TABLE)
