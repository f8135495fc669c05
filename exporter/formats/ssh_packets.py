"""SSH's identification and binary packets while they are in the clear: RFC 4253 sections 4.2, 6 and 7, RFC 4250.

Packets carry no MAC and no cipher until NEWKEYS: four bytes of length, one of padding's length, the message, padding.
"""

import re
from typing import NamedTuple

from exporter.dissector import MORE, NO, YES
from exporter.errors import ParseError
from exporter.formats.text import clean
from exporter.wire import Reader

__all__ = [
    "DISCONNECT",
    "KEXINIT",
    "MESSAGES",
    "NEWKEYS",
    "Algorithms",
    "Offer",
    "agree",
    "body",
    "offer",
    "recognise",
]

DISCONNECT, KEXINIT, NEWKEYS = 1, 20, 21
MESSAGES = {
    1: "disconnect",
    2: "ignore",
    3: "unimplemented",
    4: "debug",
    7: "ext_info",
    20: "kexinit",
    21: "newkeys",
}
"""Of the transport layer; 30 to 49 are the key exchange method's own."""

_OPENING = re.compile(rb"SSH-(?:2\.0|1\.\d{1,2})-[\x20-\x7e]")
_BEGINNINGS = frozenset(whole[:size] for whole in (b"SSH-2.0-", b"SSH-1.99-") for size in range(10))
_METHOD = re.compile(rb"(?:curve|ecdh-|diffie-|sntrup|mlkem|kex-s|ext-i)")
_SHORT = re.compile(rb"SSH-1\.\d{1,2}-?")
_MAX_LIST = 2048
_LISTS = ("ssh.kex_algorithm", "ssh.host_key_algorithm", "ssh.cipher", "ssh.mac", "ssh.compression")
_PLACES = (0, 1, 2, 4, 6)
"""Where they are among the ten lists of KEXINIT (section 7.1); of each pair, that of client to server."""

Algorithms = dict[str, str | tuple[str, ...]]
Offer = tuple[tuple[str, ...], ...]


class Body(NamedTuple):
    """A packet's message: its number and what follows it."""

    number: int
    data: bytes


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a side begins with an identification, or with KEXINIT where that was not seen.

    Lines before an identification prove nothing.
    """
    if data[:2] == b"\0\0":
        return _recognise_offer(data)
    if data[:4] != b"SSH-":
        return MORE if data in _BEGINNINGS or data == b"\0" else NO
    if _OPENING.match(data):
        return YES
    return MORE if data in _BEGINNINGS or _SHORT.fullmatch(data) else NO


def _recognise_offer(data: bytes) -> int:
    """Tell KEXINIT by its number, its padding, and the first list, which begins with the name of a method."""
    if len(data) < 6:
        return MORE if len(data) < 5 or data[4] >= 4 else NO
    if data[4] < 4 or data[5] != KEXINIT:
        return NO
    if len(data) < 26 + 8:
        return MORE if data[22:24] == b"\0\0"[: len(data) - 22] or len(data) < 23 else NO
    if data[22:24] != b"\0\0" or 26 + (data[24] << 8 | data[25]) > 4 + (data[2] << 8 | data[3]):
        return NO
    return YES if _METHOD.match(data, 26) else NO


def body(packet: bytes) -> Body:
    """Read a packet without its length: the message, its padding cut off."""
    padding = packet[0]
    if padding < 4 or padding + 2 > len(packet):
        raise ParseError("padding")
    number = packet[1]
    if number not in MESSAGES and not 30 <= number <= 49:
        raise ParseError("message")
    return Body(number, packet[2 : len(packet) - padding])


def offer(data: bytes) -> Offer:
    """Read KEXINIT after its number: the lists of algorithms that a side can do, best first."""
    reader = Reader(data)
    reader.skip(16)  # cookie
    lists = []
    for place in range(10):
        raw = reader.take(reader.u32())
        if place in _PLACES:
            lists.append(tuple(clean(raw, _MAX_LIST).split(",")))
    return tuple(lists)


def agree(client: Offer, server: Offer) -> Algorithms:
    """Tell what was chosen: the client's first that the server can do (section 7.1); none is left out."""
    chosen: Algorithms = {}
    for name, wanted, known in zip(_LISTS, client, server, strict=True):
        if found := next((each for each in wanted if each in known), ""):
            chosen[name] = found
    cipher = chosen.get("ssh.cipher", "")
    if "gcm" in cipher or "poly1305" in cipher:  # they protect themselves (RFC 5647 section 5.1)
        chosen.pop("ssh.mac", None)
    return chosen
