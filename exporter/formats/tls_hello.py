"""The hellos of TLS, DTLS and QUIC: RFC 8446 section 4.1, RFC 5246 section 7.4.1, RFC 9147, 6066, 7301, 9849.

A hello keeps its extensions as bytes, in order; each is read when it is asked for, and only then. Input is a
handshake message's body, without its type and length. What is malformed raises `ParseError`.
"""

from struct import Struct, unpack

from exporter.errors import ParseError, ShortError
from exporter.formats.text import clean, host_name
from exporter.wire import Reader

__all__ = ["ClientHello", "ServerHello", "is_grease", "version_name"]

SERVER_NAME, GROUPS, POINT_FORMATS, SIGNATURES, ALPN = 0, 10, 11, 13, 16
TICKET, PSK, EARLY_DATA, VERSIONS, KEY_SHARE, ECH = 35, 41, 42, 43, 51, 0xFE0D

# Lists are read at positions: a cursor's calls took a third of what a whole hello may cost.
_ENTRY = Struct(">HH").unpack_from
_NAME = Struct(">BH").unpack_from
_HELLO = Struct(">H32sB").unpack_from
_START = 35
"""How both hellos begin: version, random, the length of the session's id."""

_MAX_EXTENSIONS = 128
_MAX_PROTOCOLS = 32
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a ServerHello that is a HelloRetryRequest (RFC 8446 section 4.1.3)."""

_GREASE = frozenset(range(0x0A0A, 0x10000, 0x1010))

_VERSIONS = {
    0x0002: "SSLv2",
    0x0300: "SSLv3",
    0x0301: "1.0",
    0x0302: "1.1",
    0x0303: "1.2",
    0x0304: "1.3",
    0xFEFF: "DTLS 1.0",
    0xFEFD: "DTLS 1.2",
    0xFEFC: "DTLS 1.3",
}


def version_name(code: int) -> str:
    """Name a version; TLS versions are bare numbers, TLS 1.3's drafts (0x7fxx, Facebook's 0xfbxx) count as it."""
    return _VERSIONS.get(code) or ("1.3" if code >> 8 in (0x7F, 0xFB) else f"0x{code:04x}")


def is_grease(code: int) -> bool:
    """Tell a value that is sent to be ignored (RFC 8701)."""
    return code in _GREASE


def _u16s(data: bytes) -> tuple[int, ...]:
    if len(data) & 1:
        raise ParseError("length")
    return unpack(f">{len(data) // 2}H", data)


def _end(data: bytes) -> int:
    """Give where a list ends that begins with its length in two bytes."""
    end = 2 + int.from_bytes(data[:2], "big")
    if end > len(data):
        raise ShortError
    return end


def _protocols(data: bytes) -> tuple[str, ...]:
    at, end = 2, _end(data)
    found: list[str] = []
    while at < end and len(found) < _MAX_PROTOCOLS:
        start = at + 1
        at = start + data[at]
        if at > end:
            raise ShortError
        raw = data[start:at]
        if raw and not (len(raw) == 2 and is_grease(raw[0] << 8 | raw[1])):
            found.append(clean(raw))
    return tuple(found)


def _extensions(reader: Reader) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    if len(reader) < 2:  # SSL 3.0 and early TLS 1.0
        return found
    window = reader.sub(reader.u16())
    data, at, end = window.data, window.pos, window.end
    while at < end:
        start = at + 4
        if start > end:
            raise ShortError
        kind, size = _ENTRY(data, at)
        at = start + size
        if at > end:
            raise ShortError
        found[kind] = data[start:at]
        if len(found) > _MAX_EXTENSIONS:
            raise ParseError("extensions")
    return found


class ClientHello:
    """What a client offers. `ciphers` are two bytes each, as sent."""

    __slots__ = ("ciphers", "extensions", "random", "session", "version")

    def __init__(self, data: bytes, *, dtls: bool = False) -> None:
        if len(data) < _START:
            raise ShortError
        self.version, self.random, size = _HELLO(data)
        """`version` is the legacy one: what a TLS 1.3 client calls itself to old servers."""
        reader = Reader(data, _START)
        self.session = reader.take(size)
        if len(self.session) > 32:
            raise ParseError("session")
        if dtls:
            reader.skip(reader.u8())  # the cookie
        self.ciphers = reader.take(reader.u16())
        if len(self.ciphers) & 1 or not self.ciphers:
            raise ParseError("ciphers")
        reader.skip(reader.u8())  # compression methods
        self.extensions = _extensions(reader)

    @classmethod
    def sslv2(cls, reader: Reader) -> "ClientHello":
        """Read the hello of SSL 2.0 from its version on, which later versions used too (RFC 5246 appendix E.2)."""
        hello = cls.__new__(cls)
        hello.version = reader.u16()
        sizes = (reader.u16(), reader.u16(), reader.u16())
        triples, hello.session, hello.random = (reader.take(size) for size in sizes)
        hello.ciphers = b"".join(triples[i + 1 : i + 3] for i in range(0, len(triples), 3) if not triples[i])
        hello.extensions = {}
        return hello

    @property
    def server_name(self) -> str:
        """The name asked for; with `ech` it is a cover name."""
        data = self.extensions.get(SERVER_NAME)
        if not data:
            return ""
        at, end = 2, _end(data)
        while at < end:
            start = at + 3
            if start > end:
                raise ShortError
            kind, size = _NAME(data, at)
            at = start + size
            if at > end:
                raise ShortError
            if kind == 0:
                return host_name(data[start:at])
        return ""

    @property
    def alpn(self) -> tuple[str, ...]:
        """The protocols offered."""
        data = self.extensions.get(ALPN)
        return _protocols(data) if data else ()

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions offered, without GREASE; from the legacy field where there is no such extension."""
        data = self.extensions.get(VERSIONS)
        if not data:
            return (self.version,)
        return tuple([v for v in _u16s(data[1 : 1 + data[0]]) if v not in _GREASE])

    @property
    def key_shares(self) -> tuple[int, ...]:
        """The groups that a key share was sent for, without GREASE."""
        data = self.extensions.get(KEY_SHARE)
        if not data:
            return ()
        shares = Reader(data)
        shares = shares.sub(shares.u16())
        found: list[int] = []
        while len(shares) and len(found) < _MAX_EXTENSIONS:
            group = shares.u16()
            shares.skip(shares.u16())
            if not is_grease(group):
                found.append(group)
        return tuple(found)

    @property
    def early_data(self) -> bool:
        """Encrypted data may follow at once (0-RTT)."""
        return EARLY_DATA in self.extensions

    @property
    def resumes(self) -> bool:
        """A session is offered for resumption: by its ticket or pre-shared key, or in the old way by its id."""
        found = self.extensions
        return PSK in found or bool(found.get(TICKET)) or (VERSIONS not in found and bool(self.session))

    @property
    def ech(self) -> bool:
        """An outer hello of Encrypted Client Hello, or one that pretends to be (GREASE): not told apart by design."""
        return self.extensions.get(ECH, b"\x01")[:1] == b"\x00"


class ServerHello:
    """What a server chose."""

    __slots__ = ("cipher", "extensions", "random", "session", "version")

    def __init__(self, data: bytes) -> None:
        reader = Reader(data)
        version = reader.u16()
        self.random = reader.take(32)
        draft = (
            version >> 8 == 0x7F
        )  # up to draft 21 of TLS 1.3 there was neither session nor compression here
        self.session = b"" if draft else reader.take(reader.u8())
        if len(self.session) > 32:
            raise ParseError("session")
        self.cipher = reader.u16()
        if not draft:
            reader.skip(1)
        self.extensions = _extensions(reader)
        chosen = self.extensions.get(VERSIONS, b"")
        self.version = int.from_bytes(chosen, "big") if len(chosen) == 2 else version
        """The negotiated version."""

    @property
    def retry(self) -> bool:
        """It is a HelloRetryRequest: the client sends another hello."""
        return self.random == _RETRY

    @property
    def modern(self) -> bool:
        """TLS 1.3 or DTLS 1.3: all that follows is encrypted."""
        return self.version in (0x0304, 0xFEFC) or self.version >> 8 in (0x7F, 0xFB)

    @property
    def alpn(self) -> str:
        """The protocol chosen, where it is said in the clear (TLS up to 1.2)."""
        data = self.extensions.get(ALPN)
        chosen = _protocols(data) if data else ()
        return chosen[0] if chosen else ""

    @property
    def psk(self) -> bool:
        """A pre-shared key was accepted: in TLS 1.3 that is how a session is resumed."""
        return PSK in self.extensions
