"""Blocks of header fields, compressed by HPACK (RFC 7541). The library does it; nothing else may use it."""

from hpack import Decoder, HPACKError

from exporter.errors import ParseError

__all__ = ["Fields", "Headers"]

Fields = dict[bytes, bytes]

_MAX_TABLE = 65536
"""The largest table that is kept, whatever the sides agree on (what browsers ask for)."""
_MAX_LIST = 65536
_DEFAULT_TABLE = 4096
_MAX_UPDATES = 2


_INDEXED = bytes(range(0x80, 0xFF))
"""A field that stands in a table (section 6.1), at a place that fits one byte."""
_MAX_MEMORY, _MAX_REMEMBERED = 16, 64
"""Blocks, and bytes of each."""


class Headers:
    """One side's blocks, each of which depends on all before.

    A block of nothing but places in the tables changes neither of them: until they change, it always says the same.
    """

    __slots__ = ("_decoder", "_memory")

    def __init__(self) -> None:
        self._decoder: Decoder | None = None
        self._memory: dict[bytes, Fields] = {}

    def allow(self, size: int) -> None:
        """Take the other side's word on how large a table it keeps (SETTINGS_HEADER_TABLE_SIZE)."""
        self._memory.clear()
        self._get().max_allowed_table_size = max(_DEFAULT_TABLE, min(size, _MAX_TABLE))

    def read(self, block: bytes) -> Fields:
        """Give the fields, of each name the first one. They are to be read only."""
        known = self._memory.get(block)
        if known is not None:
            return known
        _check_updates(block)
        try:
            listed = self._get().decode(block, raw=True)
        except HPACKError as error:
            raise ParseError("hpack") from error
        found: Fields = {}
        for name, value in listed:
            found.setdefault(_raw(name), _raw(value))
        if block.translate(None, _INDEXED):
            self._memory.clear()
        elif len(block) <= _MAX_REMEMBERED and len(self._memory) < _MAX_MEMORY:
            self._memory[block] = found
        return found

    def _get(self) -> Decoder:
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = Decoder(_MAX_LIST)
        return decoder


def _check_updates(block: bytes) -> None:
    """Refuse more than two changes of the table's size (RFC 7541 section 4.2), each of which costs a microsecond."""
    at = found = 0
    while at < len(block) and block[at] & 0xE0 == 0x20:
        found += 1
        if found > _MAX_UPDATES:
            raise ParseError("hpack")
        at += 1
        if block[at - 1] & 0x1F == 0x1F:
            while at < len(block) and block[at] & 0x80:
                at += 1
            at += 1


def _raw(text: bytes | str) -> bytes:
    """With `raw` all are bytes, which the library's types do not tell."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
