"""Multicast DNS: RFC 6762, RFC 6763. DNS's wire format on port 5353; the port tells the two apart (DESIGN section 4).

What goes to the group is a notice, asked or answered: nobody answers on the same connection. Addresses in the
additional section are told too: that is where responders put them.
"""

from collections.abc import Iterable

import msgspec

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.formats.casting import kind_of
from exporter.formats.dns_message import parse
from exporter.formats.dns_opening import opening
from exporter.formats.dns_report import OPERATIONS, STATUSES, match, report
from exporter.model import Message

__all__ = ["DISSECTOR"]

_PORT = 5353
_CLASSES = frozenset({1, 255})


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if _PORT not in (ends.port0, ends.port1) or len(data) < 12:
        return NO
    if data[2] & 0x78 or data[3] & 0x0F:  # section 18.3 and 18.11: no opcode, no error
        return NO
    if data[4:8] == b"\0\0\0\0":  # nothing asked, nothing answered
        return NO
    _, group, _ = opening(data)
    return YES if group & 0x7FFF in _CLASSES else NO  # the top bit: section 5.4, section 10.2


class _Mdns(Parser):
    """Keeps nothing: a datagram is a message, and its answer another connection's."""

    __slots__ = ("_ends",)

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        message = parse(data, multicast=True)
        kind = kind_of(side, self._ends, response=message.response)
        return [msgspec.structs.replace(report(message, match(message)), kind=kind)]

    def gap(self, side: int) -> bool:
        return True

    def idle(self) -> bool:
        return True


DISSECTOR = Dissector(
    name="mdns",
    transports=frozenset({"udp"}),
    ports=frozenset({_PORT}),
    operations=OPERATIONS,
    statuses=STATUSES,
    probe=_probe,
    parser=_Mdns,
    reads="questions, answers; address-to-name facts, also of the additional section",
    specification="RFC 6762, 6763",
)
