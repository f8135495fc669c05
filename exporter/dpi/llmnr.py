"""Link-Local Multicast Name Resolution: RFC 4795, over UDP. DNS's wire format on port 5355, which tells them apart.

A query goes to the group and is a notice; whoever has the name answers from its own address, and that is a connection
of its own. The conflict bit is an error: two have the same name.
"""

from collections.abc import Iterable

import msgspec

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.casting import kind_of
from exporter.formats.dns_message import parse
from exporter.formats.dns_opening import opening
from exporter.formats.dns_report import STATUSES, match, report
from exporter.model import Message

__all__ = ["DISSECTOR"]

_PORT = 5355
_CLASSES = frozenset({1, 255})
_CONFLICT = 0x0400


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if _PORT not in (ends.port0, ends.port1) or len(data) < 17:
        return NO
    if data[2] & 0x78 or data[3] & 0xF0 or data[4:6] != b"\0\1":  # section 2.1.1: no opcode, one question
        return NO
    if not data[2] & 0x80 and (data[3] & 0x0F or data[6:10] != b"\0\0\0\0"):
        return NO
    _, group, end = opening(data)
    if group not in _CLASSES:
        return NO
    return YES if data[6:12] != b"\0\0\0\0\0\0" or end == len(data) else NO


class _Llmnr(Parser):
    """Keeps nothing: an answer repeats its question."""

    __slots__ = ("_ends",)

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        message = parse(data)
        if message.opcode:
            raise ParseError("opcode")
        said = report(message, match(message))
        kind = kind_of(side, self._ends, response=message.response)
        failed = said.error or bool(message.flags & _CONFLICT)
        return [msgspec.structs.replace(said, kind=kind, error=failed)]

    def gap(self, side: int) -> bool:
        return True

    def idle(self) -> bool:
        return True


DISSECTOR = Dissector(
    name="llmnr",
    transports=frozenset({"udp"}),
    ports=frozenset({_PORT}),
    operations=frozenset({"query"}),
    statuses=STATUSES,
    probe=_probe,
    parser=_Llmnr,
    reads="question, response code, answers; address-to-name facts",
    specification="RFC 4795",
)
