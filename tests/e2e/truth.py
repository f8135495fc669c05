"""The truth about who moved how many bytes: tcpdump's own capture beside the exporter, and the test's list of ports."""

import re
import signal
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

from tests.e2e.netns import Namespace, wait_for
from tests.e2e.scrape import ETHERNET

Ports = Mapping[tuple[str, int], str]
"""(`local` or `remote`, port) → the executable that holds one end, the near or the far one."""

TCP, UDP = 6, 17
ARP = 0x0806
FRAGMENT_OFFSET = 0x1FFF


@dataclass
class Flow:
    """A connection as the exporter's end of the wire sees it."""

    transport: int
    local: tuple[str, int]
    remote: tuple[str, int]
    receive: int = 0
    transmit: int = 0
    first: float = 0.0
    last: float = 0.0

    @property
    def size(self) -> int:
        return self.receive + self.transmit

    @property
    def life(self) -> float:
        return self.last - self.first

    def owner(self, ports: Ports) -> str:
        """Who has the end that the table is about. What is neither TCP nor UDP is the kernel's own."""
        if self.transport not in {TCP, UDP}:
            return "kernel"
        return ports.get(("local", self.local[1])) or ports[("remote", self.remote[1])]


class Tcpdump:
    """A capture of headers on an interface, from construction to `stop`."""

    def __init__(self, namespace: Namespace, interface: str, path: Path) -> None:
        self.path = path
        self.log = path.with_suffix(".log").open("w+b")
        self.process = namespace.start(
            *(
                "tcpdump",
                "-p",
                "-i",
                interface,
                "-s",
                "128",
                "-B",
                "65536",
                "-Z",
                "root",
                "-U",
                "-n",
                "-w",
                path,
            ),
            stderr=self.log,
        )
        wait_for("tcpdump listens", lambda: b"listening on" in self._said())

    def _said(self) -> bytes:
        self.log.seek(0)
        return self.log.read()

    def stop(self) -> None:
        """End the capture; it must not have lost anything, or it is no truth."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        said = self._said().decode()
        self.log.close()
        assert re.search(r"^0 packets dropped by kernel", said, re.MULTILINE), said

    def packets(self) -> Iterator[tuple[float, bytes]]:
        """Give time and captured bytes of each frame."""
        data = self.path.read_bytes()
        assert data[:4] == b"\xd4\xc3\xb2\xa1", data[:4]
        at = 24
        while at < len(data):
            seconds, micros, size, _ = struct.unpack_from("<IIII", data, at)
            yield seconds + micros / 1e6, data[at + 16 : at + 16 + size]
            at += 16 + size

    def flows(self, local: set[str], head: float = inf) -> list[Flow]:
        """Sum the frames up by connection; `local` are the addresses of the exporter's end.

        Of each connection the first `head` seconds.
        """
        found: dict[tuple, Flow] = {}
        for when, frame in self.packets():
            if read := _read(frame):
                transport, size, src, dst = read
                ours, theirs = (src, dst) if src[0] in local else (dst, src)
                flow = found.setdefault((transport, ours, theirs), Flow(transport, ours, theirs, first=when))
                if when - flow.first > head:
                    continue
                flow.last = when
                if src is ours:
                    flow.transmit += size
                else:
                    flow.receive += size
        return list(found.values())

    def link(self, kind: int) -> int:
        """Bytes, without link headers, of the frames of an ethertype: short ones, wholly captured."""
        return sum(len(frame) - ETHERNET for _, frame in self.packets() if frame[12:14] == kind.to_bytes(2))

    def by_port(self, port: int) -> tuple[int, int]:
        """Bytes to a port and from it, whichever end is ours."""
        to = came = 0
        for _, frame in self.packets():
            if read := _read(frame):
                _, size, src, dst = read
                to += size if dst[1] == port else 0
                came += size if src[1] == port else 0
        return to, came


def _read(frame: bytes) -> tuple[int, int, tuple[str, int], tuple[str, int]] | None:
    """Give protocol, IP bytes, source and destination of an IP packet; ports only of TCP and UDP."""
    kind = int.from_bytes(frame[12:14], "big")
    ip = frame[14:]
    if kind == 0x0800:
        at, protocol, size = (ip[0] & 15) * 4, ip[9], int.from_bytes(ip[2:4], "big")
        src, dst, family = ip[12:16], ip[16:20], socket.AF_INET
        assert not int.from_bytes(ip[6:8], "big") & FRAGMENT_OFFSET or protocol not in {TCP, UDP}
    elif kind == 0x86DD:
        at, protocol, size = 40, ip[6], int.from_bytes(ip[4:6], "big") + 40
        src, dst, family = ip[8:24], ip[24:40], socket.AF_INET6
    else:
        return None
    ports = struct.unpack_from(">HH", ip, at) if protocol in {TCP, UDP} else (0, 0)
    ends = [(socket.inet_ntop(family, packed), port) for packed, port in zip((src, dst), ports, strict=True)]
    return protocol, size, ends[0], ends[1]
