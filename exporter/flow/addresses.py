"""What an address says of itself: loopback, private, public, multicast (RFC 1918, 4193, 4291, 5771, 6598, 6890)."""

__all__ = ["LOOPBACK", "MULTICAST", "PRIVATE", "PUBLIC", "scope"]

LOOPBACK, PRIVATE, PUBLIC, MULTICAST = "loopback", "private", "public", "multicast"

V4, V6 = 4, 16
BROADCAST = b"\xff\xff\xff\xff"
_LOOPBACK6 = bytes(15) + b"\x01"
_MAPPED = bytes(10) + b"\xff\xff"


def scope(address: bytes) -> str:
    """Name the scope of a packed address; "private" is all that does not cross the Internet. Empty: private."""
    if len(address) == V6:
        return _scope6(address)
    if len(address) != V4:
        return PRIVATE
    found = _FIRST[address[0]]
    return found if found is not None else _second(address)


def _first(a: int) -> str | None:
    """Tell the scope by an IPv4 address' first byte; None: it takes more."""
    if a == 127:
        return LOOPBACK
    if 224 <= a < 240:
        return MULTICAST
    if a in (10, 0):
        return PRIVATE
    return None if a in (100, 169, 172, 192, 255) else PUBLIC


_FIRST = tuple([_first(a) for a in range(256)])


def _second(address: bytes) -> str:
    if address == BROADCAST:
        return MULTICAST
    a, b = address[0], address[1]
    private = (a == 172 and b & 0xF0 == 16) or (a == 192 and b == 168)
    shared = (a == 100 and b & 0xC0 == 64) or (a == 169 and b == 254)
    return PRIVATE if private or shared else PUBLIC


def _scope6(address: bytes) -> str:
    if address[0] == 0xFF:
        return MULTICAST
    if address == _LOOPBACK6:
        return LOOPBACK
    if address.startswith(_MAPPED):
        return scope(address[12:])
    local = address[0] & 0xFE == 0xFC or (address[0] == 0xFE and address[1] & 0xC0 in (0x80, 0xC0))
    return PRIVATE if local or not any(address) else PUBLIC
