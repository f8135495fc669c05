"""Google's QUIC over UDP, before the IETF's: Q024 to Q046, whose handshake is in the clear.

After "QUIC Crypto" and "QUIC Wire Layout Specification" (revisions of 2016) and quiche's sources. Q050,
T050 and T051 have the IETF's packets and belong to `quic`. When the client leaves the version out of its packets the
handshake is done.
"""

from exporter.dissector import Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.gquic_frames import frames
from exporter.formats.gquic_hello import OPERATIONS, hello
from exporter.formats.gquic_packet import Packet, packet, recognise
from exporter.formats.quic_frames import Crypto, Piece
from exporter.formats.stream import Datagrams
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return recognise(data)


class _Gquic(Datagrams):
    """A handshake. `_client` is the side that sent a hello; None: not seen."""

    __slots__ = ("_client", "_crypto", "_said", "_version")

    MOST = 64

    def __init__(self, ends: Ends) -> None:
        super().__init__()
        self._client: int | None = None
        self._crypto = (Crypto(), Crypto())
        self._said: set[str] = set()
        self._version = ""

    def _read(self, side: int, data: bytes, found: list[Message]) -> None:
        if not data or self._done:
            return
        head = packet(data)
        self._version = head.version or self._version
        if head.versions:
            self._once("version_negotiation", {}, found)
        elif head.reset:
            self._once("reset", {}, found)
        elif head.short and side == self._client:
            self._done = True
            self._once("established", {}, found)
        else:
            self._frames(side, data[head.at :], head, found)

    def _frames(self, side: int, payload: bytes, head: Packet, found: list[Message]) -> None:
        """Read what is no handshake in the clear as long as it makes sense: encrypted packets look alike."""
        crypto = self._crypto[side]
        try:
            for frame in frames(payload, head.number_size, "little" if self._version < "Q039" else "big"):
                if isinstance(frame, Piece) and (frame.offset or frame.data[:4] in OPERATIONS):
                    crypto.add(frame)
        except ParseError:
            pass
        if said := hello(crypto.start()):
            op, attrs = said
            if op == "client_hello":
                self._client = side
            self._once(op, attrs, found)

    def _once(self, op: str, attrs: dict[str, str | tuple[str, ...]], found: list[Message]) -> None:
        if op in self._said:
            return
        self._said.add(op)
        if self._version:
            attrs = {"quic.version": self._version, **attrs}
        label = self._version if op == "client_hello" else ""
        found.append(Message(kind=Kind.NOTICE, op=op, version=label, attrs=attrs))


DISSECTOR = Dissector(
    name="gquic",
    transports=frozenset({"udp"}),
    ports=frozenset({80, 443}),
    operations=frozenset(OPERATIONS.values()) | {"version_negotiation", "reset", "established"},
    statuses=frozenset(),
    probe=_probe,
    parser=_Gquic,
    reads="version, server name and user agent of the client's hello, rejection, version negotiation, reset",
    specification="QUIC Crypto, QUIC Wire Layout Specification (Google, 2016), quiche",
    idle=300.0,
)
