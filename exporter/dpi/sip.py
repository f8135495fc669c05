"""SIP over UDP and TCP: RFC 3261, 3262 (PRACK), 3311, 3428, 3515, 3903, 6665; media from its SDP (RFC 3264).

Read are methods, status codes, the host that is asked for and the user agent; neither who calls whom nor credentials
are kept. A transaction is known by Call-ID and CSeq. A 1xx is a notice, as the response is still to come; ACK has none.
A 5xx is an error, a 4xx the client's own (401 asks for a credential).
"""

import re
from typing import ClassVar

from exporter.dissector import NO, YES, Dissector, Ends
from exporter.formats.head import reader
from exporter.formats.head_stream import HeadParser, recognise
from exporter.formats.sdp import announced
from exporter.formats.text import clean, host_name
from exporter.model import Expectation, Kind, Message

__all__ = ["DISSECTOR"]

_WORDS = "INVITE ACK BYE CANCEL REGISTER OPTIONS PRACK SUBSCRIBE NOTIFY PUBLISH INFO REFER MESSAGE UPDATE"
_METHODS = frozenset(_WORDS.split())
_REQUEST = rb"([A-Z]{3,16}) ((?:sips?|tel|urn|im|pres):[^\x00-\x20]{1,2000}) SIP/2\.0[ \t]*\r?\n"
_RESPONSE = rb"SIP/2\.0 ([1-6][0-9][0-9])[ \r\n]"
_START = re.compile(rb"%s|%s" % (_REQUEST, _RESPONSE), re.IGNORECASE)
_HOST = re.compile(rb"sips?:(?:[^@]*@)?(?:\[([0-9A-Fa-f:.]+)\]|([^:;?>\s]+))", re.IGNORECASE)
_fields = reader(b"call-id", b"i", b"cseq", b"user-agent", b"content-type", b"c")


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if ends.transport == "udp":
        return YES if _START.match(data) and (b"\n" in data) else NO
    return recognise(data, _START, b"SIP/2.0")


class _Sip(HeadParser):
    """A connection, or a flow of datagrams."""

    __slots__ = ()

    START: ClassVar[re.Pattern[bytes]] = _START

    def message(self, side: int, head: bytes, body: bytes, found: list[Message]) -> None:
        start = _START.match(head + b"\n")
        if start is None:
            return
        fields = _fields(head)
        sequence = fields.get(b"cseq", b"").split()[:2]
        match = (
            (fields.get(b"call-id") or fields.get(b"i") or b"")[:256]
            + b" "
            + b" ".join(sequence)[:64].upper()
        )
        kind = fields.get(b"content-type") or fields.get(b"c") or b""
        expect = announced(body, side, self.ends) if kind[:15].lower() == b"application/sdp" else ()
        if start[3]:
            found.append(_response(start[3].decode("ascii"), match, expect))
            return
        op = start[1].decode("ascii").upper()
        attrs = {}
        if (host := _HOST.match(start[2])) and (name := host_name(host[1] or host[2])):
            attrs["server.address"] = name
        if agent := fields.get(b"user-agent"):
            attrs["user_agent.original"] = clean(agent)
        found.append(
            Message(
                kind=Kind.NOTICE if op == "ACK" else Kind.REQUEST,
                op=op if op in _METHODS else "other",
                match=match,
                version="2.0",
                attrs=attrs,
                expect=expect,
            )
        )


def _response(code: str, match: bytes, expect: tuple[Expectation, ...]) -> Message:
    interim = code[0] == "1"
    return Message(
        kind=Kind.NOTICE if interim else Kind.RESPONSE,
        op="provisional" if interim else "",
        status=f"{code[0]}xx",
        error=code[0] == "5",
        match=match,
        attrs={"sip.response.status_code": code},
        expect=expect,
    )


DISSECTOR = Dissector(
    name="sip",
    transports=frozenset({"udp", "tcp"}),
    ports=frozenset({5060}),
    operations=_METHODS | {"provisional"},
    statuses=frozenset({"1xx", "2xx", "3xx", "4xx", "5xx", "6xx"}),
    probe=_probe,
    parser=_Sip,
    reads="method, host, user agent; status; media announced",
    specification="RFC 3261, 3264, 8866",
    idle=600.0,
)
