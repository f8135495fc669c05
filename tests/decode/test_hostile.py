"""Nothing but UndecodableError, whatever the bytes; and what is given is consistent in itself."""

from collections.abc import Iterator

from hypothesis import example, given
from hypothesis import strategies as st

from exporter.model import Packet
from tests.decode.build import ETHERNET, ethernet, every, only, reason, summary
from tests.decode.test_link import CASES as LINKS
from tests.decode.test_tunnel import CASES as TUNNELS

FRAMES = [(link, head + body) for link, head, body in LINKS.values()] + [
    (ETHERNET, ethernet(0x86DD if outer[0] >> 4 == 6 else 0x0800, outer)) for outer, _ in TUNNELS.values()
]


def chain(packet: Packet) -> Iterator[Packet]:
    """Give a packet and all that are inside."""
    current: Packet | None = packet
    while current is not None:
        yield current
        if current.quoted is not None:
            yield current.quoted
        current = current.inner


def laws(link: int, data: bytes, wire: int) -> None:
    why = reason(data, link, wire)
    assert why in {"", "not_ip", "truncated", "malformed", "link_type", "nested", "fragment"}
    if why:
        return
    for outer in every(data, link, wire):
        assert 0 <= outer.link <= len(data)
        assert outer.pad >= 0
        for packet in chain(outer):
            assert packet.transport
            assert len(packet.src) == len(packet.dst)
            assert len(packet.src) in {4, 16}
            assert 0 <= packet.sport < 1 << 16 > packet.dport >= 0
            assert len(packet.payload) <= packet.length <= packet.size
            assert not (packet.fragment and packet.payload)


@given(
    st.sampled_from(FRAMES),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6),
    st.integers(0, 250),
    st.integers(0, 100),
)
def test_mutated(frame: tuple[int, bytes], changes: list[tuple[int, int]], cut: int, more: int) -> None:
    link, whole = frame
    data = bytearray(whole)
    for at, value in changes:
        data[at % len(data)] = value
    laws(link, bytes(data[:cut]), len(data) + more)


@given(st.sampled_from([0x0800, 0x86DD, 0x0806, 0x8847, 0x8864, 0x0026]), st.binary(max_size=200))
@example(0x86DD, bytes.fromhex("60000000 ffff 2c 40") + bytes(200))
def test_random(kind: int, body: bytes) -> None:
    laws(ETHERNET, ethernet(kind, body), 14 + len(body))


@given(st.sampled_from(sorted({link for link, _ in FRAMES} | {147})), st.binary(max_size=120))
def test_any_link(link: int, data: bytes) -> None:
    laws(link, data, len(data))


@given(st.sampled_from(FRAMES), st.binary(max_size=30))
def test_padding_changes_nothing_but_itself(frame: tuple[int, bytes], pad: bytes) -> None:
    link, data = frame
    assert summary(only(data + pad, link)) == summary(only(data, link)) | {"pad": len(pad)}
