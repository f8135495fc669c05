"""Greetings, requests and addresses of SOCKS: RFC 1928 sections 3 to 6; SOCKS 4 (1992), 4a (1994)."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import NamedTuple

from exporter.dissector import MORE, NO, YES
from exporter.errors import ParseError, ShortError
from exporter.formats.text import host_name
from exporter.wire import Reader

__all__ = [
    "COMMANDS",
    "REPLIES4",
    "REPLIES5",
    "Request",
    "greeting",
    "looks",
    "read_address",
    "request",
    "request4",
]

COMMANDS = {1: "connect", 2: "bind", 3: "udp_associate"}
REPLIES5 = {
    0: "succeeded",
    1: "failure",
    2: "not_allowed",
    3: "network_unreachable",
    4: "host_unreachable",
    5: "refused",
    6: "ttl_expired",
    7: "unknown_command",
    8: "unknown_address_type",
}
REPLIES4 = {90: "succeeded", 91: "failure", 92: "no_identd", 93: "identd_mismatch"}
_METHODS = frozenset({0, 1, 2, 3, 5, 6, 7, 8, 9})
"""IANA's registry."""
_ADDRESSES = {1: 4, 4: 16}
"""Types of addresses, and their sizes."""
_MAX_TEXT = 255


class Request(NamedTuple):
    """What a client wants of the proxy."""

    command: str
    version: str
    attributes: dict[str, str]


def looks(data: bytes, *, client: bool | None = None) -> int:
    """Tell, as a probe does, whether a side begins as one of SOCKS; `client`: only that end."""
    first = data[:1]
    if first == b"\x04" and client is not False:
        return _tried(_request4, data)
    if first == b"\x05":
        asks = NO if client is False else _tried(_opening, data)
        return asks if asks != NO or client else _tried(_closing, data)
    return MORE if not first else NO


def _tried(read: Callable[[Reader], object], data: bytes) -> int:
    try:
        read(Reader(data))
    except ShortError:
        return MORE if len(data) < 1100 else NO
    except ParseError:
        return NO
    return YES


def greeting(reader: Reader) -> bytes:
    """Read the methods that a client offers."""
    if reader.u8() != 5:
        raise ParseError("version")
    size = reader.u8()
    methods = reader.peek(size)
    if (
        not 1 <= size <= len(_METHODS)
        or not _METHODS.issuperset(methods)
        or len(set(methods)) != len(methods)
    ):
        raise ParseError("methods")
    return reader.take(size)


def _opening(reader: Reader) -> None:
    """A client's greeting, and what it asks for."""
    greeting(reader)
    _request(reader)
    _address(reader)


def _closing(reader: Reader) -> None:
    """A proxy's choice of no password, and its reply."""
    if reader.u16() != 0x0500 or reader.u8() != 5 or reader.u8() not in REPLIES5 or reader.u8():
        raise ParseError("reply")
    _address(reader)


def request(reader: Reader) -> Request:
    """Read a request of version 5 (section 4), and before it a name and a password (RFC 1929 section 2)."""
    command = _request(reader)
    host, port = read_address(reader)
    return Request(command, "5", {"server.address": host, "server.port": str(port)})


def _request(reader: Reader) -> str:
    """Read a request up to its address: what is wanted."""
    if reader.peek() == b"\x01":
        reader.skip(1)
        reader.skip(reader.u8())
        reader.skip(reader.u8())
    if reader.u8() != 5:
        raise ParseError("version")
    command = COMMANDS.get(reader.u8())
    if command is None or reader.u8():
        raise ParseError("request")
    return command


def read_address(reader: Reader) -> tuple[str, int]:
    """Read an address of one of three types, and a port (section 5)."""
    raw, named, port = _address(reader)
    return (host_name(raw) if named else str(ip_address(raw))), port


def _address(reader: Reader) -> tuple[bytes, bool, int]:
    """Read an address as it stands, whether it is a name, and a port."""
    kind = reader.u8()
    named = kind == 3
    if named:
        raw = reader.take(reader.u8())
        if raw and not host_name(raw):
            raise ParseError("address")
    elif kind in _ADDRESSES:
        raw = reader.take(_ADDRESSES[kind])
    else:
        raise ParseError("address")
    return raw, named, reader.u16()


def request4(reader: Reader) -> Request:
    """Read a request of version 4, or 4a: an address 0.0.0.x says that a name follows."""
    command, address, name, port = _request4(reader)
    host, version = (host_name(name), "4a") if name else (str(ip_address(address)), "4")
    return Request(COMMANDS[command], version, {"server.address": host, "server.port": str(port)})


def _request4(reader: Reader) -> tuple[int, bytes, bytes, int]:
    """Read a command, an address, a name (b"": there is none) and a port, as they stand."""
    if reader.u8() != 4:
        raise ParseError("version")
    command = reader.u8()
    if command not in (1, 2):
        raise ParseError("request")
    port = reader.u16()
    address = reader.take(4)
    if not port or address == bytes(4):
        raise ParseError("request")
    _text(reader)
    if address[:3] != bytes(3):
        return command, address, b"", port
    name = _text(reader)
    if not host_name(name):
        raise ParseError("address")
    return command, address, name, port


def _text(reader: Reader) -> bytes:
    """Read a text that a zero ends."""
    raw = reader.peek(_MAX_TEXT + 1)
    text, zero, _ = raw.partition(b"\0")
    if len(text) > _MAX_TEXT or not text.isascii() or not text.decode("ascii").isprintable():
        raise ParseError("text")
    reader.skip(len(text) + len(zero))
    if not zero:
        raise ShortError
    return text
