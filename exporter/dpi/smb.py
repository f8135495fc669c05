"""SMB 1 to 3 over TCP, with or without NetBIOS's session service: MS-CIFS, MS-SMB2; RFC 1002 section 4.3.

Read are commands, statuses, the dialect and the share that is connected to, never a file's name or contents. Messages
of one frame may be chained. Once a message is encrypted (SMB 3) or compressed nothing more is wanted.
"""

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.formats.smb_commands import COMMANDS, COMMANDS_1, DIALECTS, STATUSES, failed
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_MAGICS = (b"\xfeSMB", b"\xffSMB", b"\xfdSMB", b"\xfcSMB")
_HEADER_2, _HEADER_1 = 64, 32
_SESSION = frozenset({0x81, 0x82, 0x83, 0x84, 0x85})
"""NetBIOS: session request, its three answers, keep-alive."""
_READ, _READ_CHAIN = 512, 65536
_MAX_CHAIN = 64
_NOBODY = 0xFFFFFFFFFFFFFFFF
"""The message id of what the server tells unasked (MS-SMB2 section 3.3.4.6)."""
_PENDING = 0x103


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if not data:
        return MORE
    at = 0
    if data[0]:
        if (
            data[0] not in (0x81, 0x82, 0x85)
            or data[1:4] != (b"\0\0\x44" if data[0] == 0x81 else b"\0\0\0")[: len(data) - 1]
        ):
            return NO
        at = 4 + data[3] if len(data) > 3 else len(data)
        if len(data) > 4 and data[0] == 0x81 and data[4] != 0x20:
            return NO
    head = data[at : at + 8]
    if head and head[0]:
        return NO
    if len(head) > 4 and not any(magic.startswith(head[4:]) for magic in _MAGICS):
        return NO
    if len(head) < 8:
        return MORE
    return YES if int.from_bytes(head[1:4], "big") >= _HEADER_1 else NO


class _Smb(Framed):
    """One connection, and what it has agreed on."""

    __slots__ = ("_version",)

    resumable = True

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._version = ""

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if data[at] and data[at] not in _SESSION:
            raise ParseError("frame")
        if len(data) - at < 4:
            return MORE_NEEDED
        size = 4 + int.from_bytes(data[at + 1 : at + 4], "big")
        if data[at] or size == 4:
            return size, min(size, 4)
        if len(data) - at < min(size, 28):
            return MORE_NEEDED
        chained = data[at + 4] == 0xFE and data[at + 24 : at + 28] != b"\0\0\0\0"
        return size, min(size, _READ_CHAIN if chained else _READ)

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        if len(data) == 4:
            return
        magic = data[4:8]
        if magic == b"\xfeSMB":
            self._chain(data[4:], found)
        elif magic == b"\xffSMB" and len(data) >= 4 + _HEADER_1:
            found.append(_first(data[4:]))
        elif magic in _MAGICS:
            self.done = self.over = True
        else:
            raise ParseError("magic")

    def resumes(self, side: int, data: bytes) -> bool:
        return not data[0] and data[4:8] in _MAGICS

    def _chain(self, data: bytes, found: list[Message]) -> None:
        """Read the messages of a frame: each tells where the next begins (MS-SMB2 section 2.2.1)."""
        at = 0
        for _ in range(_MAX_CHAIN):
            header = data[at : at + _HEADER_2]
            if len(header) < _HEADER_2 or header[:4] != b"\xfeSMB":
                if at:
                    return  # it was too long to be kept
                raise ParseError("header")
            following = int.from_bytes(header[20:24], "little")
            self._message(header, data[at + _HEADER_2 : at + following if following else None], found)
            if following < _HEADER_2:
                return
            at += following

    def _message(self, header: bytes, body: bytes, found: list[Message]) -> None:
        status, code = int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:14], "little")
        serial = int.from_bytes(header[24:32], "little")
        op = COMMANDS[code] if code < len(COMMANDS) else "other"
        if not header[16] & 1:
            kind = Kind.NOTICE if op == "cancel" else Kind.REQUEST
            attrs = _share(header, body) if op == "tree_connect" else {}
            found.append(Message(kind=kind, op=op, match=serial, version=self._version, attrs=attrs))
            return
        if status == _PENDING and header[16] & 2:  # an interim answer; the final one has the same id
            return
        if op == "negotiate" and not status:
            self._version = DIALECTS.get(int.from_bytes(body[4:6], "little"), "")
        kind = Kind.NOTICE if serial == _NOBODY else Kind.RESPONSE
        found.append(
            Message(
                kind=kind,
                op=op,
                status=STATUSES.get(status, "other"),
                error=failed(status),
                match=serial,
                version=self._version,
            )
        )


def _share(header: bytes, body: bytes) -> dict[str, str]:
    """Read a TREE_CONNECT request's path (MS-SMB2 section 2.2.9): UTF-16, at an offset from the header."""
    start = int.from_bytes(body[4:6], "little") - len(header)
    size = int.from_bytes(body[6:8], "little")
    raw = body[start : start + size] if start >= 8 else b""
    if not raw or len(raw) < size:
        return {}
    return {"smb.share": clean(raw.decode("utf-16-le", "replace").encode("utf-8", "replace"))}


def _first(data: bytes) -> Message:
    """Read an SMB 1 header (MS-CIFS section 2.2.3.1); its statuses may be DOS's, a class and a code."""
    op = COMMANDS_1.get(data[4], "other")
    match = (data[12:14], data[26:28], data[30:32])  # process id, its high and low half, and multiplex id
    if not data[9] & 0x80:
        return Message(kind=Kind.NOTICE if op == "cancel" else Kind.REQUEST, op=op, match=match, version="1")
    status = int.from_bytes(data[5:9], "little")
    if status and not data[11] & 0x40:
        return Message(kind=Kind.RESPONSE, op=op, status="other", error=True, match=match, version="1")
    name = STATUSES.get(status, "other")
    return Message(kind=Kind.RESPONSE, op=op, status=name, error=failed(status), match=match, version="1")


DISSECTOR = Dissector(
    name="smb",
    transports=frozenset({"tcp"}),
    ports=frozenset({139, 445}),
    operations=frozenset({*COMMANDS, *COMMANDS_1.values()}),
    statuses=frozenset(STATUSES.values()),
    probe=_probe,
    parser=_Smb,
    reads="commands, statuses, dialect, share; nothing of what is encrypted",
    specification="MS-SMB2, MS-CIFS, RFC 1002",
)
