"""JA4: a fingerprint of what a TLS client is, from its hello (FoxIO, JA4 technical details; the licence is BSD)."""

from functools import lru_cache
from hashlib import sha256

from exporter.formats.tls_hello import ClientHello, is_grease

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
_CACHED = 512
"""Lists of more bytes are not kept."""


def ja4(hello: ClientHello, transport: str) -> str:
    """Give the fingerprint; `transport` is t (TCP), q (QUIC) or d (DTLS)."""
    found = hello.extensions
    signatures = found.get(_SIGNATURES, b"")
    small = len(hello.ciphers) <= _CACHED and len(signatures) <= _CACHED
    ciphers = (_ciphers if small else _ciphers.__wrapped__)(hello.ciphers)
    extensions = (_extensions if small else _extensions.__wrapped__)(frozenset(found), signatures)
    # DTLS counts its versions downwards.
    newest = (min if transport == "d" else max)(hello.versions, default=0)
    named = "d" if _SERVER_NAME in found else "i"
    start = f"{transport}{_VERSIONS.get(newest, '00')}{named}{ciphers[0]}{extensions[0]}{_alpn(found)}"
    return f"{start}_{ciphers[1]}_{extensions[1]}"


@lru_cache(maxsize=256)
def _ciphers(raw: bytes) -> tuple[str, str]:
    """Give how many there are, and their hash, in order. Many clients send the same ones."""
    codes = [raw[i] << 8 | raw[i + 1] for i in range(0, len(raw) - 1, 2)]
    codes = sorted(code for code in codes if not is_grease(code))
    return _count(codes), _hash(_listed(codes))


@lru_cache(maxsize=256)
def _extensions(kinds: frozenset[int], signatures: bytes) -> tuple[str, str]:
    """Give how many there are, and the hash of all but name and ALPN, with the signature algorithms as sent."""
    codes = sorted(kind for kind in kinds if not is_grease(kind))
    text = _listed([kind for kind in codes if kind not in (_SERVER_NAME, _ALPN)])
    if listed := _listed(_algorithms(signatures)):
        text += "_" + listed
    return _count(codes), _hash(text) if codes else _NOTHING


def _count(codes: list[int]) -> str:
    return f"{min(len(codes), 99):02d}"


def _alpn(found: dict[int, bytes]) -> str:
    """The first and last letter of the first protocol, or digits of its first and last byte."""
    data, at, first = found.get(_ALPN, b""), 2, b""
    while at < len(data) and (not first or (len(first) == 2 and is_grease(first[0] << 8 | first[1]))):
        first = data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
    if not first:
        return "00"
    ends = chr(first[0]) + chr(first[-1])
    if ends.isascii() and ends.isalnum():
        return ends
    digits = first.hex()
    return digits[0] + digits[-1]


def _algorithms(data: bytes) -> list[int]:
    """Read the list as far as it is there: what is malformed is the server's to refuse."""
    end = min(len(data), 2 + int.from_bytes(data[:2], "big")) - 1
    codes = [data[i] << 8 | data[i + 1] for i in range(2, end, 2)]
    return [code for code in codes if not is_grease(code)]


def _listed(codes: list[int]) -> str:
    return ",".join(f"{code:04x}" for code in codes)


def _hash(text: str) -> str:
    return sha256(text.encode("ascii")).hexdigest()[:12] if text else _NOTHING
