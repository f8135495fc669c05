"""NTP's packets: time (modes 1 to 5, RFC 5905 section 7.3), control (6, RFC 9327), private (7, ntpd's ntp_request.h).

On port 123 fields that make sense are enough. Elsewhere a time packet must be empty or its times near each other.
"""

from struct import Struct
from typing import NamedTuple

__all__ = ["MODES", "Control", "Private", "TimePacket", "control", "private", "time_packet"]

MODES = (
    "reserved",
    "symmetric_active",
    "symmetric_passive",
    "client",
    "server",
    "broadcast",
    "control",
    "private",
)

_TIME = Struct(">BBbbIIIQQQQ")
_CONTROL = Struct(">BBHHHHH")
_PRIVATE = Struct(">BBBBHH")
_HIDDEN = 32
"""The precision that chrony sends, to tell nothing."""
_NEAR = 1 << 8 + 32
"""Seconds between a server's receiving and sending, with 32 bits of fraction: far more than any has."""
_OPERATIONS = frozenset({*range(13), 31})
_IMPLEMENTATIONS = frozenset({0, 2, 3})
_CHAINS = (0, 4, 20, 24)
"""What may follow 48 bytes beside extension fields: nothing, a crypto-NAK, a key id with 16 or 20 bytes of digest."""


class TimePacket(NamedTuple):
    """Modes 1 to 5; times are NTP timestamps (seconds since 1900, 32 bits of fraction), 0: not set."""

    flags: int
    stratum: int
    poll: int
    precision: int
    delay: int
    dispersion: int
    reference: int
    updated: int
    origin: int
    received: int
    sent: int

    @property
    def mode(self) -> int:
        return self.flags & 7

    @property
    def version(self) -> int:
        return self.flags >> 3 & 7

    def plausible(self) -> bool:
        """Tell whether every field has a value that clients and servers send."""
        return (
            self.stratum <= 16
            and -6 <= self.poll <= 17
            and (-40 <= self.precision <= 0 or self.precision == _HIDDEN)
        )

    def certain(self) -> bool:
        """Tell whether it can be nothing else: an empty question, or an answer whose times fit together."""
        if self.mode == 3 and self.stratum == 0:
            return not (
                self.reference or self.updated or self.received or self.origin or self.dispersion >> 20
            )
        return bool(self.sent) and (
            abs(self.sent - self.received) < _NEAR or abs(self.sent - self.updated) < _NEAR << 12
        )


class Control(NamedTuple):
    """Mode 6. `size` bytes of data follow the header."""

    flags: int
    bits: int
    serial: int
    status: int
    association: int
    offset: int
    size: int


class Private(NamedTuple):
    """Mode 7. `items` holds the error code in its upper four bits."""

    flags: int
    serial: int
    implementation: int
    code: int
    items: int
    size: int


def time_packet(data: bytes, *, usual: bool) -> TimePacket | None:
    """Read a time packet; None: it is none. `usual`: on its own port."""
    if len(data) < 48 or len(data) & 3 or not 1 <= data[0] >> 3 & 7 <= 4 or not 1 <= data[0] & 7 <= 5:
        return None
    packet = TimePacket._make(_TIME.unpack_from(data))
    if not packet.plausible() or not (usual or packet.certain()) or not _ends(data):
        return None
    return packet


def _ends(data: bytes) -> bool:
    """Tell whether extension fields (RFC 7822) lead to the end, or to what a signature may be."""
    at, end = 48, len(data)
    while end - at not in _CHAINS:
        if end - at < 16:
            return False
        size = data[at + 2] << 8 | data[at + 3]
        if size < 16 or size & 3 or size > end - at:
            return end - at in (36, 52, 68, 72)  # digests of SHA-256, SHA-384, SHA-512; MS-SNTP section 2.2.3
        at += size
    return True


def control(data: bytes, *, usual: bool) -> Control | None:
    """Read a control message; None: it is none. Its data are padded to four bytes; a signature may follow."""
    if len(data) < 12 or data[0] & 7 != 6 or not 1 <= data[0] >> 3 & 7 <= 4 or data[0] & 0xC0 == 0xC0:
        return None
    packet = Control._make(_CONTROL.unpack_from(data))
    if packet.bits & 0x1F not in _OPERATIONS:
        return None
    if not packet.bits & 0x80 and packet.bits & 0x60:  # a question is no error and has no more to come
        return None
    left = len(data) - 12 - packet.size
    return packet if 0 <= left <= (27 if usual else 3) else None


def private(data: bytes, *, usual: bool) -> Private | None:
    """Read a private message; None: it is none. Elsewhere it must say that it is ntpd's."""
    if len(data) < 8 or data[0] & 7 != 7 or not 1 <= data[0] >> 3 & 7 <= 4 or data[1] & 0x80:
        return None
    packet = Private._make(_PRIVATE.unpack_from(data))
    count, size = packet.items & 0xFFF, packet.size
    if packet.implementation not in _IMPLEMENTATIONS or not (usual or packet.implementation):
        return None
    if size > 500 or 8 + count * size > len(data):
        return None
    if not packet.flags & 0x80 and packet.items >> 12:
        return None
    return packet
