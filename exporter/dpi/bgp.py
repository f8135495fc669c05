"""BGP-4 over TCP: RFC 4271, RFC 2918 (route refresh), RFC 6793 (AS numbers of four bytes), RFC 8654 (long messages).

Its messages are notices: neither side asks. Read are how a session is opened and why it is closed; of updates only that
they come. Each message begins with 16 bytes of ones, so that reading can resume anywhere.
"""

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_MARKER = b"\xff" * 16
_OPEN, _NOTIFICATION = 1, 3
_TYPES = {1: "open", 2: "update", 3: "notification", 4: "keepalive", 5: "route_refresh"}
_SIZES = {1: (29, 4096), 2: (23, 65535), 3: (21, 65535), 4: (19, 19), 5: (23, 65535)}
"""The least and greatest length of each (RFC 4271 section 4, RFC 8654 section 3)."""
_ERRORS = {
    1: "message_header_error",
    2: "open_message_error",
    3: "update_message_error",
    4: "hold_timer_expired",
    5: "finite_state_machine_error",
    6: "cease",
    7: "route_refresh_error",
    8: "send_hold_timer_expired",
}
_AS_TRANS = 23456
_CAPABILITIES, _FOUR_BYTES = 2, 65


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data[:16] != _MARKER[: len(data)]:
        return NO
    if len(data) < 19:
        return MORE
    return YES if _size(data, 0) else NO


def _size(data: bytes, at: int) -> int:
    """Give the length of the message whose 19 bytes of header are at `at`; 0: it is none."""
    size, kind = data[at + 16] << 8 | data[at + 17], data[at + 18]
    low, high = _SIZES.get(kind, (1, 0))
    return size if low <= size <= high else 0


class _Bgp(Framed):
    """Keeps nothing but what has come of a message."""

    __slots__ = ()

    resumable = True

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if data[at : at + 16] != _MARKER[: len(data) - at]:
            raise ParseError("marker")
        if len(data) - at < 19:
            return MORE_NEEDED
        size = _size(data, at)
        if not size:
            raise ParseError("header")
        return size, size if data[at + 18] == _OPEN else min(size, 21)

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        kind = data[18]
        if kind == _OPEN:
            attrs = {"bgp.as": str(_autonomous_system(data)), "bgp.hold_time": str(data[22] << 8 | data[23])}
            found.append(Message(kind=Kind.NOTICE, op="open", version=str(data[19]), attrs=attrs))
        elif kind == _NOTIFICATION:
            status = _ERRORS.get(data[19], "other")
            attrs = {"bgp.notification.subcode": str(data[20])}
            found.append(Message(kind=Kind.NOTICE, op="notification", status=status, error=True, attrs=attrs))
        else:
            found.append(Message(kind=Kind.NOTICE, op=_TYPES[kind]))

    def resumes(self, side: int, data: bytes) -> bool:
        return len(data) >= 19 and data[:16] == _MARKER and _size(data, 0) != 0

    def idle(self) -> bool:
        return self.resting()


def _autonomous_system(data: bytes) -> int:
    """Read who sent an OPEN: where two bytes are too few, a capability says it (RFC 6793 section 3, RFC 5492)."""
    number = data[20] << 8 | data[21]
    if number != _AS_TRANS:
        return number
    at, end = 29, min(len(data), 29 + data[28])
    while at + 2 <= end:
        kind, stop = data[at], at + 2 + data[at + 1]
        at += 2
        while kind == _CAPABILITIES and at + 2 <= min(stop, end):
            if data[at : at + 2] == bytes((_FOUR_BYTES, 4)) and at + 6 <= end:
                return int.from_bytes(data[at + 2 : at + 6], "big")
            at += 2 + data[at + 1]
        at = stop
    return number


DISSECTOR = Dissector(
    name="bgp",
    transports=frozenset({"tcp"}),
    ports=frozenset({179}),
    operations=frozenset(_TYPES.values()),
    statuses=frozenset(_ERRORS.values()),
    probe=_probe,
    parser=_Bgp,
    reads="messages, AS number, hold time, why a session is closed",
    specification="RFC 4271, 2918, 5492, 6793, 8654",
)
