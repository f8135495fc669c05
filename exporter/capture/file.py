"""Captures from a file or standard input: pcap and pcapng, either of them gzip'd.

The reader is our own. pypcap hides the wire length, reads neither standard input nor gzip, and libpcap refuses files
whose interfaces differ in link type or snaplen, which pcapng allows. A length in a file is a claim: it makes us
allocate nothing beyond a bound. A damaged file gives every whole record before the damage, then one error.
"""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import BinaryIO, Self, cast

from exporter.capture.pcapng import MAGIC, RECORD_MAX, DamageError, clean, frames
from exporter.errors import FileFormatError
from exporter.model import Frame

__all__ = ["CaptureFile", "DamagedFileError"]

# Magic of pcap (draft-ietf-opsawg-pcap section 4): byte order, fractions of a second, bytes of a record's header.
# The last pair is Kuznetzov's: an interface, a protocol and a packet type follow the lengths.
_PCAP = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6, 16),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9, 16),
    b"\x34\xcd\xb2\xa1": ("<", 1e-6, 24),
    b"\xa1\xb2\xcd\x34": (">", 1e-6, 24),
}
_OTHERS = {
    b"snoo": "snoop",
    b"TRSN": "NetXray or Sniffer",
    b"XCP\0": "NetXray or Sniffer",
    b"GMBU": "Microsoft Network Monitor",
    b"RTSS": "Microsoft Network Monitor",
    b"iptr": "AIX iptrace",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zX": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"BZh9": "bzip2",
    b"PK\x03\x04": "zip",
}
_COMPRESSED = frozenset(("zstd", "xz", "lz4", "bzip2", "zip"))


class DamagedFileError(FileFormatError):
    """A capture that ends early or contradicts itself; `records` were read before the damage and are good."""

    def __init__(self, text: str, records: int) -> None:
        """Keep the one line and how much was good."""
        super().__init__(text)
        self.records = records


class _Chain:
    """What was read already, and then the rest."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        if not self._head or size < 0:
            head, self._head = self._head, b""
            return head + self._rest.read(size)
        head, self._head = self._head[:size], self._head[size:]
        return head


class CaptureFile:
    """A capture, to be iterated once; `-` is standard input. Every error is a `FileFormatError` of one line."""

    def __init__(self, path: str) -> None:
        """Open it and look at its first bytes."""
        self.path = path
        self.records = 0
        """Read so far."""
        self.size = 0
        """Bytes of the file; 0 if that cannot be known."""
        self._name = clean(Path(path).name.encode(errors="replace"))
        self._raw: BinaryIO = sys.stdin.buffer
        try:
            if path != "-":
                self.size = Path(path).stat().st_size
                self._raw = Path(path).open("rb", buffering=1 << 18)  # noqa: SIM115 - `close` does
            self._read: Callable[[int], bytes] = self._raw.read
            self._magic = self._read(4)
            if self._magic[:2] == b"\x1f\x8b":
                self._read = gzip.GzipFile(fileobj=cast("BinaryIO", _Chain(self._magic, self._raw))).read
                self._magic = self._read(4)
        except (OSError, ValueError, EOFError, zlib.error) as problem:
            self.close()
            raise FileFormatError(f"{path}: {_reason(problem)}") from None

    @property
    def position(self) -> int:
        """How far the file was read, of `size`."""
        return self._raw.tell() if self.size else 0

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._raw is not sys.stdin.buffer:
            self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        """Give every whole record, then end, or fail with `DamagedFileError`."""
        try:
            for frame in self._frames():
                self.records += 1
                yield frame
        except (DamageError, EOFError, OSError, zlib.error) as problem:
            what = str(problem) if isinstance(problem, DamageError) else _reason(problem)
            at = f"record {self.records + 1}"
            place = f"{at}: {what}" if what else f"truncated in {at}"
            good = f"the {self.records} before it were read" if self.records else "nothing was read"
            raise DamagedFileError(f"{self.path}: {place}; {good}", self.records) from None

    def _frames(self) -> Iterator[Frame]:
        if self._magic == MAGIC:
            return frames(self._read, self._name)
        if self._magic in _PCAP:
            return _pcap(self._read, self._name, *_PCAP[self._magic])
        raise FileFormatError(f"{self.path}: {_unknown(self._magic)}")


def _pcap(read: Callable[[int], bytes], name: str, order: str, scale: float, header: int) -> Iterator[Frame]:
    """Read a pcap file behind its magic (draft-ietf-opsawg-pcap)."""
    head = read(20)
    if len(head) < 20:
        raise DamageError
    major, minor, _, network = Struct(order + "HH8xII").unpack(head)
    if network & 0x03FF0000 or major != 2:
        raise DamageError(f"no pcap file has version {major}.{minor} and link type {network}")
    link, swapped = network & 0xFFFF, minor < 4
    unpack = Struct(f"{order}IIII{header - 16}x").unpack
    while len(head := read(header)) == header:
        seconds, fraction, size, wire = unpack(head)
        if swapped and wire < size:  # before 2.3 the two lengths stood the other way round, in 2.3 either way
            size, wire = wire, size
        if size > RECORD_MAX:
            raise DamageError(f"claims {size} bytes, more than any capture has")
        data = read(size)
        if len(data) < size:
            raise DamageError
        yield Frame(seconds + fraction * scale, link, data, max(wire, size), name)
    if head:
        raise DamageError


def _reason(problem: Exception) -> str:
    """Say in a few words why a file cannot be read."""
    if isinstance(problem, gzip.BadGzipFile | zlib.error | EOFError):
        return "the gzip data is damaged; unpack it with gunzip to see more"
    if isinstance(problem, OSError) and problem.strerror:
        return f"cannot be read: {problem.strerror.lower()}"
    return "cannot be read"


def _unknown(magic: bytes) -> str:
    """Say what a file is that is no capture of ours, and what to do."""
    if not magic:
        return "is empty; give a pcap or pcapng file"
    other = _OTHERS.get(magic, "")
    if other in _COMPRESSED:
        return f"is compressed with {other}; unpack it first (only gzip is read directly)"
    if other:
        return f"is a {other} file; convert it with: editcap -F pcapng OLD NEW"
    return "is not a capture; give a pcap or pcapng file, gzip'd or not"
