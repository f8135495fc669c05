"""Frames to begin with: the decoder's own cases, and the corpus' captures from their beginning."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from exporter.capture.file import CaptureFile
from exporter.errors import FileFormatError
from tests.decode.build import ETHERNET, ethernet, ipv4, ipv6, tcp, udp
from tests.decode.test_link import CASES as LINKS
from tests.decode.test_tunnel import CASES as TUNNELS

FIRST, LARGEST = 24, 4096
"""Frames of a capture, and bytes of each: more says nothing new to a decoder, and is slower to change."""


class Run(NamedTuple):
    """Frames that follow each other, all of one link type."""

    link: int
    frames: tuple[bytes, ...]


def runs(corpus: Path | None) -> list[Run]:
    """All link types and tunnels that the tests know, and (with a corpus) what others captured, damaged and whole."""
    found = [Run(link, (head + body,)) for link, head, body in LINKS.values()]
    for outer, _ in TUNNELS.values():
        found.append(Run(ETHERNET, (ethernet(_kind(outer), outer),)))
    if corpus is None:
        return found
    for path in sorted((corpus / "seeds").rglob("*")):
        if path.is_file():
            found += _around(path.read_bytes()[:1400])
    for folder in ("hostile", "pcap"):
        for path in sorted((corpus / folder).iterdir()):
            found += _captured(path)
    return found


def _kind(packet: bytes) -> int:
    return 0x86DD if packet[0] >> 4 == 6 else 0x0800


def _around(payload: bytes) -> Iterator[Run]:
    """Put a raw payload into packets: decoding a tunnel or an ICMP error reads on in it."""
    bodies = (
        ipv4(6, tcp(payload)),
        ipv6(17, udp(payload)),
        ipv4(17, udp(payload, dport=4789)),
        ipv4(1, payload),
    )
    for body in bodies:
        yield Run(ETHERNET, (ethernet(_kind(body), body),))


def _captured(path: Path) -> list[Run]:
    """A capture's first frames by link type; those before the damage, if it is damaged."""
    by_link: dict[int, list[bytes]] = {}
    try:
        with CaptureFile(str(path)) as file:
            for frame in islice(file, FIRST):
                by_link.setdefault(frame.link, []).append(frame.data[:LARGEST])
    except FileFormatError:
        pass
    return [Run(link, tuple(frames)) for link, frames in by_link.items()]
