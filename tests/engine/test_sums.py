"""What must add up, for any sequence of frames: every byte is counted once, on the fast path as on the general one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import metrics as m
from tests.engine import frames as f
from tests.engine.frames import End, Talk
from tests.engine.rig import ETH, LO, Rig

ENDS = [
    End("10.0.0.1", 40_000),
    End("10.0.0.1", 443),
    End("192.0.2.1", 80),
    End("192.0.2.2", 53),
    End("198.51.100.1", 40_000),
    End("224.0.0.251", 5353),
    End("10.0.0.255", 138),
]
ENDS6 = [End("2001:db8::1", 40_000), End("2001:db8:1::2", 443), End("ff02::fb", 5353)]
PAYLOADS = st.sampled_from(
    [
        b"",
        b"x",
        b"xyz",
        b"x" * 40,
        b"x" * 1400,
        b"x" * 1460,
        b"x" * 4000,
        b"x" * 20_000,
        b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x07example\x00\x00\x01\x00\x01",
        b"\x16\x03\x01\x40\x00\x01",
    ]
)
LINKS = st.sampled_from([{}, {"vlans": (7,)}, {"vlans": (7, 8)}, {"src": f.HERE}, {"pad": False}])


@st.composite
def segments(draw):
    """A TCP segment that need not fit any conversation, but often does."""
    ends = draw(st.sampled_from([ENDS, ENDS6]))
    a, b = draw(st.sampled_from(ends)), draw(st.sampled_from(ends))
    flags = draw(st.sampled_from(["S", "SA", "A", "A", "A", "PA", "PA", "FA", "R", "RA", "", "SF", "U"]))
    number = st.sampled_from([1000, 1001, 1002, 2461, 2401, 5000, 0xFFFFFFFF, 0])
    options = draw(st.sampled_from([b"", b"", f.mss(1000), f.mss(1460) + b"\1\1\1\0"]))
    network = draw(st.sampled_from([{}, {}, {}, {"header": bytes(8)}]))
    return f.segment(
        a,
        b,
        flags,
        draw(number),
        draw(number),
        data=draw(PAYLOADS),
        options=options,
        link=draw(LINKS),
        **network,
    )


@st.composite
def datagrams(draw):
    ends = draw(st.sampled_from([ENDS, ENDS6]))
    a, b = draw(st.sampled_from(ends)), draw(st.sampled_from(ends))
    network = draw(st.sampled_from([{}, {}, {"header": bytes(8)}, {"total": 0}]))
    return f.datagram(a, b, draw(PAYLOADS), link=draw(LINKS), **network)


@st.composite
def fragments(draw):
    """One of the pieces of a datagram, the first one or not."""
    a, b = draw(st.sampled_from(ENDS)), draw(st.sampled_from(ENDS))
    place = draw(st.sampled_from([0x2000, 0x2000 | 4, 8]))
    body = f.udp(a.port, b.port, b"x" * 24) if place == 0x2000 else b"y" * 32
    return f.ethernet(f.ip(a.address, b.address, f.UDP, body, fragment=place, ident=draw(st.integers(1, 2))))


@st.composite
def others(draw):
    a, b = draw(st.sampled_from(ENDS)), draw(st.sampled_from(ENDS))
    quoted = f.segment(a, b, "S", 1000)
    return draw(
        st.sampled_from(
            [
                f.ethernet(b"\x42\x42\x03" + bytes(40), kind=0x88CC),
                f.ethernet(f.ip(a.address, b.address, 1, b"\x08\x00" + bytes(30))),
                f.ethernet(f.ip(a.address, b.address, 2, b"\x16\x00" + bytes(6))),
                f.ethernet(f.ip(a.address, b.address, 47, bytes(20))),
                f.ethernet(f.ip(a.address, b.address, 6, b"\x12")),
                f.ethernet(f.ip(a.address, b.address, 6, bytes(20), total=10)),
                f.ethernet(
                    b"\0\1\x08\0\6\4\0\1" + f.HERE + a.packed + bytes(6) + b.packed
                    if len(a.packed) == 4
                    else b"",
                    kind=0x0806,
                ),
                f.unreachable(b.address, a.address, quoted),
                b"\x01\x02",
                b"",
            ]
        )
    )


RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"


@st.composite
def conversations(draw):
    """Conversations that run their course, of which some frames are lost, doubled or late, all mixed."""
    all_ = []
    for number in range(draw(st.integers(1, 3))):
        six = draw(st.booleans())
        here = End("2001:db8::1" if six else "10.0.0.1", 40_000 + number)
        away = End(
            draw(st.sampled_from(["2001:db8::2", "2001:db8::1"] if six else ["192.0.2.1", "10.0.0.1"])), 80
        )
        ends = (here, away) if draw(st.booleans()) else (away, here)
        one = Talk(*ends, isn=(draw(st.sampled_from([1000, 0xFFFFFFFF, 0xFFFF0000])), 9000))
        frames = one.handshake(draw(st.sampled_from([0, 536, 1300, 1460])))
        for _ in range(draw(st.integers(0, 12))):
            side = draw(st.integers(0, 1))
            data = draw(st.one_of(PAYLOADS, st.sampled_from([REQUEST, RESPONSE, b"z" * 15_000])))
            frames.append(one.say(side, draw(st.sampled_from(["A", "PA", "PA"])), data))
            frames += [one.say(1 - side, "A")] * draw(st.integers(0, 1))
        frames += draw(st.sampled_from([[], one.close(), one.close(1)[:3], [one.c("RA")]]))
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(frames) - 1))
            frames[at : at + 1] = draw(st.sampled_from([[], [frames[at]] * 2]))
            if not frames:
                break
            frames.insert(draw(st.integers(0, len(frames) - 1)), frames.pop())
        all_.append(frames)
    mixed = []
    while any(all_):
        chosen = draw(st.sampled_from([frames for frames in all_ if frames]))
        mixed.append(chosen.pop(0))
    return mixed


ANYTHING = st.lists(
    st.one_of(segments(), segments(), segments(), datagrams(), fragments(), others()), max_size=40
)
FRAMES = st.one_of(ANYTHING, conversations())


def played(frames, *, fast=True, wait=True, **config):
    rig = Rig(fast=fast, broadcast=("10.0.0.255",), **config)
    for number, frame in enumerate(frames):
        rig.put(frame)
        if wait and number % 7 == 6:
            rig.wait(0.5)
    rig.wait(2)
    rig.wait(40, 10.0)  # fragments whose first never came
    return rig


def check(rig):
    """The equation of DESIGN section 5, to the byte."""
    assert rig.bytes == rig.captured
    peers = rig.sum(m.PEER_RECEIVE_BYTES) + rig.sum(m.PEER_TRANSMIT_BYTES)
    forwarded = sum(v for (who, _), v in rig.rows(m.RECEIVE_BYTES).items() if who == "forwarded")
    assert peers + forwarded == rig.captured


@settings(max_examples=150, deadline=None)
@given(FRAMES)
def test_processes_add_up_to_what_was_captured(frames):
    check(played(frames))


@settings(max_examples=150, deadline=None)
@given(FRAMES, st.sampled_from(["wire", "stack"]))
def test_the_fast_path_and_the_general_one_agree(frames, count_as):
    """Ledger against ledger: every family, every label, every value."""
    config = {"capture": {"count_as": count_as}}
    quick, plain = played(frames, **config), played(frames, fast=False, **config)

    def all_of(rig):
        return {
            (row.key[0].name, row.key[1], row.key[2]): list(
                rig.ledger.values[row.slot : row.slot + row.key[0].width]
            )
            for row in rig.ledger.rows.values()
        }

    assert all_of(quick) == all_of(plain)


def local_twice(frame):
    """How often a frame is counted: both ends of it may be ours."""
    kind = int.from_bytes(frame[12:14], "big")
    own = {End("10.0.0.1", 0).packed, End("2001:db8::1", 0).packed}
    if kind == 0x0800:
        return 2 if frame[26:30] in own and frame[30:34] in own else 1
    if kind == 0x86DD:
        return 2 if frame[22:38] in own and frame[38:54] in own else 1
    return 1


@settings(max_examples=150, deadline=None)
@given(FRAMES)
def test_captured_and_ignored_add_up_to_the_frames(frames):
    """What the interface carried = IP bytes + ignored bytes + 14 for each packet (where no packet counts twice)."""
    frames = [frame for frame in frames if local_twice(frame) == 1 and frame[12:14] != b"\x81\x00"]
    rig = played(frames, capture={"count_as": "stack"})
    carried = sum(map(len, frames))
    assert rig.captured + rig.ignored + 14 * rig.sum(m.CAPTURED_PACKETS) == carried
    arrived = rig.sum(m.CAPTURED_PACKETS) + rig.sum(m.IGNORED_PACKETS)
    assert arrived == len(frames)


@settings(max_examples=60, deadline=None)
@given(FRAMES)
def test_vlan_tags_are_ignored_bytes(frames):
    frames = [
        frame[:12] + b"\x81\0\0\7" + frame[12:] for frame in frames if len(frame) > 14 and frame[12] != 0x81
    ]
    frames = [frame for frame in frames if local_twice(frame[:12] + frame[16:]) == 1]
    rig = played(frames, capture={"count_as": "stack"})
    assert rig.captured + rig.ignored + 14 * rig.sum(m.CAPTURED_PACKETS) == sum(map(len, frames))


@settings(max_examples=60, deadline=None)
@given(FRAMES)
def test_sums_stay_exact_where_there_is_no_room_for_series(frames):
    config = {"metrics": {"series_limit": 3, "family_limit": 1}}
    rig = Rig(broadcast=("10.0.0.255",), **config)
    for number, frame in enumerate(frames):
        rig.put(frame)
        rig.answer({40_000: f"p{number}", 443: f"q{number}"})
    rig.wait(2)
    check(rig)


@settings(max_examples=60, deadline=None)
@given(FRAMES, st.lists(st.sampled_from(["curl", "nginx", "", "netproc-exporter"]), min_size=1, max_size=5))
def test_names_that_come_at_any_time_move_nothing(frames, names):
    """Every counter only grows, whatever is answered when."""
    rig = Rig()
    before = {}
    for number, frame in enumerate(frames):
        rig.put(frame)
        if number % 3 == 2:
            rig.wait(0.6)
            rig.answer(names[number % len(names)], final=number % 2 == 0)
        now = rig.rows(m.TRANSMIT_BYTES) | {("in", *k): v for k, v in rig.rows(m.RECEIVE_BYTES).items()}
        for key, value in before.items():
            assert now[key] >= value
        before = now
    rig.settle()
    check(rig)


@settings(max_examples=100, deadline=None)
@given(FRAMES)
def test_nothing_is_left_when_all_has_ended(frames):
    """Gauges at 0, no row held, no table with anything in it."""
    rig = played(frames).over()
    empty(rig)


def empty(rig):
    context = rig.engine.context
    assert len(context.table) == 0
    assert list(context.table) == []
    assert context.table.tombstones == {}
    assert rig.moved(m.CONNECTIONS) == {}
    assert rig.moved(m.CONNECTIONS_BY_STALENESS) == {}
    assert rig.sum(m.TABLE_CONNECTIONS) == 0
    assert context.accounts._rows == {}
    assert [row.key for row in rig.ledger.rows.values() if row.held] == []
    owners = context.owners
    assert (owners._asked, owners._watched, owners._watching) == ({}, {}, {})
    assert rig.engine.settlement.waiting == {}
    assert rig.engine.lifecycle.ended == {}
    for port in rig.engine._ports.values():
        assert not any(port.tables.values())


# -- particular frames ---------------------------------------------------------------------------------------------


def alone(frame, on=ETH, **config):
    rig = Rig(**config).put(frame, on=on).settle()
    assert rig.bytes == rig.captured
    return rig


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("size", [0, 1, 5, 6, 100])
def test_padding_is_no_payload(fast, size):
    one = Talk()
    rig = Rig(fast=fast).put(*one.handshake(), one.c("PA", b"x" * size), one.c("PA", b"y")).settle()
    assert rig.captured == 200 + size + 1
    pads = 3 * 6 + max(0, 6 - size) + 5
    assert rig.rows(m.IGNORED_BYTES)["", ("eth0", "padding")] == pads
    assert rig.moved(m.RETRANSMITTED_SEGMENTS) == {}


def test_a_length_of_zero_is_what_was_captured():
    """BIG TCP and TSO leave IPv4's total length at 0."""
    one = Talk()
    rig = Rig(capture={"count_as": "stack"}).put(*one.handshake())
    big = one.c("PA", b"x" * 70_000, total=0)
    rig.put(big, one.c("PA", b"y" * 100)).settle()
    assert rig.captured == 120 + 70_040 + 140
    assert rig.moved(m.RETRANSMITTED_SEGMENTS) == {}


@pytest.mark.parametrize(
    ("size", "sent", "segments"),
    [(1000, 1040, 1), (1001, 1081, 2), (2000, 2080, 2), (64_000, 64_000 + 64 * 40, 64), (1360, 1440, 2)],
)
@pytest.mark.parametrize("fast", [True, False])
def test_offloaded_segments_are_counted_as_on_the_wire(size, sent, segments, fast):
    """The smaller of both MSS options says how many: 1000 bytes each here."""
    one = Talk()
    rig = Rig(fast=fast, metrics={"packets": True})
    rig.put(one.c("S", options=f.mss(1000)), one.s("SA", options=f.mss(1460)), one.c("A"))
    for side in (0, 1):
        rig.put(one.say(side, "PA", b"x" * size, link={"pad": False}))
    rig.settle()
    assert rig.sum(m.TRANSMIT_BYTES) == 88 - 4 + sent
    assert rig.sum(m.RECEIVE_BYTES) == 44 + sent
    assert rig.sum(m.TRANSMIT_PACKETS) == 2 + segments
    assert rig.sum(m.ESTIMATED_SEGMENTS) == 2 * (segments - 1)
    assert rig.captured == rig.bytes


def test_without_an_mss_the_interfaces_mtu_decides():
    one = Talk()
    rig = Rig().put(one.c("PA", b"x" * 2920)).settle()
    assert rig.captured == 2920 + 80
    rig = Rig().put(one.c("PA", b"x" * 2920), on=ETH._replace(mtu=9000)).settle()
    assert rig.captured == 2920 + 40


def test_the_stack_counts_what_it_hands_over():
    one = Talk()
    rig = Rig(capture={"count_as": "stack"}).put(*one.handshake(1000), one.c("PA", b"x" * 9000)).settle()
    assert rig.captured == 128 + 9040
    assert rig.sum(m.ESTIMATED_SEGMENTS) == 0


def test_every_fragment_belongs_to_its_connection_whatever_the_order():
    a, b = ENDS[0], ENDS[3]
    whole = f.udp(a.port, b.port, b"x" * 40)
    pieces = [
        f.ethernet(f.ip(a.address, b.address, 17, whole[:24], fragment=0x2000)),
        f.ethernet(f.ip(a.address, b.address, 17, whole[24:], fragment=3)),
    ]
    for order in (pieces, pieces[::-1]):
        rig = Rig().put(*order).settle()
        assert len(rig.conns) == 1
        assert rig.captured == rig.bytes == 88
    rig = Rig().put(pieces[1]).wait(40, 5.0)
    assert rig.rows(m.IGNORED_BYTES)["", ("eth0", "fragment")] == 60


def test_arp_is_ignored_bytes_and_a_connection_of_the_kernel():
    request = b"\0\1\x08\0\6\4\0\1" + f.HERE + ENDS[0].packed + bytes(6) + ENDS[2].packed
    rig = alone(f.ethernet(request, kind=0x0806))
    assert rig.rows(m.IGNORED_BYTES)["", ("eth0", "arp")] == 42
    assert rig.captured == 0
    assert rig.of(m.CONNECTIONS, "kernel", "unknown", "arp", "unknown") == 1


def test_forwarded_is_counted_where_it_enters():
    frame = f.datagram(ENDS[4], ENDS[2], b"x" * 100)
    out = ETH._replace(name="eth1", mac=bytes.fromhex("02000000ff01"))
    rig = Rig().put(frame).put(frame[:6] + out.mac + frame[12:], on=out).settle()
    assert rig.captured == rig.bytes == rig.of(m.RECEIVE_BYTES, "forwarded", "unknown", "udp") == 128
    assert rig.rows(m.IGNORED_BYTES)["", ("eth1", "forwarded")] == 142
    assert rig.moved(m.PEER_RECEIVE_BYTES) == {}


@pytest.mark.parametrize("target", [ENDS[5], ENDS[6]])
def test_multicast_received_here_is_local(target):
    frame = f.datagram(End("10.0.0.9", 5353), target, b"x" * 30)
    rig = Rig(broadcast=("10.0.0.255",)).put(frame).answer({target.port: "avahi"}).settle()
    assert rig.moved(m.RECEIVE_BYTES) == {("avahi", ("unknown", "udp")): 58}


def test_multicast_that_nobody_takes_is_the_kernels():
    rig = Rig().put(f.datagram(End("10.0.0.9", 5353), ENDS[5], b"x" * 30))
    rig.answer({5353: ""}).settle()
    assert rig.moved(m.RECEIVE_BYTES) == {("kernel", ("unknown", "udp")): 58}


def test_multicast_sent_here_is_not_received():
    rig = Rig().put(f.datagram(ENDS[0], ENDS[5], b"x" * 30, link={"src": f.HERE})).settle()
    assert rig.sum(m.TRANSMIT_BYTES) == 58
    assert rig.sum(m.RECEIVE_BYTES) == 0


def test_on_loopback_a_packet_is_sent_and_received():
    one = Talk(End("127.0.0.1", 40_000), End("127.0.0.1", 80))
    rig = (
        Rig()
        .put(*one.handshake(), one.c("PA", b"x" * 10), on=LO)
        .answer({40_000: "curl", 80: "nginx"})
        .settle()
    )
    sent, got = rig.moved(m.TRANSMIT_BYTES), rig.moved(m.RECEIVE_BYTES)
    assert sum(sent.values()) == sum(got.values()) == 170
    assert {who for who, _ in sent} == {"curl", "nginx"}
    assert rig.rows(m.CAPTURED_BYTES) == {("", ("lo", "receive")): 170, ("", ("lo", "transmit")): 170}


def test_a_port_without_link_header():
    tun = ETH._replace(name="tun0", link=12, mac=b"")
    one = Talk()
    frames = [frame[14:] for frame in [*one.handshake(), one.c("PA", b"x" * 100)]]
    frames = [frame[: int.from_bytes(frame[2:4], "big")] for frame in frames]
    pieces = f.ip("10.0.0.1", "192.0.2.2", 17, b"y" * 32, fragment=4)
    rig = Rig().put(*frames, pieces, b"\xff", on=tun).wait(40, 5.0)
    assert rig.captured == rig.bytes == 260
    assert rig.rows(m.IGNORED_BYTES)["", ("tun0", "fragment")] == 52
    assert rig.captured + rig.ignored == sum(map(len, frames)) + 52 + 1


def test_the_same_ends_inside_of_a_tunnel_are_another_connection():
    """A file that shows both: the outer packets are counted once, the inner connection moves no byte."""
    one = Talk()
    inner = one.c("PA", b"x" * 10)
    vxlan = f.datagram(End("10.0.0.1", 50_000), End("192.0.2.9", 4789), b"\x08" + bytes(7) + inner)
    rig = Rig(begin=False).read(inner, vxlan, inner[:12] + inner[12:]).settle()
    kinds = sorted((conn.tunnel, conn.transport) for conn in rig.conns)
    assert kinds == [("", "tcp"), ("", "udp"), ("vxlan", "tcp")]
    assert rig.captured == rig.bytes == 2 * 50 + len(vxlan) - 14
    rig.over()
    empty(rig)
