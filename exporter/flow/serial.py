"""Arithmetic in sequence space: 32 bits that wrap (RFC 9293 section 3.4, comparison as in RFC 1982)."""

__all__ = ["MASK", "distance"]

MASK = 0xFFFFFFFF
HALF = 0x80000000


def distance(later: int, earlier: int) -> int:
    """Give later - earlier, negative if `later` is in truth the earlier."""
    d = (later - earlier) & MASK
    return d - 0x100000000 if d >= HALF else d
