"""S7 communication over TCP (in TPKT and COTP: RFC 1006). Siemens publishes no specification.

The format is as the public dissectors and client libraries of it agree (Wireshark's packet-s7comm.c, Snap7). Read are
functions and error classes; never an address or a value. What connects alike and then speaks another protocol (MMS,
say) is none of it: S7's own first byte proves it.
"""

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats import tpkt
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_MAGIC = 0x32
_JOB, _ACK, _ACK_DATA, _USER_DATA = 1, 2, 3, 7
_KINDS = frozenset({_JOB, _ACK, _ACK_DATA, _USER_DATA})
_FUNCTIONS = {
    0x00: "cpu_services",
    0x04: "read",
    0x05: "write",
    0x1A: "request_download",
    0x1B: "download_block",
    0x1C: "download_ended",
    0x1D: "start_upload",
    0x1E: "upload",
    0x1F: "end_upload",
    0x28: "plc_control",
    0x29: "plc_stop",
    0xF0: "setup_communication",
}
_GROUPS = {
    0: "mode_transition",
    1: "programmer_commands",
    2: "cyclic_services",
    3: "block_functions",
    4: "cpu_functions",
    5: "security",
    6: "pbc",
    7: "time_functions",
    15: "nc_programming",
}
"""Of user data, by the low half of a byte whose high half tells requests (4), responses (8) and pushes (0) apart."""
_CLASSES = {
    0x00: "ok",
    0x81: "application_relationship",
    0x82: "object_definition",
    0x83: "no_resources",
    0x84: "service_processing",
    0x85: "supplies",
    0x87: "access",
}
_PARAMETERS = (b"", b"\xc0", b"\xc1", b"\xc2")
"""The size of TPDUs, the calling and the called selector (ITU-T X.224 section 13.3.4)."""
_READ = 64
_MAX_TPDU = 8192


def _probe(side: int, data: bytes, ends: Ends) -> int:
    """Look behind a connection's request or confirmation: S7 follows it from the same side."""
    at = 0
    for _ in range(2):
        size = tpkt.size(data, at)
        if size == tpkt.MORE_TPKT:
            return MORE
        if size < 0 or size > _MAX_TPDU:
            return NO
        kind = data[at + 5] & 0xF0
        if kind == tpkt.DATA:
            return _recognise(data[at + 7 : at + size], size - 7)
        if kind not in (tpkt.CONNECT, tpkt.CONFIRM):
            return NO
        if size > 11 and data[at + 11 : at + 12] not in _PARAMETERS:
            return NO
        at += size
    return NO


def _recognise(data: bytes, size: int) -> int:
    if (data and data[0] != _MAGIC) or size < 10:
        return NO
    if len(data) < 10:
        return MORE
    kind = data[1]
    if kind not in _KINDS or data[2:4] != b"\0\0":
        return NO
    header = 12 if kind in (_ACK, _ACK_DATA) else 10
    return YES if header + (data[6] << 8 | data[7]) + (data[8] << 8 | data[9]) == size else NO


class _S7comm(Framed):
    """Keeps nothing but what has come of a message."""

    __slots__ = ()

    resumable = True

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        size = tpkt.size(data, at)
        if size == tpkt.MORE_TPKT:
            return MORE_NEEDED
        if size < 0:
            raise ParseError("tpkt")
        return size, min(size, _READ)

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        kind, _, body = tpkt.contents(data)
        if kind == tpkt.CONNECT:
            found.append(Message(kind=Kind.REQUEST, op="connect", match="connect"))
        elif kind == tpkt.CONFIRM:
            found.append(Message(kind=Kind.RESPONSE, op="connect", status="ok", match="connect"))
        elif kind == tpkt.DATA and len(body) >= 12 and body[0] == _MAGIC:
            message = _message(body)
            if message is not None:
                found.append(message)

    def resumes(self, side: int, data: bytes) -> bool:
        return tpkt.size(data, 0) > 0 and data[7:8] == b"\x32"

    def idle(self) -> bool:
        return self.resting()


def _message(body: bytes) -> Message | None:
    kind, match = body[1], body[4:6]
    if kind == _USER_DATA:
        return _user_data(body, match)
    if kind == _JOB:
        return Message(kind=Kind.REQUEST, op=_FUNCTIONS.get(body[10], "other"), match=match)
    if kind not in _KINDS:
        return None
    op = _FUNCTIONS.get(body[12], "other") if len(body) > 12 else ""
    status = _CLASSES.get(body[10], "other")
    return Message(kind=Kind.RESPONSE, op=op, status=status, error=status != "ok", match=match)


def _user_data(body: bytes, match: bytes) -> Message | None:
    """Read a parameter head: 00 01 12, a length, how it is sent, and its type and group."""
    if len(body) < 18 or body[10:13] != b"\0\x01\x12":
        return None
    op = _GROUPS.get(body[15] & 15, "other")
    if body[15] >> 4 == 4:
        return Message(kind=Kind.REQUEST, op=op, match=match)
    if body[15] >> 4 == 0:
        return Message(kind=Kind.NOTICE, op=op)
    failed = len(body) > 21 and body[20:22] != b"\0\0"
    return Message(kind=Kind.RESPONSE, op=op, status="other" if failed else "ok", error=failed, match=match)


DISSECTOR = Dissector(
    name="s7comm",
    transports=frozenset({"tcp"}),
    ports=frozenset({102}),
    operations=frozenset({*_FUNCTIONS.values(), *_GROUPS.values(), "connect"}),
    statuses=frozenset(_CLASSES.values()),
    probe=_probe,
    parser=_S7comm,
    reads="functions, error classes",
    specification="RFC 1006, ITU-T X.224; S7: none is published",
)
