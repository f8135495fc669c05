"""dpkt reads the same: an independent decoder over generated packets, and over every packet of the corpus.

Where the two differ on purpose, `DIFFERENCES` says why.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.capture.file import CaptureFile
from exporter.decode.frame import Decoder
from exporter.errors import UndecodableError
from exporter.model import Frame, Packet
from tests.decode.build import ETHERNET

IP = dpkt.ip.IP
IP6 = dpkt.ip6.IP6

READERS = {
    0: dpkt.loopback.Loopback,
    1: dpkt.ethernet.Ethernet,
    9: dpkt.ppp.PPP,
    113: dpkt.sll.SLL,
    276: dpkt.sll2.SLL2,
    228: IP,
}
DIFFERENCES = {
    "fragment": "dpkt knows no fragments' ports; ours come from the first",
}


def layers(packet: Any) -> Any:
    """Find dpkt's outermost IP packet, or None."""
    while packet is not None and not isinstance(packet, bytes):
        if isinstance(packet, IP | IP6):
            return packet
        packet = getattr(packet, "data", None)
    return None


def theirs(packet: Any) -> tuple[dict[str, Any], str]:
    """Give dpkt's fields under our names, and the name of a difference."""
    v4 = isinstance(packet, IP)
    fields = {
        "src": packet.src,
        "dst": packet.dst,
        "size": packet.len if v4 else packet.plen + 40,
    }
    if (v4 and (packet.mf or packet.offset)) or (not v4 and 44 in getattr(packet, "extension_hdrs", {})):
        return fields, "fragment"
    inner = packet.data
    if isinstance(inner, dpkt.tcp.TCP):
        fields |= {
            "transport": "tcp",
            "sport": inner.sport,
            "dport": inner.dport,
            "seq": inner.seq,
            "ack": inner.ack,
        }
        fields |= {"flags": inner.flags & 0xFF, "window": inner.win, "payload": bytes(inner.data)}
    elif isinstance(inner, dpkt.udp.UDP):
        fields |= {"transport": "udp", "sport": inner.sport, "dport": inner.dport}
        fields["payload"] = bytes(inner)[8 : inner.ulen] if inner.ulen >= 8 else b""
    elif isinstance(inner, dpkt.sctp.SCTP):
        fields |= {"transport": "sctp", "sport": inner.sport, "dport": inner.dport}
    elif isinstance(inner, dpkt.icmp.ICMP | dpkt.icmp6.ICMP6):
        fields |= {"extra": inner.type << 8 | inner.code}
    return fields, ""


def compare(mine: Packet, packet: Any) -> str:
    """Hold ours against dpkt's; gives the difference's name."""
    fields, difference = theirs(packet)
    assert {key: getattr(mine, key) for key in fields} == fields
    return difference


def ours(frame: Frame) -> Packet | None:
    try:
        found = Decoder(tunnels=False, fragments=4).decode(
            frame.timestamp, frame.link, frame.data, frame.wire
        )
    except UndecodableError:
        return None
    return found[0] if found else None


PORT = st.integers(0, 0xFFFF)
WORD = st.integers(0, 0xFFFFFFFF)
ADDRESS4, ADDRESS6 = st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)
TCP = st.builds(
    lambda opts, data, **fields: dpkt.tcp.TCP(off=5 + len(opts) // 4, opts=opts, data=data, **fields),
    st.integers(0, 10).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words)),
    st.binary(max_size=60),
    sport=PORT,
    dport=PORT,
    seq=WORD,
    ack=WORD,
    flags=st.integers(0, 255),
    win=PORT,
)
UDP = st.builds(
    lambda data, **fields: dpkt.udp.UDP(data=data, ulen=8 + len(data), **fields),
    st.binary(max_size=60),
    sport=PORT,
    dport=PORT,
)


@st.composite
def frames(draw: st.DrawFn) -> tuple[Any, bytes]:
    """An Ethernet frame made by dpkt, sometimes tagged, sometimes padded, and the packet in it."""
    body = draw(st.one_of(TCP, UDP))
    proto = 6 if isinstance(body, dpkt.tcp.TCP) else 17
    if draw(st.booleans()):
        words = draw(st.integers(0, 10))
        packet = IP(
            src=draw(ADDRESS4),
            dst=draw(ADDRESS4),
            p=proto,
            hl=5 + words,
            opts=b"\x01" * 4 * words,
            data=bytes(body),
        )
        packet.len = 20 + 4 * words + len(body)
        kind = 0x0800
    else:
        packet = IP6(src=draw(ADDRESS6), dst=draw(ADDRESS6), nxt=proto, plen=len(body), data=bytes(body))
        kind = 0x86DD
    wire = bytes(packet)
    tag = b"\x81\x00\x00\x05" * draw(st.integers(0, 2))
    data = bytes(12) + tag + kind.to_bytes(2, "big") + wire + bytes(draw(st.integers(0, 10)))
    return (IP if kind == 0x0800 else IP6)(wire), data


@given(frames())
def test_generated(frame: tuple[Any, bytes]) -> None:
    packet, data = frame
    mine = ours(Frame(0.0, ETHERNET, data, len(data), ""))
    assert mine is not None
    assert compare(mine, packet) == ""


@pytest.mark.corpus
def test_the_corpus(corpus: Path) -> None:
    """Every packet that both can read; few may be left out, and only for a reason that is listed."""
    counts: Counter[str] = Counter()
    for path in sorted((corpus / "pcap").iterdir()):
        with CaptureFile(str(path)) as capture:
            for frame in capture:
                mine, reader = ours(frame), READERS.get(frame.link)
                if reader is None or mine is None or mine.transport == "arp":
                    continue
                try:
                    packet = layers(reader(frame.data))
                except dpkt.Error:
                    counts["dpkt cannot"] += 1
                    continue
                if packet is None:
                    counts["dpkt cannot"] += 1
                    continue
                counts[compare(mine, packet)] += 1
    print(dict(counts))
    assert counts[""] > 0.95 * counts.total()
    assert set(counts) <= {"", "dpkt cannot", *DIFFERENCES}
