"""First packets at once: who began a connection is looked up while it lives.

A `curl` to a local server is gone 2 ms after its first packet, sooner than a ring's block is handed over. So a second
handle on each of the host's own interfaces takes SYNs, and questions to name servers, without delay and without a
large ring. They open a connection and ask for its owner; they are not counted, since the first handle gives them too.
"""

from contextlib import suppress

import msgspec

from exporter.capture.handle import BATCH, Attach, Deal, Handle, Opening
from exporter.config import Capture
from exporter.errors import CaptureError
from exporter.model import Interface

__all__ = ["Tap"]

SYN4 = "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn"
SYN6 = "ip6[6] == 6 and ip6[53] & 0x12 == 2"
QUESTION4 = "udp[10] & 0xf8 == 0 and udp[12:2] == 1 and udp[14:2] == 0"
QUESTION6 = "ip6[6] == 17 and ip6[50] & 0xf8 == 0 and ip6[52:2] == 1 and ip6[54:2] == 0"
"""A name server's question (RFC 1035 section 4.1.1): a query with one question and no answer, on any port."""
FIRST = f"({SYN4}) or ({SYN6}) or ({QUESTION4}) or ({QUESTION6})"
SNAPLEN = 256
RING = 1 << 18
"""What finds no room here is only looked up later."""


class Tap:
    """The second handle of an interface."""

    def __init__(self, interface: Interface, number: int, settings: Capture, deal: Deal) -> None:
        """Open it, with the share and the filter of the first; `CaptureError` if it cannot be had."""
        chosen = f"({settings.filter}) and ({FIRST})" if settings.filter else FIRST
        narrow = msgspec.structs.replace(settings, filter=chosen, snaplen=SNAPLEN)
        self._handle = Handle(interface, number, narrow, Opening(RING, deal, immediate=True))
        self.fd = self._handle.fd

    def renew(self, glimpse: Attach) -> None:
        """Ask for the callback (again)."""
        self._handle.attach(glimpse(self._handle.interface))

    def dispatch(self) -> int:
        """Deliver what is there; give how many. A broken tap is the first handle's business: it breaks too."""
        with suppress(CaptureError):
            return min(BATCH, self._handle.dispatch())
        return 0

    def drain(self) -> None:
        """Throw away what waits: its time is over."""
        with suppress(CaptureError):
            self._handle.discard()

    def close(self) -> None:
        """Give it back."""
        self._handle.close()
