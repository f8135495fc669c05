"""RTSP 1.0 and 2.0 over TCP: RFC 2326, RFC 7826.

Read are methods, status codes, host, path and user agent, and the media flows that SETUP agrees on; credentials are
not kept. CSeq pairs a response with its request. Media that is interleaved with it is passed over. A 5xx is an error.
"""

import re
from typing import ClassVar

from exporter.dissector import Dissector, Ends
from exporter.formats.head import reader
from exporter.formats.head_stream import HeadParser, recognise
from exporter.formats.http_attributes import server_attributes
from exporter.formats.rtsp_transport import announced
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_WORDS = """
OPTIONS DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER REDIRECT RECORD PLAY_NOTIFY
"""
_METHODS = frozenset(_WORDS.split())
_START = re.compile(
    rb"([A-Z_]{3,16}) ((?:rtsp[su]?://|\*|/)[^\x00-\x20]{0,2000}) RTSP/([12]\.0)[ \t]*\r?\n|"
    rb"RTSP/([12]\.0) ([1-5][0-9][0-9])[ \r\n]",
    re.IGNORECASE,
)
_URL = re.compile(rb"rtsp[su]?://(?:[^@/]*@)?([^/?#]*)([^?#]*)", re.IGNORECASE)
_fields = reader(b"cseq", b"user-agent", b"transport")


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return recognise(data, _START, b"RTSP/")


class _Rtsp(HeadParser):
    """A connection."""

    __slots__ = ()

    START: ClassVar[re.Pattern[bytes]] = _START

    def message(self, side: int, head: bytes, body: bytes, found: list[Message]) -> None:
        start = _START.match(head + b"\n")
        if start is None:
            return
        fields = _fields(head)
        match = fields.get(b"cseq", b"")[:32]
        if start[5]:
            code = start[5].decode("ascii")
            found.append(
                Message(
                    kind=Kind.RESPONSE,
                    status=f"{code[0]}xx",
                    error=code[0] == "5",
                    match=match,
                    version=start[4].decode("ascii"),
                    attrs={"rtsp.response.status_code": code},
                    expect=announced(fields.get(b"transport", b""), side, self.ends),
                )
            )
            return
        op = start[1].decode("ascii").upper()
        attrs = dict(_where(start[2]))
        if agent := fields.get(b"user-agent"):
            attrs["user_agent.original"] = clean(agent)
        found.append(
            Message(
                kind=Kind.REQUEST,
                op=op if op in _METHODS else "other",
                match=match,
                version=start[3].decode("ascii"),
                attrs=attrs,
            )
        )


def _where(target: bytes) -> dict[str, str | tuple[str, ...]]:
    """Read host, port and path of an address."""
    url = _URL.match(target)
    if url is None:
        return {}
    return server_attributes(url[1]) | {"url.path": clean(url[2] or b"/", 1024)}


DISSECTOR = Dissector(
    name="rtsp",
    transports=frozenset({"tcp"}),
    ports=frozenset({554, 8554, 7070}),
    operations=_METHODS,
    statuses=frozenset({"1xx", "2xx", "3xx", "4xx", "5xx"}),
    probe=_probe,
    parser=_Rtsp,
    reads="method, host, path without query, user agent; status; media announced",
    specification="RFC 2326, 7826",
    idle=600.0,
)
