"""SSDP, the discovery of UPnP: UPnP Device Architecture 2.0 section 1; draft-cai-ssdp-v1-03. HTTP's heads in datagrams.

A search goes to a group, and each device answers from its own address: what goes to the group is a notice.
"""

import re
from collections.abc import Iterable

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.casting import kind_of
from exporter.formats.head import reader
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_MAX_HEAD = 4096
_MAX_TEXT = 512
_REQUESTS = (b"M-SEARCH * HTTP/1.", b"NOTIFY * HTTP/1.")
_START = re.compile(
    rb"(?:(M-SEARCH|NOTIFY) \* HTTP/1\.[01]|HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?)[ \t]*\r?\n"
)
_MARK = re.compile(rb"\n(?:ST|USN)[ \t]*:", re.IGNORECASE)
"""What an answer to a search must have, beside HTTP's status line."""
_SUBTYPES = {
    "ssdp:alive": "alive",
    "ssdp:byebye": "byebye",
    "ssdp:update": "update",
    "upnp:propchange": "propchange",
}
_fields = reader(b"st", b"nt", b"nts", b"usn", b"server", b"user-agent", b"location")
_NAMES = (
    (b"st", "ssdp.search_target"),
    (b"nt", "ssdp.notification_type"),
    (b"nts", "ssdp.notification_subtype"),
    (b"usn", "ssdp.unique_service_name"),
    (b"location", "ssdp.location"),
    (b"server", "ssdp.server"),
    (b"user-agent", "user_agent.original"),
)


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data.startswith(_REQUESTS):
        return YES if _START.match(data) else NO
    if not data.startswith(b"HTTP/1."):
        return NO
    return YES if _START.match(data) and _MARK.search(data, 0, _MAX_HEAD) else NO


class _Ssdp(Parser):
    """Keeps nothing: a datagram is a message."""

    __slots__ = ("_ends",)

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        start = _START.match(data)
        if start is None:
            raise ParseError("start")
        fields = _fields(data[start.end() - 1 : _MAX_HEAD])
        attrs: dict[str, str | tuple[str, ...]] = {
            name: clean(fields[key], _MAX_TEXT) for key, name in _NAMES if fields.get(key)
        }
        method, code = start.groups()
        if method == b"NOTIFY":
            told = str(attrs.get("ssdp.notification_subtype", ""))
            return [Message(kind=Kind.NOTICE, op=_SUBTYPES.get(told, "other"), attrs=attrs)]
        kind = kind_of(side, self._ends, response=method is None)
        if method:
            return [Message(kind=kind, op="M-SEARCH", attrs=attrs)]
        status = code.decode("ascii")
        failed = status >= "400"
        return [Message(kind=kind, op="M-SEARCH", status=f"{status[0]}xx", error=failed, attrs=attrs)]

    def gap(self, side: int) -> bool:
        return True

    def idle(self) -> bool:
        return True


DISSECTOR = Dissector(
    name="ssdp",
    transports=frozenset({"udp"}),
    ports=frozenset({1900}),
    operations=frozenset({"M-SEARCH", *_SUBTYPES.values()}),
    statuses=frozenset({"1xx", "2xx", "3xx", "4xx", "5xx"}),
    probe=_probe,
    parser=_Ssdp,
    reads="method, search target, notification type and subtype, service name, location, server, user agent",
    specification="UPnP Device Architecture 2.0, section 1",
)
