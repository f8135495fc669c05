"""RTCP over UDP: RFC 3550 section 6, RFC 4585 (feedback), RFC 3611 (extended reports).

Read are the types of the packets and the worst loss that is reported; the sources' names (SDES) are not kept. There is
no pairing, so all messages are notices.
"""

from collections.abc import Iterable

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.rtp_packets import control
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_KINDS = {
    200: "sender_report",
    201: "receiver_report",
    202: "source_description",
    203: "goodbye",
    204: "application",
    205: "transport_feedback",
    206: "payload_feedback",
    207: "extended_report",
}


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if len(data) < 8 or data[0] >> 6 != 2 or not 200 <= data[1] <= 206 or len(data) & 3:
        return NO
    try:
        control(data)
    except ParseError:
        return NO
    return YES


class _Rtcp(Parser):
    """A flow. Nothing is remembered."""

    __slots__ = ()

    def __init__(self, ends: Ends) -> None:
        pass

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        found = []
        for packet in control(data):
            attrs = {"rtcp.fraction_lost": f"{packet.lost / 256:.3f}"} if packet.lost >= 0 else {}
            found.append(
                Message(kind=Kind.NOTICE, op=_KINDS.get(packet.kind, "other"), version="2", attrs=attrs)
            )
        return found

    def idle(self) -> bool:
        return True


DISSECTOR = Dissector(
    name="rtcp",
    transports=frozenset({"udp"}),
    ports=frozenset({5005}),
    operations=frozenset(_KINDS.values()),
    statuses=frozenset(),
    probe=_probe,
    parser=_Rtcp,
    reads="types of packets, worst loss reported",
    specification="RFC 3550, 4585, 5506, 3611",
    idle=60.0,
)
