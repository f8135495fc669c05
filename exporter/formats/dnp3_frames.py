"""DNP3's link layer: IEEE 1815 clause 9. Frames of at most 292 bytes, with a CRC over the header and each 16 bytes."""

__all__ = ["HEADER", "MORE_FRAME", "NO_FRAME", "START", "crc", "frame_size", "user_data"]

START = b"\x05\x64"
HEADER = 10
NO_FRAME, MORE_FRAME = -1, 0


def _table() -> tuple[int, ...]:
    found = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0xA6BC if value & 1 else 0)
        found.append(value)
    return tuple(found)


_TABLE = _table()
"""For x^16+x^13+x^12+x^11+x^10+x^8+x^6+x^5+x^2+1, lowest bit first."""


def crc(data: bytes) -> bytes:
    """Give the two bytes that follow a block (clause 9.2.5)."""
    value = 0
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return (value ^ 0xFFFF).to_bytes(2, "little")


def frame_size(data: bytes, at: int) -> int:
    """Give the length of the frame at `at`; `NO_FRAME`: its header is wrong; `MORE_FRAME`: too few bytes to tell."""
    head = data[at : at + HEADER]
    if head[:2] != START[: len(head)] or (len(head) > 2 and head[2] < 5):
        return NO_FRAME
    if len(head) < HEADER:
        return MORE_FRAME
    if crc(head[:8]) != head[8:]:
        return NO_FRAME
    user = head[2] - 5
    return HEADER + user + 2 * ((user + 15) // 16)


def user_data(frame: bytes) -> bytes:
    """Give a frame's first block of user data, at most 16 bytes of it; b"" if there is none or its CRC is wrong."""
    size = min(16, frame[2] - 5)
    block = frame[HEADER : HEADER + size]
    return block if size and frame[HEADER + size : HEADER + size + 2] == crc(block) else b""
