"""Media as SDP announces them: RFC 8866 sections 5.7 and 5.14, RFC 3605 (a=rtcp), RFC 3550 section 11 (RTCP's port).

RTCP may come to media's own port all the same (RFC 5761): whoever reads media knows it. ICE's other candidates are not
read (RFC 8839): what comes to them begins with STUN.
"""

import re
from ipaddress import ip_address

from exporter.dissector import Ends
from exporter.model import Expectation

__all__ = ["announced"]

_LIFETIME = 60.0
"""Seconds in which media has to come."""
_MAX_MEDIA = 8
_MEDIA = re.compile(
    rb"(?:audio|video|text|application|image) ([0-9]{1,5})(?:/[0-9]+)? (?:UDP/TLS/)?RTP/[A-Z/]{3,8} "
)
_ADDRESS = re.compile(rb"(?:^|\n)c=IN IP[46] ([0-9A-Fa-f:.]{2,45})")
_RTCP = re.compile(rb"\na=rtcp:([0-9]{1,5})(?: IN IP[46] ([0-9A-Fa-f:.]{2,45}))?")
_SECTION = re.compile(rb"(?:^|\n)m=")


def announced(body: bytes, side: int, ends: Ends) -> tuple[Expectation, ...]:
    """Give the RTP and RTCP flows that come to the side that sent this description."""
    own, other = (ends.address1, ends.address0) if side else (ends.address0, ends.address1)
    session, *sections = _SECTION.split(body, _MAX_MEDIA)
    found: list[Expectation] = []
    for section in sections:
        media = _MEDIA.match(section)
        address = _address(section) or _address(session)
        port = int(media[1]) if media else 0
        if not address or not 0 < port < 65535:  # 0: refused (RFC 3264 section 6)
            continue
        places = [("rtp", address, port)]
        told = _RTCP.search(section)
        control = int(told[1]) if told else port + 1
        if 0 < control < 65536 and control != port:
            places.append(("rtcp", _packed(told[2]) or address if told else address, control))
        for name, where, number in places:
            if where != own:
                found.append(Expectation("udp", where, number, name, _LIFETIME, other))
            # Whose address is translated tells the outer one and has the same port inside.
            found.append(Expectation("udp", own, number, name, _LIFETIME))
    return tuple(found)


def _address(section: bytes) -> bytes:
    """Give the connection's address, packed; b"" if there is none."""
    found = _ADDRESS.search(section)
    return _packed(found[1]) if found else b""


def _packed(address: bytes | None) -> bytes:
    """Give an address packed; b"" if it is none, or says "nowhere" (RFC 3264 section 8.4)."""
    try:
        packed = ip_address((address or b"").decode("ascii")).packed
    except ValueError:
        return b""
    return packed if any(packed) else b""
