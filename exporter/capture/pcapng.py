"""Packets of a pcapng file (draft-ietf-opsawg-pcapng).

Several sections, each with its own byte order and its own interfaces, which may differ in link type, snaplen and the
resolution of their time. Blocks that carry no packets (names, statistics, secrets, comments, what programs made up)
are passed over. All lengths are claims: none makes us allocate more than `BLOCK_MAX`.
"""

from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple

from exporter.errors import FileFormatError
from exporter.model import Frame

__all__ = ["MAGIC", "RECORD_MAX", "DamageError", "clean", "frames"]

MAGIC = b"\x0a\x0d\x0d\x0a"
RECORD_MAX = 262_144
"""libpcap's largest snaplen."""
BLOCK_MAX = 16 * 1024 * 1024
"""Largest block that is read at all; libpcap's bound too. Blocks that we do not read may be larger."""
INTERFACES_MAX = 65_536
NAME_MAX = 64

_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_NAME, _RESOLUTION, _OFFSET = 2, 9, 14
"""Options of an interface (section 4.2)."""


class DamageError(FileFormatError):
    """The file ends early (no text) or contradicts itself; `CaptureFile` adds where."""


class _Interface(NamedTuple):
    """What an interface description block says of its packets."""

    link: int
    snaplen: int
    name: str
    units: int
    """Time stamps per second."""
    offset: int


def frames(read: Callable[[int], bytes], name: str) -> Iterator[Frame]:
    """Read the file behind its magic; `name` is what an interface is called that has no name of its own."""
    return _Reader(read, name).frames()


class _Reader:
    """A position in a file, and what its section said so far."""

    def __init__(self, read: Callable[[int], bytes], name: str) -> None:
        self._read = read
        self._name = name
        self._order = "<"
        self._interfaces: list[_Interface] = []

    def frames(self) -> Iterator[Frame]:
        head, now = MAGIC + self._read(4), 0.0
        while len(head) == 8:
            kind, total = Struct(self._order + "II").unpack(head)
            if kind == _SECTION:
                self._section(head[4:])
            elif total < 12 or total % 4:
                raise DamageError(f"a block claims {total} bytes")
            elif kind == _INTERFACE:
                self._describe(self._block(total))
            elif kind in {_PACKET, _OLD_PACKET}:
                frame = self._packet(kind, self._block(total))
                now = frame.timestamp
                yield frame
            elif kind == _SIMPLE_PACKET:
                yield self._simple(self._block(total), now)
            else:
                self._skip(total - 8)
            head = self._read(8)
        if head:
            raise DamageError

    def _take(self, size: int) -> bytes:
        """Read exactly so much."""
        data = self._read(size)
        if len(data) < size:
            raise DamageError
        return data

    def _skip(self, size: int) -> None:
        while size > 0:
            size -= len(self._take(min(size, 65_536)))

    def _section(self, length: bytes) -> None:
        """Read a section header block, which sets the byte order of all that follows, its own length included."""
        order = _ORDER.get(self._take(4))
        if order is None:
            raise DamageError("a section has no byte order")
        total = Struct(order + "I").unpack(length)[0]
        major, minor = Struct(order + "HH").unpack(self._take(4))
        if total < 28 or total % 4 or total > BLOCK_MAX:
            raise DamageError(f"a section header claims {total} bytes")
        if major != 1:
            raise DamageError(f"pcapng version {major}.{minor} is not known, only 1.x is")
        self._skip(total - 16)
        self._order, self._interfaces = order, []

    def _block(self, total: int) -> bytes:
        """Read a block's body, and its length again, which must be the same."""
        if total > BLOCK_MAX:
            raise DamageError(f"a block claims {total} bytes")
        body = self._take(total - 8)
        if Struct(self._order + "I").unpack(body[-4:])[0] != total:
            raise DamageError("a block's two lengths differ")
        return body[:-4]

    def _describe(self, body: bytes) -> None:
        """Read an interface description block (section 4.2)."""
        if len(body) < 8:
            raise DamageError("an interface's description is too short")
        if len(self._interfaces) == INTERFACES_MAX:
            raise DamageError(f"more than {INTERFACES_MAX} interfaces")
        link, snaplen = Struct(self._order + "HxxI").unpack(body[:8])
        option, at, known = Struct(self._order + "HH"), 8, {}
        while at + 4 <= len(body):
            code, size = option.unpack_from(body, at)
            if code == 0:
                break
            known[code] = body[at + 4 : at + 4 + size]
            at += 4 + (size + 3 & ~3)
        name = clean(known.get(_NAME, b"")) or self._name
        resolution = (known.get(_RESOLUTION) or b"\x06")[0]
        units = (2 if resolution & 0x80 else 10) ** (resolution & 0x7F)
        offset = known.get(_OFFSET, b"")
        seconds = Struct(self._order + "q").unpack(offset)[0] if len(offset) == 8 else 0
        self._interfaces.append(_Interface(link, snaplen, name, units, seconds))

    def _packet(self, kind: int, body: bytes) -> Frame:
        """Read an enhanced packet block (section 4.3), or the obsolete one (appendix A)."""
        if len(body) < 20:
            raise DamageError("a packet block is too short")
        index, high, low, size, wire = Struct(self._order + "IIIII").unpack_from(body)
        if kind == _OLD_PACKET:  # 16 bits of interface, 16 of drops
            index = Struct(self._order + "H").unpack_from(body)[0]
        if size > RECORD_MAX or size > len(body) - 20:
            raise DamageError(f"claims {size} bytes, more than its block has")
        interface = self._on(index)
        when = (high << 32 | low) / interface.units + interface.offset
        return Frame(when, interface.link, body[20 : 20 + size], max(wire, size), interface.name)

    def _simple(self, body: bytes, now: float) -> Frame:
        """Read a simple packet block (section 4.4): the first interface's, cut at its snaplen, without a time."""
        if len(body) < 4:
            raise DamageError("a packet block is too short")
        wire = Struct(self._order + "I").unpack_from(body)[0]
        interface = self._on(0)
        size = min(wire, interface.snaplen or wire, len(body) - 4, RECORD_MAX)
        return Frame(now, interface.link, body[4 : 4 + size], wire, interface.name)

    def _on(self, index: int) -> _Interface:
        if index >= len(self._interfaces):
            raise DamageError(f"interface {index} was not described")
        return self._interfaces[index]


def clean(name: bytes) -> str:
    """Make a name that a file gives fit to be shown: bounded, printable."""
    text = name.decode("utf-8", "replace").split("\0")[0][:NAME_MAX]
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
