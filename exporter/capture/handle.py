"""One interface's open capture, by pypcap.

Measured with pypcap 1.3.0 on libpcap 1.10 (TPACKET_V3, blocks of 256 KiB):

- `dispatch(-1)` goes on while the kernel delivers, so a fast sender would keep it for ever: we bound it.
- A block is handed over when it is full or its time is over (`TIMEOUT_MS`), however little is in it. So where there is
  traffic all the time, a pause of the reader costs a block each time: 16 MiB bear 640 ms at 10 ms and 128 ms at 2 ms,
  1 MiB bears 40 and 8 ms. Packets that come before the first `dispatch` wait in the same room.
- All of the ring counts as our memory (PSS) from the start, used or not.
- pypcap opens a *file* of the interface's name first, and crashes if no ioctl socket can be made.
- With offload the filter is the kernel's side's (offload.py), and what it counts is in no number of libpcap's.
- Packets come in before there is a filter; those are told by their time and dropped.
- The kernel copies whole super-segments into the ring unless a filter says how much is wanted: ours always does.
- When an interface goes down the handle stays good; when it is removed, `dispatch` gives -1 once.
"""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pcap

from exporter.capture import bpf, links
from exporter.capture.deal import dealing, incoming
from exporter.capture.offload import Table
from exporter.config import Capture
from exporter.errors import CaptureError
from exporter.model import Interface

__all__ = [
    "Attach",
    "Callback",
    "Deal",
    "Detach",
    "GoneError",
    "Handle",
    "Opening",
    "Stats",
    "require_privilege",
]

Callback = Callable[[float, bytes], None]
"""Takes a packet: Unix time in seconds, and its bytes."""
Attach = Callable[[Interface], Callback]
Detach = Callable[[str], None]

BATCH = 1024
"""Packets until others get their turn."""
TIMEOUT_MS = 10
"""How late a packet of a quiet interface is handed over. Each time takes a block of the ring, however little is in it:
with less, a reader that is held up for half a second loses packets. Who cannot wait is seen by `tap.py`."""
SETTLED = 1.0
"""Seconds after which no packet from before the filter can come any more."""
ETH_P_NONE = 0
AF_PACKET = 17
LINK_TYPES = {12: 101}
"""libpcap's number → LINKTYPE_ number, where they differ on Linux: raw IP."""
LOOPBACK = "lo"
WRAP = 1 << 32


class Deal(NamedTuple):
    """Which share of the packets is ours; `inner`: tunnels are followed."""

    number: int = 0
    workers: int = 1
    inner: bool = False


class Opening(NamedTuple):
    """How to open a handle."""

    size: int
    """Bytes of the ring."""
    deal: Deal
    immediate: bool = False
    """Hand each packet over at once, instead of many together."""
    offload: Table | None = None
    """Count in the kernel what is only to be counted."""


class Stats(NamedTuple):
    """Monotonic totals of an interface, over all times that it was opened."""

    received: int = 0
    """Packets that passed the filter, those that were then dropped included."""
    dropped: int = 0
    """The ring was full."""
    missed: int = 0
    """The network card had no room."""

    def plus(self, other: "Stats") -> "Stats":
        return Stats(self.received + other.received, self.dropped + other.dropped, self.missed + other.missed)


class GoneError(CaptureError):
    """The interface was removed or renamed while it was captured."""


def require_privilege() -> None:
    try:
        socket.socket(AF_PACKET, socket.SOCK_RAW, ETH_P_NONE).close()
    except PermissionError:
        raise CaptureError(
            "no privilege to capture packets: run as root, or grant the capability NET_RAW"
        ) from None
    except OSError as error:
        raise CaptureError(f"no packet sockets here: {error.strerror}") from None


class Handle:
    """An open capture. It keeps its own share of the packets and gives them to the callback of `attach`."""

    def __init__(self, interface: Interface, number: int, settings: Capture, opening: Opening) -> None:
        """Open the interface, which has this number now."""
        self.name = interface.name
        self.number = number
        self.up = True
        self._offload = opening.offload
        self.pcap = _open(interface.name, settings.snaplen, opening)
        try:
            self.pcap.setnonblock()
            self._set_filter(settings, opening.deal)
        except (CaptureError, OSError):
            self.pcap.close()
            raise
        self.interface = interface._replace(link=LINK_TYPES.get(self._dlt, self._dlt))
        self.fd: int = self.pcap.fileno()
        self._since = time.time()
        self._raw = self.pcap.stats()[:2]
        self._missed = links.missed(self.name)
        self._callback: Callback | None = None
        self._deliver: Callback = lambda _time, _data: None

    def _set_filter(self, settings: Capture, deal: Deal) -> None:
        """Combine the user's filter, as libpcap compiled it, with the share that is ours."""
        self._dlt: int = self.pcap.datalink()
        fd = self.pcap.fileno()
        taking: list[bpf.Instruction] = []
        if settings.filter:
            try:
                self.pcap.setfilter(settings.filter)
            except OSError as error:
                raise CaptureError(f"capture.filter {settings.filter!r}: {_words(error)}") from None
            taking = bpf.attached(fd)
        taking = bpf.returning(taking or [(bpf.Op.ret, 0, 0, settings.snaplen)], settings.snaplen)
        once = incoming() if self.name == LOOPBACK else []
        bpf.attach(fd, [*once, *dealing(self._dlt, deal.number, deal.workers, inner=deal.inner), *taking])
        if self._offload is not None and not settings.filter and not deal.inner:
            self._offload.attach(fd, self.name, self.number, self._dlt)

    def attach(self, callback: Callback) -> None:
        """Deliver to this callback from now on."""
        since = self._since

        def late(stamp: float, data: bytes) -> None:
            if stamp >= since:
                callback(stamp, data)

        self._callback = callback
        self._deliver = callback if time.time() > since + SETTLED else late

    def settle(self) -> None:
        """Stop to look at the packets' time, once it can be."""
        if self._callback is not None and time.time() > self._since + SETTLED:
            self._deliver, self._callback = self._callback, None

    def dispatch(self) -> int:
        """Deliver what is there, `BATCH` packets at most; give how many they were."""
        count: int = self.pcap.dispatch(BATCH, self._deliver)
        if count < 0:
            raise GoneError(f"{self.name}: {_text(self.pcap.geterr())}")
        return count

    def discard(self) -> None:
        """Throw away what is there."""
        while self.pcap.dispatch(BATCH, lambda _time, _data: None) > 0:
            pass

    def stats(self) -> Stats:
        """Give what came since the last call; libpcap's own numbers have 32 bits."""
        raw, lost = self.pcap.stats()[:2], links.missed(self.name)
        received, dropped = ((new - old) % WRAP for new, old in zip(raw, self._raw, strict=True))
        missed, self._raw, self._missed = max(0, lost - self._missed), raw, lost
        return Stats(received, dropped, missed)

    def close(self) -> None:
        if self._offload is not None:
            self._offload.detach(self.name)
        self.pcap.close()


def _open(name: str, snaplen: int, opening: Opening) -> "pcap.pcap":
    if name == "-" or Path(name).is_file():
        raise CaptureError(
            f"{name}: a file of that name in {Path.cwd()} hides the interface; start elsewhere"
        )
    try:
        return pcap.pcap(
            name,
            snaplen,
            promisc=False,
            timeout_ms=TIMEOUT_MS,
            immediate=opening.immediate,
            buffer_size=opening.size,
        )
    except OSError as error:
        raise CaptureError(f"{name}: {_words(error)}") from None


def _text(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said


def _words(error: OSError) -> str:
    """Give libpcap's words without pypcap's around them."""
    text = _text(error.args[0]) if error.args else str(error)
    _, found, quoted = text.partition("packet capture library was b")
    return (quoted.strip("'\"") if found else text).replace("\n", " ")
