"""SSH 2 and 1: RFC 4253, RFC 4250; SSH 1's identification only.

Read is what is in the clear: both identifications, the offers of algorithms, the key exchange's end, a disconnect.
After NEWKEYS a side is encrypted and no more of it is wanted. All messages are notices. A server may send lines before
its identification (section 4.2); so the other side's is what proves it then.
"""

from exporter.dissector import Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.ssh_packets import (
    DISCONNECT,
    KEXINIT,
    NEWKEYS,
    Offer,
    agree,
    body,
    offer,
    recognise,
)
from exporter.formats.stream import Collector, Inbox
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_MAX_LINE = 1024
"""An identification has 255 bytes at most; other lines have no limit there, and this one here."""
_MAX_LINES = 64
_MAX_PACKET = 35000
"""Section 6.1."""
_CLIENTS = frozenset({30, 32, 34})
"""Messages that a client sends: the first of a key exchange (RFC 4253 section 8, RFC 4419 section 5, RFC 5656)."""

_REASONS = {
    1: "host_not_allowed",
    2: "protocol_error",
    3: "key_exchange_failed",
    5: "mac_error",
    6: "compression_error",
    7: "service_not_available",
    8: "version_not_supported",
    9: "host_key_not_verifiable",
    10: "connection_lost",
    11: "by_application",
    12: "too_many_connections",
    13: "auth_cancelled",
    14: "no_more_auth_methods",
    15: "illegal_user_name",
}
"""RFC 4250 section 4.2.2."""


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return recognise(data)


class _Side:
    """One side's bytes, and how far it has come."""

    __slots__ = ("done", "inbox", "lines", "offer", "version")

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.lines = 0
        self.version = ""
        self.offer: Offer = ()
        self.done = False


class _Ssh(Collector):
    """A connection until both sides are encrypted."""

    __slots__ = ("_client", "_sides")

    def __init__(self, ends: Ends) -> None:
        self._sides = (_Side(), _Side())
        self._client = 0

    def skip(self, side: int) -> int:
        return -1 if self._sides[side].done else 0

    def _read(self, side: int, data: bytes, found: list[Message]) -> None:
        state = self._sides[side]
        if state.done or not (data := state.inbox.add(data)):
            return
        at, need = 0, 1
        if not state.version and not state.lines and data[:2] == b"\0\0":
            state.version = "2.0"  # packets: its identification was not seen
        if not state.version:
            at = self._lines(side, data, found)
            need = len(data) - at + 1
        while state.version and not state.done:
            need = 4
            if len(data) - at < need:
                break
            size = int.from_bytes(data[at : at + 4], "big")
            if not 6 <= size <= _MAX_PACKET:
                raise ParseError("packet")
            need = 4 + size
            if len(data) - at < need:
                break
            self._packet(side, data[at + 4 : at + need], found)
            at += need
        if not state.done:
            state.inbox.keep(data[at:], need)

    def _lines(self, side: int, data: bytes, found: list[Message]) -> int:
        """Pass over lines up to the identification; give where what is not read begins."""
        state = self._sides[side]
        at = 0
        while not state.version:
            end = data.find(b"\n", at, at + _MAX_LINE)
            if end < 0:
                if len(data) - at >= _MAX_LINE:
                    raise ParseError("line")
                return at
            line = data[at:end].removesuffix(b"\r")
            at = end + 1
            state.lines += 1
            if line.startswith(b"SSH-"):
                self._identified(side, line, found)
            elif state.lines > _MAX_LINES:
                raise ParseError("line")
        return at

    def _identified(self, side: int, line: bytes, found: list[Message]) -> None:
        state = self._sides[side]
        version, dash, _ = line[4:].partition(b"-")
        if not dash or not 0 < len(version) <= 4:
            raise ParseError("version")
        state.version = clean(version)
        attrs: dict[str, str | tuple[str, ...]] = {"ssh.version_string": clean(line, 255)}
        found.append(Message(kind=Kind.NOTICE, op="identification", version=_label(version), attrs=attrs))
        for each in self._sides:  # SSH 1 is another protocol from here on, whichever side knows no better
            each.done = each.done or (each.version != "" and any(_is_old(s.version) for s in self._sides))

    def _packet(self, side: int, packet: bytes, found: list[Message]) -> None:
        state = self._sides[side]
        number, data = body(packet)
        if number in _CLIENTS:
            self._client = side
        elif number == KEXINIT:
            state.offer = offer(data)
            found.append(Message(kind=Kind.NOTICE, op="kexinit"))
        elif number == DISCONNECT:
            status = _REASONS.get(int.from_bytes(data[:4], "big"), "other")
            failed = status != "by_application"
            found.append(Message(kind=Kind.NOTICE, op="disconnect", status=status, error=failed))
        elif number == NEWKEYS:
            state.done = True
            if self._sides[1 - side].done:
                found.append(Message(kind=Kind.NOTICE, op="established", attrs=self._agreed()))

    def _agreed(self) -> dict[str, str | tuple[str, ...]]:
        client, server = self._sides[self._client].offer, self._sides[1 - self._client].offer
        return agree(client, server) if client and server else {}


def _is_old(version: str) -> bool:
    return version.startswith("1.") and version != "1.99"


def _label(version: bytes) -> str:
    """Versions become labels: 2.0, 1.99 (knows both) or 1."""
    text = version.decode("ascii", "replace")
    return text if text in ("2.0", "1.99") else "1" if _is_old(text) else "other"


DISSECTOR = Dissector(
    name="ssh",
    transports=frozenset({"tcp"}),
    ports=frozenset({22}),
    operations=frozenset({"identification", "kexinit", "established", "disconnect"}),
    statuses=frozenset(_REASONS.values()),
    probe=_probe,
    parser=_Ssh,
    reads="identification of both sides, algorithms agreed on, end of the key exchange, disconnect's reason",
    specification="RFC 4253, 4250, 4419, 5656",
    idle=1800.0,
)
