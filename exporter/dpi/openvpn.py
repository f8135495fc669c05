"""OpenVPN over UDP and TCP: its own documentation of its protocol, and draft-openvpn-wire-protocol.

Read are the resets that begin and renew a session. It is recognised by a first reset alone; when a side sends data
nothing more is wanted of it. Over TCP each packet has its length before it.
"""

from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.formats.openvpn_packets import CLIENT_RESETS, DATA, OPCODES, RESETS, SOFT_RESET, is_reset
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_MAX_FIRST = 1500


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if ends.transport == "udp":
        return YES if is_reset(data) else NO
    if len(data) < 3:
        return MORE if not data or data[0] <= _MAX_FIRST >> 8 else NO
    size = data[0] << 8 | data[1]
    if not 14 <= size <= _MAX_FIRST or data[2] >> 3 not in RESETS or data[2] & 7:
        return NO
    if len(data) < 2 + size:
        return MORE
    return YES if is_reset(data[2 : 2 + size]) else NO


class _OpenVpn(Framed):
    """A session. `_data`: the sides that have sent data."""

    __slots__ = ("_data", "_stream")

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._stream = ends.transport == "tcp"
        self._data = [False, False]

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if self._stream:
            return super().feed(side, data)
        return self._packet(side, data[0] if data else 0)

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if self._data[side]:  # what comes with the first data is not wanted either
            return len(data) - at, 0
        if len(data) - at < 2:
            return MORE_NEEDED
        size = data[at] << 8 | data[at + 1]
        if not size:
            raise ParseError("length")
        return 2 + size, 3

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        found += self._packet(side, data[2])

    def skip(self, side: int) -> int:
        return -1 if self._data[side] else super().skip(side)

    def gap(self, side: int) -> bool:
        return not self._stream

    def _packet(self, side: int, first: int) -> list[Message]:
        opcode = first >> 3
        if opcode not in OPCODES:
            raise ParseError("opcode")
        if opcode in DATA:
            self._data[side] = True
        elif opcode in CLIENT_RESETS:
            return [Message(kind=Kind.REQUEST, op="reset")]
        elif opcode in RESETS:
            return [Message(kind=Kind.RESPONSE, op="reset", status="ok")]
        elif opcode == SOFT_RESET:
            return [Message(kind=Kind.NOTICE, op="soft_reset")]
        return []


DISSECTOR = Dissector(
    name="openvpn",
    transports=frozenset({"udp", "tcp"}),
    ports=frozenset({1194}),
    operations=frozenset({"reset", "soft_reset"}),
    statuses=frozenset({"ok"}),
    probe=_probe,
    parser=_OpenVpn,
    reads="resets: the beginning and renewal of a session",
    specification="draft-openvpn-wire-protocol",
    idle=300.0,
)
