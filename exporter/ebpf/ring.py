"""The kernel's ring buffer, read through its pages: an inherited descriptor is all it takes."""

import mmap
from collections.abc import Iterator
from struct import Struct

__all__ = ["Ring"]

BUSY, DISCARDED = 1 << 31, 1 << 30
LENGTH = DISCARDED - 1
HEADER = 8
POSITION, HEAD = Struct("@Q"), Struct("@I")  # native: one load or store, never byte by byte


class Ring:
    """One ring; its only reader.

    The kernel writes a record's head last and we read it first. x86 keeps that order; elsewhere nothing in the language
    promises it, but some hundred instructions and a look at another cache line lie between the two reads.
    """

    def __init__(self, fd: int, size: int) -> None:
        """Map it: our position may be written, the kernel's and the records (mapped twice, end to end) only read."""
        page = mmap.PAGESIZE
        self.fd = fd
        self._mask = size - 1
        self._base = page + HEADER
        self._own = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._rest = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)

    def fileno(self) -> int:
        return self.fd

    def read(self, limit: int = 1 << 30) -> Iterator[bytes]:
        """Give up to so many records; each is freed when the next is asked for."""
        position: int = POSITION.unpack_from(self._own)[0]
        end: int = POSITION.unpack_from(self._rest)[0]
        while position < end and limit > 0:
            at = self._base + (position & self._mask)
            head: int = HEAD.unpack_from(self._rest, at - HEADER)[0]
            if head & BUSY:
                return
            length = head & LENGTH
            if not head & DISCARDED:
                limit -= 1
                yield self._rest[at : at + length]
            position += (length + HEADER + 7) & ~7
            POSITION.pack_into(self._own, 0, position)
            if position == end:
                end = POSITION.unpack_from(self._rest)[0]

    def close(self) -> None:
        self._own.close()
        self._rest.close()
