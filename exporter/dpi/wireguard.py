"""WireGuard over UDP: "WireGuard: Next Generation Kernel Network Tunnel" (the whitepaper), section 5.4.

Its four messages have fixed shapes: a type, three zeros, and all but data of one length. An initiation is answered by a
response or, under load, by a cookie with which to try again. When a side sends data nothing more is wanted of it.
"""

from collections.abc import Iterable

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_INITIATION, _RESPONSE, _COOKIE, _DATA = 1, 2, 3, 4
_SIZES = {_INITIATION: 148, _RESPONSE: 92, _COOKIE: 64}
_MIN_DATA = 32
_MANY = 1 << 40
"""More messages than these no session sends in its three minutes: a counter beyond is none."""


def _kind(data: bytes) -> int:
    """Give a message's type; 0: it is none."""
    if len(data) < _MIN_DATA or data[1:4] != b"\0\0\0":
        return 0
    kind = data[0]
    if kind == _DATA:
        return kind if len(data) % 16 == 0 else 0
    return kind if _SIZES.get(kind) == len(data) else 0


def _probe(side: int, data: bytes, ends: Ends) -> int:
    kind = _kind(data)
    if not kind or data[4:8] == b"\0\0\0\0":
        return NO
    if kind == _DATA:
        return YES if int.from_bytes(data[8:16], "little") < _MANY else NO
    return YES if any(data[8:32]) else NO


class _WireGuard(Parser):
    """A flow. `_data`: the sides that have sent data."""

    __slots__ = ("_data",)

    def __init__(self, ends: Ends) -> None:
        self._data = [False, False]

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        kind = _kind(data)
        if kind == _INITIATION:
            return [Message(kind=Kind.REQUEST, op="handshake", match=data[4:8])]
        if kind == _RESPONSE:
            return [Message(kind=Kind.RESPONSE, op="handshake", status="ok", match=data[8:12])]
        if kind == _COOKIE:
            return [Message(kind=Kind.RESPONSE, op="handshake", status="cookie", match=data[4:8])]
        if not kind:
            raise ParseError("message")
        if self._data[side]:
            return []
        self._data[side] = True
        return [Message(kind=Kind.NOTICE, op="data")]

    def skip(self, side: int) -> int:
        return -1 if self._data[side] else 0

    def gap(self, side: int) -> bool:
        return True


DISSECTOR = Dissector(
    name="wireguard",
    transports=frozenset({"udp"}),
    ports=frozenset({51820}),
    operations=frozenset({"handshake", "data"}),
    statuses=frozenset({"ok", "cookie"}),
    probe=_probe,
    parser=_WireGuard,
    reads="handshakes, cookies",
    specification="WireGuard whitepaper, section 5.4",
    idle=300.0,
)
