"""RTSP's Transport header: RFC 2326 section 12.39, RFC 7826 section 18.54."""

import re
from ipaddress import ip_address

from exporter.dissector import Ends
from exporter.model import Expectation

__all__ = ["announced"]

_LIFETIME = 60.0
_CLIENT = re.compile(rb"client_port=([0-9]{1,5})(?:-([0-9]{1,5}))?")
_SERVER = re.compile(rb"server_port=([0-9]{1,5})(?:-([0-9]{1,5}))?")
_SOURCE = re.compile(rb"source=\"?([0-9A-Fa-f:.]{2,45})")


def announced(transport: bytes, server: int, ends: Ends) -> tuple[Expectation, ...]:
    """Give the RTP and RTCP flows that SETUP's response agrees on.

    They are between the two ends of this connection, or come from the source that the response names; which of the two
    may depend on a translation.
    """
    transport = transport[:1024]
    client, own = (ends.address0, ends.address1) if server else (ends.address1, ends.address0)
    found: list[Expectation] = []
    for other in dict.fromkeys((own, _source(transport) or own)):
        for pattern, host, peer in ((_CLIENT, client, other), (_SERVER, other, client)):
            found += [
                Expectation("udp", host, port, name, _LIFETIME, peer)
                for port, name in _ports(pattern.search(transport))
            ]
    return tuple(found)


def _ports(match: re.Match[bytes] | None) -> list[tuple[int, str]]:
    """Give the ports that are possible: media's, and the one of its control."""
    if match is None:
        return []
    media = int(match[1])
    control = int(match[2]) if match[2] else media + 1
    return [(port, name) for port, name in ((media, "rtp"), (control, "rtcp")) if 0 < port < 65536]


def _source(transport: bytes) -> bytes:
    """Give the address that media comes from, packed; b"" if none is told as numbers."""
    found = _SOURCE.search(transport)
    try:
        return ip_address(found[1].decode("ascii")).packed if found else b""
    except ValueError:
        return b""
