"""Media as SDP announces them: RFC 8866 sections 5.7 and 5.14, RFC 3605 (a=rtcp), RFC 3550 section 11 (RTCP's port)."""

import re
from ipaddress import ip_address

from exporter.model import Expectation

__all__ = ["announced"]

_LIFETIME = 60.0
"""Seconds in which media has to come."""
_MAX_MEDIA = 8
_MEDIA = re.compile(
    rb"(?:audio|video|text|application|image) ([0-9]{1,5})(?:/[0-9]+)? (?:UDP/TLS/)?RTP/[A-Z/]{3,8} "
)
_ADDRESS = re.compile(rb"(?:^|\n)c=IN IP[46] ([0-9A-Fa-f:.]{2,45})")
_RTCP = re.compile(rb"\na=rtcp:([0-9]{1,5})")
_SECTION = re.compile(rb"(?:^|\n)m=")


def announced(body: bytes) -> tuple[Expectation, ...]:
    """Give the RTP and RTCP flows that come to the side that sent this description."""
    session, *sections = _SECTION.split(body, _MAX_MEDIA)
    found: list[Expectation] = []
    for section in sections:
        media = _MEDIA.match(section)
        address = _address(section) or _address(session)
        port = int(media[1]) if media else 0
        if not address or not 0 < port < 65535:  # 0: refused (RFC 3264 section 6)
            continue
        other = _RTCP.search(section)
        control = int(other[1]) if other else port + 1
        found.append(Expectation("udp", address, port, "rtp", _LIFETIME))
        if 0 < control < 65536 and control != port:
            found.append(Expectation("udp", address, control, "rtcp", _LIFETIME))
    return tuple(found)


def _address(section: bytes) -> bytes:
    """Give the connection's address, packed; b"" if there is none, or it says "nowhere" (RFC 3264 section 8.4)."""
    found = _ADDRESS.search(section)
    if found is None:
        return b""
    try:
        packed = ip_address(found[1].decode("ascii")).packed
    except ValueError:
        return b""
    return packed if any(packed) else b""
