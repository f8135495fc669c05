"""QUIC over UDP: RFC 9000, 9001 and 8999; version 2 (RFC 9369); drafts 17 to 34; mvfst; Google's Q050 to T051.

Read is what everybody on the path can read: Initial packets, whose keys follow from the client's first connection id.
They carry both hellos and the reason of an early close. A Retry, another version and another connection on the same
ports show in that a packet opens with the keys of its own connection id. When the client sends its first short packet
the handshake is `established` and nothing more is wanted. The notices' operations drive the states in `flow/quic.py`.
"""

from exporter.dissector import Dissector, Ends
from exporter.formats import gquic_frames, gquic_hello, quic_versions
from exporter.formats.quic_frames import Crypto, Piece, frames
from exporter.formats.quic_keys import Keys, initial_keys
from exporter.formats.quic_packet import HANDSHAKE, INITIAL, NEGOTIATION, RETRY, Long, long_packet, recognise
from exporter.formats.quic_report import OPERATIONS, STATUSES, close, hello, notice
from exporter.formats.stream import Datagrams
from exporter.formats.tls_hello import ClientHello, ServerHello
from exporter.formats.tls_records import CLIENT_HELLO, SERVER_HELLO
from exporter.formats.tls_report import established, server_hello
from exporter.model import Message

__all__ = ["DISSECTOR"]

_MAX_TRIALS = 16
"""Connection ids for which keys are derived in vain."""
_MAX_CID = 20


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return recognise(data)


class _Quic(Datagrams):
    """A handshake. `_client` is the side whose packets open with the client's keys; None: none has."""

    __slots__ = (
        "_cid",
        "_client",
        "_crypto",
        "_expected",
        "_keys",
        "_random",
        "_resumed",
        "_said",
        "_trials",
    )

    MOST = 96
    """So many datagrams without an end of the handshake, and nothing is expected of it any more."""

    def __init__(self, ends: Ends) -> None:
        super().__init__()
        self._cid = b""
        """The client's first connection id."""
        self._client: int | None = None
        self._crypto = (Crypto(), Crypto())
        self._expected = [0, 0]
        self._keys: dict[int, tuple[Keys, Keys]] = {}
        """By version: client and server may agree on another one than they began with (RFC 9368)."""
        self._random = b""
        self._resumed = False
        self._said: set[str] = set()
        self._trials = _MAX_TRIALS

    def _read(self, side: int, data: bytes, found: list[Message]) -> None:
        """Read a datagram's packets, one after the other; a short one is always the last."""
        at = 0
        while at < len(data) and data[at] & 0xC0 and not self._done:
            if not data[at] & 0x80:
                self._short(side, found)
                return
            packet = long_packet(data, at)
            self._long(side, packet, found)
            if not packet.whole or packet.kind in (RETRY, NEGOTIATION):
                return
            at += len(packet.data)

    def _once(self, op: str, found: list[Message], version: str = "") -> None:
        """Say what is new: a kind of packet, or one of another version."""
        key = op + version
        if key not in self._said and len(self._said) < _MAX_TRIALS:
            self._said.add(key)
            label = version if op == "handshake" else ""
            found.append(notice(op, {"quic.version": version} if version else {}, label))

    def _short(self, side: int, found: list[Message]) -> None:
        if not self._said:  # no packet of a connection that we know
            return
        self._once("short", found)
        if side == self._client:
            found.append(established(resumed=self._resumed) if self._random else notice("established", {}))
            self._done = True

    def _long(self, side: int, packet: Long, found: list[Message]) -> None:
        if packet.kind == NEGOTIATION:
            self._once("version_negotiation", found)
        elif packet.kind == RETRY:
            self._once("retry", found)
        elif version := quic_versions.version(packet.version):
            if packet.kind == INITIAL:
                self._once("initial", found, version.name)
                if packet.whole and (payload := self._open(side, packet, version)):
                    self._initial(side, payload, version, found)
            elif packet.kind == HANDSHAKE:
                self._once("handshake", found, version.name)

    def _open(self, side: int, packet: Long, version: quic_versions.Version) -> bytes:
        """Decrypt an Initial with the keys that we have, else with those of its own connection id."""
        if self._client is not None:
            keys = self._keys.get(packet.version)
            if keys is None:
                keys = self._keys[packet.version] = initial_keys(version.salts[0], self._cid, version.prefix)
            opened = keys[side != self._client].open(packet.data, packet.number, self._expected[side])
            if opened:
                self._expected[side] = max(self._expected[side], opened[0] + 1)
                return opened[1]
        if packet.cid == self._cid or self._trials <= 0 or self._client not in (None, side):
            return b""
        for salt in version.salts:
            self._trials -= 1
            keys = initial_keys(salt, packet.cid, version.prefix)
            if opened := keys[0].open(packet.data, packet.number, 0):
                self._begin(side, packet, keys)
                self._expected[side] = opened[0] + 1
                return opened[1]
        return b""

    def _begin(self, side: int, packet: Long, keys: tuple[Keys, Keys]) -> None:
        """Take up a connection by its client's first packet: the first one, or what follows a Retry."""
        self._client = side
        self._cid = packet.cid
        self._keys = {packet.version: keys}
        self._crypto = (Crypto(), Crypto())
        self._expected = [0, 0]

    def _initial(
        self, side: int, payload: bytes, version: quic_versions.Version, found: list[Message]
    ) -> None:
        crypto = self._crypto[side]
        for frame in gquic_frames.frames(payload) if version.google else frames(payload):
            if isinstance(frame, Piece):
                crypto.add(frame)
            else:
                found.append(close(frame))
        if not version.tls:
            if (said := gquic_hello.hello(crypto.start())) and said[0] not in self._said:
                self._said.add(said[0])
                found.append(notice(*said))
            return
        for kind, body in crypto.messages():
            if kind == CLIENT_HELLO and side == self._client:
                asked = ClientHello(body)
                if asked.random != self._random:  # not the one from before a Retry
                    self._random = asked.random
                    found.append(hello(asked, version))
            elif kind == SERVER_HELLO and side != self._client:
                chosen = ServerHello(body)
                self._resumed = chosen.psk
                found.append(notice("server_hello", server_hello(chosen).attrs))  # the version is QUIC's


DISSECTOR = Dissector(
    name="quic",
    transports=frozenset({"udp"}),
    ports=frozenset({443, 784, 853, 4433, 4434, 8443}),
    operations=OPERATIONS,
    statuses=STATUSES,
    probe=_probe,
    parser=_Quic,
    reads="version, server name, ALPN, cipher, JA4, resumption, idle timeout, Retry, negotiation, early close",
    specification="RFC 8999, 9000, 9001, 9368, 9369",
)
