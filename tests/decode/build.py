"""Builds frames by hand, so that a case says in bytes what it is about. Checksums are left 0: nothing reads them."""

import struct
from socket import AF_INET, AF_INET6, inet_pton

from exporter.decode.frame import Decoder
from exporter.errors import UndecodableError
from exporter.model import Packet

A4, B4 = inet_pton(AF_INET, "10.0.0.1"), inet_pton(AF_INET, "10.0.0.2")
A6, B6 = inet_pton(AF_INET6, "fd00::1"), inet_pton(AF_INET6, "fd00::2")
MACS = bytes.fromhex("0200000000020200000000 01".replace(" ", ""))
ETHERNET = 1


def ethernet(kind: int, body: bytes, tail: bytes = b"") -> bytes:
    return MACS + struct.pack(">H", kind) + body + tail


def ipv4(proto: int, body: bytes, *, ident: int = 1, fragment: int = 0, options: bytes = b"") -> bytes:
    """`fragment` is the whole 16-bit field: flags and offset in units of 8."""
    total = 20 + len(options) + len(body)
    first = 0x45 + len(options) // 4
    return (
        struct.pack(">BBHHHBBH4s4s", first, 0, total, ident, fragment, 64, proto, 0, A4, B4) + options + body
    )


def ipv6(proto: int, body: bytes, *, length: int | None = None) -> bytes:
    return (
        struct.pack(">IHBB16s16s", 6 << 28, len(body) if length is None else length, proto, 64, A6, B6) + body
    )


def tcp(
    body: bytes = b"", *, flags: int = 0x10, options: bytes = b"", sport: int = 1024, dport: int = 443
) -> bytes:
    offset = 0x50 + (len(options) // 4 << 4)
    return struct.pack(">HHIIBBHHH", sport, dport, 7, 9, offset, flags, 512, 0, 0) + options + body


def udp(body: bytes = b"", *, sport: int = 1024, dport: int = 53, length: int | None = None) -> bytes:
    return struct.pack(">HHHH", sport, dport, 8 + len(body) if length is None else length, 0) + body


def every(frame: bytes, link: int = ETHERNET, wire: int = 0) -> list[Packet]:
    """Decode one frame, tunnels followed."""
    return Decoder(tunnels=True, fragments=16).decode(1.0, link, frame, max(wire, len(frame)))


def only(frame: bytes, link: int = ETHERNET, wire: int = 0) -> Packet:
    """Decode one frame that is one packet."""
    (packet,) = every(frame, link, wire)
    return packet


def reason(frame: bytes, link: int = ETHERNET, wire: int = 0) -> str:
    """Say why a frame cannot be counted; "" if it can."""
    try:
        every(frame, link, wire)
    except UndecodableError as problem:
        return problem.reason
    return ""


def summary(packet: Packet) -> dict[str, object]:
    """All fields, those inside too, to be compared."""
    fields = {name: getattr(packet, name) for name in Packet.__slots__}
    for name in ("inner", "quoted"):
        if fields[name] is not None:
            fields[name] = summary(fields[name])
    return fields
