"""The beginning of a DNS message, as cheaply as a probe wants it: its header's counts, and the first name's fields."""

from struct import Struct

__all__ = ["Opening", "opening"]

Opening = tuple[int, int, int]
"""Type and class of the first question or record, and where the next field begins."""

_FIELDS = Struct(">HH")
_COUNTS = Struct(">4H")
_MAX_RECORDS = 256
_NONE: Opening = (0, 0, 0)


def opening(data: bytes) -> Opening:
    """Read the first name (which can point nowhere yet) and its type and class; zeros where there is none.

    What the header counts must fit: a question has five bytes at least, a record eleven.
    """
    if len(data) < 17:
        return _NONE
    questions, answers, authority, additional = _COUNTS.unpack_from(data, 4)
    records = answers + authority + additional
    if questions + records > _MAX_RECORDS or len(data) < 12 + 5 * questions + 11 * records:
        return _NONE
    at, last = 12, len(data) - 5
    while at <= last:
        size = data[at]
        at += 1
        if not size:
            kind, group = _FIELDS.unpack_from(data, at)
            return kind, group, at + 4
        if size > 63:
            return _NONE
        at += size
    return _NONE
