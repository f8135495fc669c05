"""RDP's connection as far as it is in the clear: MS-RDPBCGR sections 2.2.1.1 and 2.2.1.2; over UDP: MS-RDPEUDP.

The client asks with a connection request (X.224) that may name the security protocols it can do, and a user or a token
for a load balancer, which are not kept; the server chooses. With TLS or CredSSP, TLS follows; with RDP's own security
nothing more is wanted. A connection over UDP is known by the datagrams that open it (MS-RDPEUDP section 3.1.5.1).
"""

from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats import tpkt
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_TOKENS = (b"Cookie: ", b"tsv://")
_REQUEST, _RESPONSE, _FAILURE = 1, 2, 3
_MCS = (b"\x7f\x65", b"\x7f\x66")
"""T.125's Connect-Initial and Connect-Response, in BER."""
_PROTOCOLS = {0: "rdp", 1: "tls", 2: "credssp", 4: "rdstls", 8: "credssp_early", 16: "aad"}
_FAILURES = (
    "ok",
    "ssl_required",
    "ssl_not_allowed",
    "ssl_cert_not_on_server",
    "inconsistent_flags",
    "hybrid_required",
    "ssl_with_user_auth_required",
)
"""Section 2.2.1.2.2."""
_SYN, _ACK = 1, 4
_SYN_FLAGS = 0x1A05
"""Those of a datagram that opens: SYN, ACK, lossy, with a correlation identifier, with an extension."""
_MTUS = range(1132, 1233)


def _opens(data: bytes) -> bool:
    """Tell a datagram that opens a connection over UDP, or the answer: it is as long as may be sent."""
    if len(data) not in _MTUS or not data[7] & _SYN or (data[6] << 8 | data[7]) & ~_SYN_FLAGS:
        return False
    if not data[7] & _ACK and data[:4] != b"\xff\xff\xff\xff":
        return False
    return data[12] << 8 | data[13] in _MTUS and data[14] << 8 | data[15] in _MTUS


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if ends.transport == "udp":
        return YES if _opens(data) else NO
    size = tpkt.size(data, 0)
    if size == tpkt.MORE_TPKT:
        return MORE
    kind = data[5] & 0xF0 if size > 0 else 0
    if kind not in (tpkt.CONNECT, tpkt.CONFIRM, tpkt.DATA):
        return NO
    if kind == tpkt.DATA:
        return YES if data[7:9] in _MCS else MORE if len(data) < 9 and data[7:8] in (b"", b"\x7f") else NO
    if size < 11 or data[4] != size - 5:
        return NO
    variable = data[11:size]
    if size == 11:
        return _following(data[11:])
    if kind == tpkt.CONNECT and (known := _token(variable)) != NO:
        return known
    return _negotiation(kind, variable) if len(variable) >= min(8, size - 11) else MORE


def _following(data: bytes) -> int:
    """After a request without anything in it (or its confirmation) MCS must follow: others begin so, too."""
    size = tpkt.size(data, 0)
    if size == tpkt.MORE_TPKT or (size > 0 and len(data) < 9):
        return MORE
    return YES if size > 0 and data[7:9] in _MCS else NO


def _token(variable: bytes) -> int:
    if any(variable.startswith(token) for token in _TOKENS):
        return YES
    return MORE if any(token.startswith(variable) for token in _TOKENS) else NO


def _negotiation(kind: int, data: bytes) -> int:
    wanted = (_REQUEST,) if kind == tpkt.CONNECT else (_RESPONSE, _FAILURE)
    if len(data) < 8 or data[0] not in wanted or data[2:4] != b"\x08\0":
        return NO
    return YES if data[5:8] == b"\0\0\0" and data[4] < 32 else NO


class _Udp(Parser):
    """A flow. `_opened`: the sides that have said all that is read."""

    __slots__ = ("_opened",)

    def __init__(self, ends: Ends) -> None:
        self._opened = [False, False]

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if not _opens(data):
            raise ParseError("datagram")
        self._opened[side] = True
        if data[7] & _ACK:
            return [Message(kind=Kind.RESPONSE, op="connect", status="ok")]
        return [Message(kind=Kind.REQUEST, op="connect")]

    def skip(self, side: int) -> int:
        return -1 if self._opened[side] else 0

    def gap(self, side: int) -> bool:
        return True


class _Tcp(Framed):
    """A connection until its security protocol is chosen."""

    __slots__ = ()

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        size = tpkt.size(data, at)
        if size == tpkt.MORE_TPKT:
            return MORE_NEEDED
        if size < 0:
            raise ParseError("tpkt")
        return size, min(size, 512)

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        kind, variable, _ = tpkt.contents(data)
        if kind == tpkt.CONNECT:
            found.append(_request(variable))
        elif kind == tpkt.CONFIRM:
            self.over = True
            found.append(_answer(variable))
            self.done = found[-1].switch is None
        else:
            self.done = self.over = True


def _request(variable: bytes) -> Message:
    """Read what the client can do, after a line of text (of which there may be none)."""
    after = variable.partition(b"\r\n")[2] if _token(variable) == YES else variable
    attrs = {}
    if len(after) >= 8 and after[0] == _REQUEST and after[2:4] == b"\x08\0":
        offered = int.from_bytes(after[4:8], "little")
        names = [name for bit, name in _PROTOCOLS.items() if bit and offered & bit]
        attrs["rdp.requested_protocols"] = ",".join(names) or "rdp"
    return Message(kind=Kind.REQUEST, op="connect", attrs=attrs)


def _answer(variable: bytes) -> Message:
    if len(variable) < 8 or variable[0] not in (_RESPONSE, _FAILURE):
        return Message(kind=Kind.RESPONSE, op="connect", status="ok", attrs={"rdp.selected_protocol": "rdp"})
    code = int.from_bytes(variable[4:8], "little")
    if variable[0] == _FAILURE:
        status = _FAILURES[code] if 0 < code < len(_FAILURES) else "other"
        return Message(kind=Kind.RESPONSE, op="connect", status=status, error=True)
    attrs = {"rdp.selected_protocol": _PROTOCOLS.get(code, "other")}
    return Message(kind=Kind.RESPONSE, op="connect", status="ok", attrs=attrs, switch="tls" if code else None)


def _parser(ends: Ends) -> Parser:
    return _Tcp(ends) if ends.transport == "tcp" else _Udp(ends)


DISSECTOR = Dissector(
    name="rdp",
    transports=frozenset({"tcp", "udp"}),
    ports=frozenset({3389}),
    operations=frozenset({"connect"}),
    statuses=frozenset(_FAILURES),
    probe=_probe,
    parser=_parser,
    reads="security protocols offered and chosen, why a connection is refused; hands over to TLS",
    specification="MS-RDPBCGR, MS-RDPEUDP, RFC 1006, ITU-T X.224",
)
