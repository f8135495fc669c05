"""STUN and TURN: RFC 8489, RFC 8656, RFC 3489; over UDP and over TCP, there also in the frames of RFC 4571.

On the same ports goes what they were asked for (RFC 7983). A DTLS handshake takes the connection over; TURN's channels
and RTP are passed over, and it stays what it began as. Never kept: user name, password's digest, realm, nonce.
"""

from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.stream import Inbox, until
from exporter.formats.stun_messages import COOKIE, HEADER, METHODS, StunMessage, begins, is_message, parse
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_CODES = frozenset({300, 400, 401, 403, 405, 420, 437, 438, 440, 441, 442, 443, 446, 447, 486, 487, 500, 508})
"""IANA's registry of error codes."""
_PORT = 3478


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if ends.transport == "udp":
        return YES if is_message(data, bare=_PORT in (ends.port0, ends.port1)) else NO
    if not data or data[0] & 0xC0:
        return NO if data else MORE
    if len(data) < HEADER + 2:
        whole = data[4:8] == COOKIE[: len(data[4:8])] and data[0] < 0x40
        framed = data[6:10] == COOKIE[: len(data[6:10])]
        if len(data) >= HEADER and begins(data):
            return YES
        return MORE if whole or framed else NO
    if begins(data):
        return YES
    return YES if _framed(data) else NO


def _is_dtls(data: bytes) -> bool:
    """Tell a DTLS handshake's record of epoch 0 (RFC 6347 section 4.1), the first thing that a side sends."""
    return data[:2] == b"\x16\xfe" and len(data) > 25 and data[3:5] == b"\0\0"


def _framed(data: bytes) -> bool:
    """Tell a message behind two bytes with its length (RFC 4571 section 2)."""
    return begins(data[2 : 2 + HEADER]) and data[0] << 8 | data[1] == HEADER + (data[4] << 8 | data[5])


class _Stun(Parser):
    """A connection's messages. On TCP each side's are cut out of its stream, once it is known how they are framed."""

    __slots__ = ("_frame", "_inboxes", "_rest", "_stream")

    def __init__(self, ends: Ends) -> None:
        self._stream = ends.transport == "tcp"
        self._inboxes = (Inbox(), Inbox()) if self._stream else ()
        self._frame = -1
        """Bytes before each message on TCP: 0, or 2 in frames; -1: not known yet."""
        self._rest = (0, b"")

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if not self._stream:
            return self._datagram(side, data)
        found: list[Message] = []
        try:
            self._read(side, data, found)
        except ParseError as error:
            return until(error, found)
        return found

    def rest(self, side: int) -> bytes:
        its_side, data = self._rest
        return data if side == its_side else b""

    def gap(self, side: int) -> bool:
        return not self._stream

    def idle(self) -> bool:
        return not self._stream

    def _datagram(self, side: int, data: bytes) -> Iterable[Message]:
        if is_message(data, bare=True):
            return [_report(parse(data))]
        if not _is_dtls(data):
            return ()
        self._rest = (side, data)
        return [Message(kind=Kind.NOTICE, op="handover", switch="dtls")]

    def _read(self, side: int, data: bytes, found: list[Message]) -> None:
        inbox = self._inboxes[side]
        if not (data := inbox.add(data)):
            return
        at, need = 0, HEADER if self._frame < 0 else 4
        if self._frame < 0 and len(data) >= HEADER:
            self._frame = 0 if begins(data) else 2
            need = 4
        while self._frame >= 0 and len(data) - at >= need:
            need = self._size(data, at)
            if len(data) - at < need:
                break
            body = data[at + self._frame : at + need]
            if is_message(body):
                found.append(_report(parse(body)))
            at, need = at + need, 4
        inbox.keep(data[at:], need)

    def _size(self, data: bytes, at: int) -> int:
        """Give the size of the message or of the channel's data that is here, with its frame and padding."""
        if self._frame:
            return 2 + (data[at] << 8 | data[at + 1])
        size = data[at + 2] << 8 | data[at + 3]
        if data[at] & 0xF0 == 0x40:  # ChannelData is padded on a stream (RFC 8656 section 12.5)
            return 4 + (size + 3 & ~3)
        if data[at] & 0xC0 or size & 3:
            raise ParseError("message")
        return HEADER + size


def _report(found: StunMessage) -> Message:
    attrs: dict[str, str | tuple[str, ...]] = {}
    if found.software:
        attrs["stun.software"] = found.software
    if found.mapped:
        attrs["stun.mapped_address"] = found.mapped
    op = METHODS.get(found.method, "other")
    if found.group == 1:
        return Message(kind=Kind.NOTICE, op=op, attrs=attrs)
    if found.group == 0:
        return Message(kind=Kind.REQUEST, op=op, match=found.serial, attrs=attrs)
    failed = found.group == 3
    status = str(found.code) if found.code in _CODES else "other"
    return Message(
        kind=Kind.RESPONSE,
        op=op,
        status=status if failed else "success",
        error=failed,
        match=found.serial,
        attrs=attrs,
    )


DISSECTOR = Dissector(
    name="stun",
    transports=frozenset({"udp", "tcp"}),
    ports=frozenset({3478, 3479, 19302}),
    operations=frozenset(METHODS.values()) | {"handover"},
    statuses=frozenset(map(str, _CODES)) | {"success"},
    probe=_probe,
    parser=_Stun,
    reads="method, class, error code, software, mapped address; never user name, realm or nonce",
    specification="RFC 8489, 8656, 3489, 4571",
)
