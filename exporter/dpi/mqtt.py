"""MQTT 3.1, 3.1.1 and 5.0 over TCP: OASIS MQTT 3.1.1, MQTT 5.0; MQTT 3.1 by IBM and Eurotech.

Read are packets, the client's name, the topic, and how they were answered; never a message, a password or a will. What
is published without an acknowledgement is a notice. A connection is recognised by its CONNECT alone: all other packets
are too short to prove anything.
"""

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError, ShortError
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.formats.mqtt_packets import (
    FLAGS,
    NAMES,
    REASONS,
    RETURN_CODES,
    VERSIONS,
    fixed_header,
    properties,
    text,
)
from exporter.formats.text import clean
from exporter.model import Kind, Message
from exporter.wire import Reader

__all__ = ["DISSECTOR"]

_CONNECT, _CONNACK, _PUBLISH, _PUBREL, _PUBCOMP = 1, 2, 3, 6, 7
_SUBSCRIBE, _SUBACK, _UNSUBSCRIBE, _UNSUBACK, _PINGREQ, _PINGRESP = 8, 9, 10, 11, 12, 13
_DISCONNECT = 14
_QUESTIONS = {4: _PUBLISH, 5: _PUBLISH, _PUBCOMP: _PUBREL, _SUBACK: _SUBSCRIBE, _UNSUBACK: _UNSUBSCRIBE}
"""What an acknowledgement with a packet identifier answers."""
_PROTOCOLS = (b"\0\4MQTT\4", b"\0\4MQTT\5", b"\0\6MQIsdp\3", b"\0\4MQTT\x84", b"\0\6MQIsdp\x83")
"""Name and level; with the high bit, a bridge's (as Mosquitto has it)."""
_PINGS = {
    _PINGREQ: Message(kind=Kind.REQUEST, op="pingreq", match="ping"),
    _PINGRESP: Message(kind=Kind.RESPONSE, status="success", match="ping"),
}
_READ = 1024
_FAILED = 0x80


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if not data:
        return MORE
    if data[0] != 0x10:
        return NO
    size, left = fixed_header(data, 0)
    if not size:
        return NO if left else MORE
    if left < 12:
        return NO
    head = data[size : size + 9]
    if not any(each.startswith(head[: len(each)]) for each in _PROTOCOLS):
        return NO
    return YES if head.startswith(_PROTOCOLS) else MORE


class _Mqtt(Framed):
    """One connection: its version, which the CONNECT told."""

    __slots__ = ("_level",)

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._level = 0

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        kind, flags = data[at] >> 4, data[at] & 0x0F
        free = kind == _PUBLISH or (
            self._level == 3 and kind in FLAGS
        )  # MQTT 3.1 has a quality of service there
        if kind not in NAMES or not (free or flags == FLAGS.get(kind, 0)):
            raise ParseError("type")
        size, left = _header(data, at)
        if not size:
            if left:
                raise ParseError("length")
            return MORE_NEEDED
        return size + left, min(size + left, _READ)

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        kind = data[0] >> 4
        if kind in _PINGS:
            found.append(_PINGS[kind])
            return
        reader = Reader(data, _header(data, 0)[0])
        try:
            if kind == _CONNECT:
                found.append(self._connect(reader))
            elif kind == _CONNACK:
                reader.skip(1)
                found.append(_response("connect", reader.u8(), RETURN_CODES if self._level < 5 else REASONS))
            elif kind == _PUBLISH:
                found.append(_publish(data[0], reader))
            elif kind in _QUESTIONS:
                found.append(self._acknowledgement(kind, reader))
            else:
                found.append(self._other(kind, reader))
        except ShortError:
            if len(data) < _READ:  # else it is longer than what is read of it, and says nothing
                raise ParseError("length") from None

    def _connect(self, reader: Reader) -> Message:
        text(reader)
        self._level = reader.u8() & 0x7F
        reader.skip(3)
        if self._level == 5:
            properties(reader)
        name = clean(text(reader), 128)
        attrs = {"messaging.client.id": name} if name else {}
        version = VERSIONS.get(self._level, "")
        return Message(kind=Kind.REQUEST, op="connect", match="connect", version=version, attrs=attrs)

    def _acknowledgement(self, kind: int, reader: Reader) -> Message:
        """Read what answers a packet by its identifier: before MQTT 5 it has no reason, but a SUBACK's."""
        serial = reader.u16()
        code = 0
        if kind in (_SUBACK, _UNSUBACK):
            if self._level == 5:
                properties(reader)
            codes = reader.rest()
            code = max((each for each in codes if each >= _FAILED), default=0)
        elif len(reader):
            code = reader.u8()
        return _response((NAMES[_QUESTIONS[kind]], serial), code, REASONS)

    def _other(self, kind: int, reader: Reader) -> Message:
        name = NAMES[kind]
        if kind in (_SUBSCRIBE, _UNSUBSCRIBE, _PUBREL):
            serial = reader.u16()
            if kind != _PUBREL and self._level == 5:
                properties(reader)
            topic = text(reader) if kind != _PUBREL else b""
            attrs = {"messaging.destination.name": clean(topic)} if topic else {}
            return Message(kind=Kind.REQUEST, op=name, match=(name, serial), attrs=attrs)
        code = reader.u8() if len(reader) else 0
        status = REASONS.get(code, "other")
        return Message(kind=Kind.NOTICE, op=name, status=status, error=code >= _FAILED)


def _header(data: bytes, at: int) -> tuple[int, int]:
    """As `fixed_header`, and quicker where the remaining length has one byte, as it mostly does."""
    left = data[at + 1] if at + 1 < len(data) else 0x80
    return (2, left) if left < 0x80 else fixed_header(data, at)


def _publish(first: int, reader: Reader) -> Message:
    topic = clean(text(reader))
    attrs = {"messaging.destination.name": topic} if topic else {}
    if not first & 6:
        return Message(kind=Kind.NOTICE, op="publish", attrs=attrs)
    return Message(kind=Kind.REQUEST, op="publish", match=("publish", reader.u16()), attrs=attrs)


def _response(match: str | tuple[str, int], code: int, codes: dict[int, str]) -> Message:
    error = code >= _FAILED or (codes is RETURN_CODES and code != 0)
    return Message(kind=Kind.RESPONSE, status=codes.get(code, "other"), error=error, match=match)


DISSECTOR = Dissector(
    name="mqtt",
    transports=frozenset({"tcp"}),
    ports=frozenset({1883}),
    operations=frozenset(
        {"connect", "publish", "pubrel", "subscribe", "unsubscribe", "pingreq", "disconnect", "auth"}
    ),
    statuses=frozenset(REASONS.values()) | frozenset(RETURN_CODES.values()),
    probe=_probe,
    parser=_Mqtt,
    reads="version, packets, client's name, topic, reason codes",
    specification="MQTT 3.1, 3.1.1, 5.0",
)
