"""Where a BER value's contents are, told from its first bytes: of long messages only the beginning is read (X.690)."""

from exporter.errors import ParseError

__all__ = ["span"]


def span(data: bytes, at: int) -> tuple[int, int]:
    """Give where the contents of the value at `at` begin and end; (0, 0): too few bytes to tell.

    The tag is of one byte. `ParseError` for an indefinite length or one of more than four bytes.
    """
    if len(data) - at < 2:
        return 0, 0
    size = data[at + 1]
    start = at + 2
    if size & 0x80:
        count = size & 0x7F
        if not 0 < count <= 4:
            raise ParseError("length")
        if start + count > len(data):
            return 0, 0
        size = int.from_bytes(data[start : start + count], "big")
        start += count
    return start, start + size
