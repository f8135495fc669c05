"""RTP over UDP: RFC 3550, 3551, 8285; carried beside it, RTCP (RFC 5761).

Read is the first packet of each side: payload type and source. What follows is counted only.
"""

from collections.abc import Iterable

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.formats.rtp_packets import certain, media
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_TYPES = {
    0: "PCMU",
    3: "GSM",
    4: "G723",
    5: "DVI4",
    6: "DVI4",
    7: "LPC",
    8: "PCMA",
    9: "G722",
    10: "L16",
    11: "L16",
    12: "QCELP",
    13: "CN",
    14: "MPA",
    15: "G728",
    16: "DVI4",
    17: "DVI4",
    18: "G729",
    25: "CelB",
    26: "JPEG",
    28: "nv",
    31: "H261",
    32: "MPV",
    33: "MP2T",
    34: "H263",
}
"""RFC 3551 section 6; from 96 on the connection that announces it says what it is."""


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return YES if len(data) > 12 and data[0] >> 6 == 2 and certain(data) else NO


class _Rtp(Parser):
    """A flow. `_told`: the sides whose stream was told, a bit each."""

    __slots__ = ("_told",)

    def __init__(self, ends: Ends) -> None:
        self._told = 0

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if len(data) > 7 and 200 <= data[1] <= 213:  # RTCP, which may be encrypted (RFC 3711)
            return ()
        if data and data[0] < 80:  # STUN, DTLS and TURN share the port (RFC 7983 section 7)
            return ()
        packet = media(data)
        if self._told >> side & 1:
            return ()
        self._told |= 1 << side
        kind = packet.kind
        attrs = {"rtp.payload_type": str(kind), "rtp.ssrc": f"{packet.source:08x}"}
        if kind in _TYPES:
            attrs["rtp.encoding"] = _TYPES[kind]
        return (Message(kind=Kind.NOTICE, op="stream", version="2", attrs=attrs),)

    def skip(self, side: int) -> int:
        return -1 if self._told >> side & 1 else 0


DISSECTOR = Dissector(
    name="rtp",
    transports=frozenset({"udp"}),
    ports=frozenset({5004}),
    operations=frozenset({"stream"}),
    statuses=frozenset(),
    probe=_probe,
    parser=_Rtp,
    reads="payload type and source of each side's first packet",
    specification="RFC 3550, 3551, 8285",
    idle=60.0,
)
