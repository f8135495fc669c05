"""Real packets: what was sent is what was counted, to the packet and the byte."""

import errno
import os
import socket
import struct
import time
from contextlib import suppress

import pytest

from exporter.ebpf.layout import Key

pytestmark = [pytest.mark.bpf, pytest.mark.root, pytest.mark.netns]

TCP, UDP, ICMP = 6, 17, 1
ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2 = 1, 2, 3, 4, 5
CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN = 7, 8, 9, 10
ETHER = 14


def of(rows, space, **wanted):
    """The rows of a namespace that match."""
    cookie = space.cookie()
    return [
        (key, flow)
        for key, flow in rows
        if flow.netns == cookie
        and all(getattr(key, name, getattr(flow, name, None)) == value for name, value in wanted.items())
    ]


def one(rows, space, **wanted):
    found = of(rows, space, **wanted)
    assert len(found) == 1, found
    return found[0]


@pytest.fixture(autouse=True)
def fresh(watching):
    """Begin with a new turn, so that a test sees its own packets only."""
    watching.flows()
    watching.frames()


def connect(near, far, address, family=socket.AF_INET):
    """A TCP connection from one namespace to the other; listener, client, accepted."""
    with far.entered():
        listener = socket.create_server((address, 0), family=family)
    with near.entered():
        client = socket.create_connection(listener.getsockname()[:2])
    accepted, _ = listener.accept()
    return listener, client, accepted


@pytest.mark.parametrize(("family", "address", "header"), [("4", "127.0.0.1", 28), ("6", "::1", 48)])
def test_datagrams_on_loopback(watching, space, family, address, header):
    with space.entered():
        kind = socket.AF_INET6 if family == "6" else socket.AF_INET
        server, client = socket.socket(kind, socket.SOCK_DGRAM), socket.socket(kind, socket.SOCK_DGRAM)
    server.bind((address, 0))
    client.bind((address, 0))
    port, own = server.getsockname()[1], client.getsockname()[1]
    for size in range(500):
        client.sendto(bytes(size), (address, port))
        server.recv(2000)
    rows = watching.flows()
    size = sum(range(500)) + 500 * header
    packed = socket.inet_pton(kind, address)
    key, flow = one(rows, space, lport=own)
    assert (key.local, key.remote, key.rport, key.transport) == (packed, packed, port, UDP)
    assert flow[1:9] == (0, 0, 0, 0, 500, size, 0, 0)
    _, flow = one(rows, space, lport=port)
    assert flow[1:9] == (500, size, 0, 0, 0, 0, 0, 0)
    server.close()
    client.close()


def test_a_mapped_address_is_ipv4(watching, space):
    with space.entered():
        listener = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        client = socket.create_connection(("127.0.0.1", listener.getsockname()[1]))
    accepted, _ = listener.accept()
    accepted.sendall(b"hello")
    client.recv(5)
    time.sleep(0.1)
    rows = watching.flows()
    port, own = listener.getsockname()[1], client.getsockname()[1]
    key, flow = one(rows, space, lport=port, rport=own)
    assert (key.local, key.remote) == (bytes([127, 0, 0, 1]),) * 2
    assert flow.states == 1 << SYN_RECV | 1 << ESTABLISHED
    assert flow.sent_bytes == 57
    for thing in (accepted, client, listener):
        thing.close()


@pytest.mark.parametrize("offload", ["on", "off"])
def test_a_stream_equals_the_interface(watching, pair, offload):
    for side in (pair.near, pair.far):
        side.run("ethtool", "-K", "v0", "tso", offload, "gso", offload, "gro", offload)
    before = [side.counters("v0") for side in (pair.near, pair.far)]
    listener, client, accepted = connect(pair.near, pair.far, pair.peer)
    payload, left = bytes(1 << 20), 8 << 20
    client.setblocking(False)
    sent = 0
    while left:
        if sent < 8 << 20:
            with suppress(BlockingIOError):
                sent += client.send(payload[: (8 << 20) - sent])
        left -= len(accepted.recv(1 << 20))
    time.sleep(0.3)  # the last acknowledgement
    rows = watching.flows()
    for number, side in enumerate((pair.near, pair.far)):
        after = side.counters("v0")
        moved = {name: after[name] - before[number][name] for name in after if "dropped" not in name}
        # Without offload the interface counts as the wire does; TCP itself still hands down large packets.
        more = offload == "off"
        counted = {"rx_packets": 0, "rx_bytes": 0, "tx_packets": 0, "tx_bytes": 0}
        for _, flow in of(rows, side):
            received, sent = flow.received + more * flow.received_more, flow.sent + more * flow.sent_more
            counted["rx_packets"] += received
            counted["tx_packets"] += sent
            counted["rx_bytes"] += flow.received_bytes + more * flow.received_more_bytes + ETHER * received
            counted["tx_bytes"] += flow.sent_bytes + more * flow.sent_more_bytes + ETHER * sent
        assert counted == moved
    _, flow = one(rows, pair.near)
    wire, size = flow.sent + flow.sent_more, flow.sent_bytes + flow.sent_more_bytes
    # Timestamps in every header, and eight bytes more in the SYN's; what was sent twice is on the wire twice.
    assert 0 <= size - (wire * 52 + 8 + (8 << 20)) <= flow.retransmits * 1448
    print(f"\noffload {offload}: {flow.sent} packets here, {wire} on the wire")
    for thing in (accepted, client, listener):
        thing.close()


def test_a_large_datagram_is_counted_once(watching, pair):
    with pair.near.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pair.far.entered():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((pair.peer, 0))
    server.settimeout(2)
    client.sendto(bytes(5000), server.getsockname())
    assert len(server.recv(6000)) == 5000
    rows = watching.flows()
    assert one(rows, pair.near, transport=UDP)[1][1:9] == (0, 0, 0, 0, 1, 5028, 0, 0)
    assert one(rows, pair.far, transport=UDP)[1][1:9] == (1, 5028, 0, 0, 0, 0, 0, 0)
    server.close()
    client.close()


def test_states_come_with_the_counts(watching, pair):
    listener, client, accepted = connect(pair.near, pair.far, pair.peer)
    rows = watching.flows()
    assert one(rows, pair.near)[1].states == 1 << SYN_SENT | 1 << ESTABLISHED
    accepted.close()
    time.sleep(0.05)
    rows = watching.flows()
    assert one(rows, pair.near)[1].state == CLOSE_WAIT
    server = one(rows, pair.far, rport=client.getsockname()[1])[1]
    assert server.states == 1 << ESTABLISHED | 1 << FIN_WAIT1 | 1 << FIN_WAIT2 | 1 << CLOSE
    assert (server.state, server.error) == (CLOSE, 0)  # what waits now is no socket any more
    client.close()
    time.sleep(0.05)
    flow = one(watching.flows(), pair.near)[1]
    assert flow.states == 1 << CLOSE_WAIT | 1 << LAST_ACK | 1 << CLOSE
    assert (flow.state, flow.error) == (CLOSE, 0)
    listener.close()


def test_a_refused_connection_says_why(watching, pair):
    with pair.near.entered():
        client = socket.socket()
    with pytest.raises(ConnectionRefusedError):
        client.connect((pair.peer, 9))
    rows = watching.flows()
    key, flow = one(rows, pair.near)
    assert (key.rport, flow.state, flow.error) == (9, CLOSE, errno.ECONNREFUSED)
    assert flow[1:9] == (1, 40, 0, 0, 1, 60, 0, 0)
    key, flow = one(rows, pair.far)  # the reset, by a socket of the kernel's
    assert (key.lport, key.rport, flow.tgid, flow.origin) == (0, 0, 0, 0)
    assert flow[1:9] == (0, 0, 0, 0, 1, 40, 0, 0)
    client.close()


def test_a_reset_is_told_from_an_end(watching, pair):
    listener, client, accepted = connect(pair.near, pair.far, pair.peer)
    port = client.getsockname()[1]
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    time.sleep(0.05)
    flow = one(watching.flows(), pair.far, lport=listener.getsockname()[1], rport=port)[1]
    assert (flow.state, flow.error) == (CLOSE, errno.ECONNRESET)
    assert not flow.states & (1 << CLOSE_WAIT | 1 << FIN_WAIT1)
    accepted.close()
    listener.close()


def test_retransmissions_are_counted(watching, pair):
    with pair.near.entered():
        client = socket.socket()
    pair.near.run("ip", "neigh", "replace", "192.0.2.9", "lladdr", "02:00:00:00:00:99", "dev", "v0")
    client.settimeout(1.4)
    with pytest.raises(TimeoutError):
        client.connect(("192.0.2.9", 80))
    told = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    (again,) = struct.unpack_from("I", told, 100)  # tcpi_total_retrans
    assert again == 1
    sent = retransmits = 0
    deadline = time.monotonic() + 2
    # The packet is counted first, its repetition after it.
    while retransmits < again and time.monotonic() < deadline:
        for _, flow in of(watching.flows(), pair.near):
            assert flow.state == SYN_SENT
            sent += flow.sent
            retransmits += flow.retransmits
        time.sleep(0.01)
    assert (sent, retransmits) == (2, again), watching.lost()
    client.close()


def test_a_flood_of_beginnings_fills_nothing(watching, pair):
    """3,000 SYNs of as many sources: one entry, the listener's, and no more frames than its share."""
    with pair.far.entered():
        listener = socket.create_server((pair.peer, 8080), backlog=4096)
    pair.far.run("ip", "route", "add", "198.18.0.0/15", "via", pair.address)
    with pair.near.entered():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind(("v0", 0))
    ether = bytes.fromhex("020000000002020000000001") + b"\x08\x00"
    target = socket.inet_aton(pair.peer)
    for number in range(3000):
        source = struct.pack(">I", 0xC6120001 + number)
        head = struct.pack(">BBHHHBBH4s4s", 69, 0, 40, 1, 0, 64, 6, 0, source, target)
        head = head[:10] + checksum(head) + head[12:]
        segment = struct.pack(">HHIIBBHHH", 1024, 8080, 1, 0, 80, 2, 1000, 0, 0)
        segment = (
            segment[:16] + checksum(source + target + struct.pack(">HH", 6, 20) + segment) + segment[18:]
        )
        raw.send(ether + head + segment)
    time.sleep(0.2)
    rows = watching.flows()
    key, flow = one(rows, pair.far)
    assert (key.lport, key.remote, key.rport) == (8080, bytes(4), 0)
    assert (flow.received, flow.received_bytes) == (3000, 120_000)
    assert flow.states == 1 << LISTEN
    brought = [seen for at, seen in watching.frames() if at.packed == key.packed]
    assert len([seen for seen in brought if seen.way == 0]) == 64
    raw.close()
    listener.close()


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF)


# -- what is brought up ------------------------------------------------------------------------------------------------


def exchange(client, accepted, times, size=100):
    for _ in range(times):
        client.sendall(b"q" * size)
        assert accepted.recv(size, socket.MSG_WAITALL)


def test_the_first_bytes_come_up(watching, pair):
    listener, client, accepted = connect(pair.near, pair.far, pair.peer)
    exchange(client, accepted, 40)
    accepted.sendall(b"answer")
    client.recv(6)
    client.close()
    time.sleep(0.05)
    rows, frames = watching.flows(), watching.frames()
    key, flow = one(rows, pair.near)
    seen = [one for at, one in frames if at.packed == key.packed]
    flags = [one.data[33] for one in seen]
    assert (seen[0].way, flags[0], flags[1]) == (1, 0x02, 0x12)
    payloads = [(one.way, one.data[52:]) for one in seen if len(one.data) > 52 and not one.data[33] & 2]
    assert [data for way, data in payloads if way] == [b"q" * 100] * 24
    assert [data for way, data in payloads if not way] == [b"answer"]
    assert flags[-1] & 0x01
    assert len(seen[-1].data) == 52
    assert flow.packets_left_out == 16  # for what begins an answer
    stamp = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - seen[0].time
    assert 0 < stamp < 5e9
    accepted.close()
    listener.close()


def test_the_budget_lasts_over_turns_and_can_be_changed(watching, pair):
    listener, client, accepted = connect(pair.near, pair.far, pair.peer)
    shard = watching.shards[0]

    def brought():
        key, _ = one(watching.flows(), pair.near)
        return key.packed, len([1 for at, seen in watching.frames() if at.packed == key.packed and seen.way])

    exchange(client, accepted, 20)
    packed, first = brought()
    assert first == 21  # and the SYN
    exchange(client, accepted, 20)
    assert brought() == (packed, 4)
    shard.inspect(packed, on=True)
    exchange(client, accepted, 50)
    assert brought() == (packed, 50)
    shard.inspect(packed, on=False)
    exchange(client, accepted, 50)
    assert brought() == (packed, 0)
    for thing in (accepted, client, listener):
        thing.close()


def test_what_begins_an_answer_comes_up_after_what_was_long(watching, pair):
    """A page spends the budget in bytes; the next requests and answers are read all the same, so many of them."""
    listener, client, accepted = connect(pair.near, pair.far, pair.peer)
    beginnings = [b"answer %2d" % number for number in range(20)]
    for answer in beginnings:
        client.sendall(b"question")
        accepted.recv(8)
        accepted.sendall(answer + bytes(60_000))
        rest = len(answer) + 60_000
        while rest:
            rest -= len(client.recv(rest))
    key, _ = one(watching.flows(), pair.near)
    seen = [one for at, one in watching.frames() if at.packed == key.packed and not one.data[33] & 2]
    payloads = [(one.way, one.data[52:61]) for one in seen]
    assert [data for way, data in payloads if way and data] == [b"question"] * 20
    answers = [data for way, data in payloads if not way and data.startswith(b"answer")]
    assert answers == beginnings[: len(answers)]
    assert len(answers) >= 16
    for thing in (accepted, client, listener):
        thing.close()


def test_dns_always_and_quic_long_headers_come_up(watching, pair):
    with pair.near.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pair.far.entered():
        servers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for server, port in zip(servers, (53, 443), strict=True):
        server.bind((pair.peer, port))
    for _ in range(60):
        client.sendto(b"\x12\x34query", (pair.peer, 53))
        client.sendto(b"\x40short", (pair.peer, 443))
        client.sendto(b"\xc0long", (pair.peer, 443))
    time.sleep(0.05)
    client_port = client.getsockname()[1]
    seen = [(key.rport, one.data[28:]) for key, one in watching.frames() if key.lport == client_port]
    assert seen.count((53, b"\x12\x34query")) == 60
    assert seen.count((443, b"\xc0long")) == 60
    assert seen.count((443, b"\x40short")) == 24
    for thing in (client, *servers):
        thing.close()


def test_nothing_comes_up_of_a_quiet_process(watch, space):
    watching = watch()
    watching.kernel.hush(os.getpid())
    with space.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.sendto(b"query", ("127.0.0.1", 53))
    _, flow = one(watching.flows(), space, transport=UDP, rport=53)
    assert (flow.sent, flow.quiet) == (1, 1)
    assert [seen for key, seen in watching.frames() if key.packed == flow.key] == []
    client.close()


def test_a_key_reads_back(watching, space):
    with space.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.sendto(b"x", ("127.0.0.1", 9))
    key, flow = one(watching.flows(), space, transport=UDP, rport=9)
    assert Key.read(flow.key) == key
    client.close()
