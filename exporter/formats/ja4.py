"""JA4: a fingerprint of what a TLS client is, from its hello (FoxIO, JA4 technical details; the licence is BSD)."""

from collections.abc import Iterable
from hashlib import sha256

from exporter.formats.tls_hello import ClientHello, is_grease
from exporter.wire import Reader

__all__ = ["ja4"]

_SERVER_NAME, _SIGNATURES, _ALPN = 0, 13, 16
_VERSIONS = {
    0x0002: "s2",
    0x0300: "s3",
    0x0301: "10",
    0x0302: "11",
    0x0303: "12",
    0x0304: "13",
    0xFEFF: "d1",
    0xFEFD: "d2",
    0xFEFC: "d3",
}
_NOTHING = "0" * 12


def ja4(hello: ClientHello, transport: str) -> str:
    """Give the fingerprint; `transport` is t (TCP), q (QUIC) or d (DTLS)."""
    raw = hello.ciphers
    ciphers = [raw[i] << 8 | raw[i + 1] for i in range(0, len(raw), 2)]
    ciphers = [code for code in ciphers if not is_grease(code)]
    kinds = [kind for kind in hello.extensions if not is_grease(kind)]
    # DTLS counts its versions downwards.
    newest = (min if transport == "d" else max)(hello.versions, default=0)
    named = "d" if _SERVER_NAME in hello.extensions else "i"
    counts = f"{min(len(ciphers), 99):02d}{min(len(kinds), 99):02d}"
    start = f"{transport}{_VERSIONS.get(newest, '00')}{named}{counts}{_alpn(hello)}"
    others = _listed(kind for kind in sorted(kinds) if kind not in (_SERVER_NAME, _ALPN))
    if signatures := _listed(_signatures(hello)):
        others += "_" + signatures
    return f"{start}_{_hash(_listed(sorted(ciphers)))}_{_hash(others) if kinds else _NOTHING}"


def _alpn(hello: ClientHello) -> str:
    """The first and last letter of the first protocol, or digits of its first and last byte."""
    data = hello.extensions.get(_ALPN, b"")
    first = data[3 : 3 + data[2]] if len(data) > 3 else b""
    if not first:
        return "00"
    ends = chr(first[0]) + chr(first[-1])
    if ends.isascii() and ends.isalnum():
        return ends
    digits = first.hex()
    return digits[0] + digits[-1]


def _signatures(hello: ClientHello) -> list[int]:
    data = hello.extensions.get(_SIGNATURES)
    if not data:
        return []
    reader = Reader(data)
    reader = reader.sub(reader.u16())
    return [code for code in (reader.u16() for _ in range(len(reader) // 2)) if not is_grease(code)]


def _listed(codes: Iterable[int]) -> str:
    return ",".join(f"{code:04x}" for code in codes)


def _hash(text: str) -> str:
    return sha256(text.encode("ascii")).hexdigest()[:12] if text else _NOTHING
