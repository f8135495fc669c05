"""RTSP's Transport header: RFC 2326 section 12.39, RFC 7826 section 18.54."""

import re

from exporter.dissector import Ends
from exporter.model import Expectation

__all__ = ["announced"]

_LIFETIME = 60.0
_CLIENT = re.compile(rb"client_port=([0-9]{1,5})(?:-([0-9]{1,5}))?")
_SERVER = re.compile(rb"server_port=([0-9]{1,5})(?:-([0-9]{1,5}))?")


def announced(transport: bytes, server: int, ends: Ends) -> tuple[Expectation, ...]:
    """Give the RTP and RTCP flows that SETUP's response agrees on, between the two ends of this connection."""
    hosts = (ends.address0, ends.address1)
    found: list[Expectation] = []
    for pattern, side in ((_CLIENT, 1 - server), (_SERVER, server)):
        match = pattern.search(transport[:1024])
        if match is None:
            continue
        media = int(match[1])
        control = int(match[2]) if match[2] else media + 1
        for port, name in ((media, "rtp"), (control, "rtcp")):
            if 0 < port < 65536:
                found.append(Expectation("udp", hosts[side], port, name, _LIFETIME, hosts[1 - side]))
    return tuple(found)
