"""What one connection announces and another then is: FTP's data, TFTP's transfers, media of SIP and RTSP."""

import struct

import pytest

from exporter import metrics as m
from exporter.flow.expected import MAX_EXPECTED
from tests.engine.counted import ANY, Counted, key, moved
from tests.engine.frames import End, Talk, datagram
from tests.engine.rig import Rig

HERE, SERVER, THIRD = "10.0.0.1", "192.0.2.1", "192.0.2.77"
BINARY = bytes(range(256)) * 4
"""A file that is like nothing."""
MAIL = b"220 mail.example ESMTP\r\n" * 40
"""A file that is like another protocol's beginning."""


@pytest.fixture(params=[True, False], ids=["fast", "slow"])
def rig(request):
    return Rig(fast=request.param)


def control(client=HERE, server=SERVER):
    return Talk(End(client, 40_000), End(server, 21))


def login(talk):
    return [
        *talk.handshake(),
        talk.s("PA", b"220 FTP ready\r\n"),
        talk.c("PA", b"USER anonymous\r\n"),
        talk.s("PA", b"331 password\r\n"),
        talk.c("PA", b"PASS x\r\n"),
        talk.s("PA", b"230 in\r\n"),
    ]


def passive(talk, port=2000, *, extended=False):
    if extended:
        return [talk.c("PA", b"EPSV\r\n"), talk.s("PA", b"229 Entering (|||%d|)\r\n" % port)]
    told = b"10,99,0,1,%d,%d" % divmod(port, 256)  # its address behind a translation
    return [talk.c("PA", b"PASV\r\n"), talk.s("PA", b"227 Entering (%b)\r\n" % told)]


def transfer(ends, data, sender=1):
    """A connection of `ends`, opened by the first, over which `sender` says `data`."""
    talk = Talk(*ends)
    return [*talk.handshake(), *([talk.say(sender, "PA", data)] if data else []), *talk.close(sender)]


def size(*frames):
    """IP bytes."""
    return sum(struct.unpack(">H", frame[16:18])[0] for frame in frames)


def protocols(rig):
    """By the ports of both ends."""
    return {(conn.ends[0][1], conn.ends[1][1]): conn.protocol for conn in rig.over().ended}


def carried(rig):
    """IP bytes by protocol."""
    out = {}
    for family in (m.RECEIVE_BYTES, m.TRANSMIT_BYTES):
        for (_, labels), value in rig.moved(family).items():
            out[labels[0]] = out.get(labels[0], 0) + int(value)
    return out


# -- FTP ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [BINARY, MAIL, b"\0", b""], ids=["binary", "like mail", "a byte", "empty"])
@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("sender", [0, 1], ids=["upload", "download"])
def test_ftp_passive(rig, data, extended, sender):
    talk = control()
    frames = transfer((End(HERE, 41_000), End(SERVER, 2000)), data, sender)
    rig.put(*login(talk), *passive(talk, extended=extended), *frames, *talk.close()).settle()
    assert carried(rig)["ftp_data"] == size(*frames)
    assert rig.sum(m.DISSECTOR_FAULTS) == 0
    assert protocols(rig) == {(40_000, 21): "ftp", (41_000, 2000): "ftp_data"}


@pytest.mark.parametrize("command", [b"PORT 10,0,0,1,7,208\r\n", b"EPRT |1|10.0.0.1|2000|\r\n"])
def test_ftp_active(rig, command):
    talk = control()
    frames = transfer((End(SERVER, 20), End(HERE, 2000)), BINARY, 0)
    rig.put(*login(talk), talk.c("PA", command), talk.s("PA", b"200 ok\r\n"), *frames).settle()
    assert carried(rig)["ftp_data"] == size(*frames)


def test_ftp_over_ipv6(rig):
    here, server = "2001:db8::1", "2001:db8::99"
    talk = control(here, server)
    frames = transfer((End(here, 41_000), End(server, 2000)), BINARY)
    rig.put(*login(talk), *passive(talk, extended=True), *frames, *talk.close())
    assert protocols(rig) == {(40_000, 21): "ftp", (41_000, 2000): "ftp_data"}


def test_ftp_whose_beginning_was_not_seen(rig):
    talk = control()
    rig.put(*passive(talk)[1:], *transfer((End(HERE, 41_000), End(SERVER, 2000)), BINARY))
    assert protocols(rig)[41_000, 2000] == "ftp_data"


def test_one_announcement_is_for_one_connection(rig):
    talk = control()
    rig.put(*login(talk), *passive(talk))
    for port in (41_000, 41_001):
        rig.put(*transfer((End(HERE, port), End(SERVER, 2000)), BINARY))
    assert protocols(rig) == {(40_000, 21): "ftp", (41_000, 2000): "ftp_data", (41_001, 2000): ""}


@pytest.mark.parametrize(
    "ends",
    [
        (End(HERE, 41_000), End(SERVER, 2001)),
        (End(HERE, 41_000), End(THIRD, 2000)),
        (End(THIRD, 41_000), End(HERE, 2000)),
    ],
    ids=["another port", "another host", "of this host"],
)
def test_what_was_not_announced(rig, ends):
    talk = control()
    rig.put(*login(talk), *passive(talk), *transfer(ends, BINARY))
    assert protocols(rig)[ends[0].port, ends[1].port] == ""


def test_no_announcement_no_name(rig):
    rig.put(*transfer((End(HERE, 41_000), End(SERVER, 2000)), BINARY))
    assert protocols(rig) == {(41_000, 2000): ""}


def test_what_was_refused_carries_nothing(rig):
    talk, data = control(), Talk(End(HERE, 41_000), End(SERVER, 2000))
    rig.put(*login(talk), *passive(talk), data.c("S"), data.s("RA"))
    assert protocols(rig)[41_000, 2000] == ""


def test_a_conversation_that_goes_on_is_not_what_is_to_come(rig):
    talk, web = control(), Talk(End(HERE, 42_000), End(SERVER, 2000))
    exchange = (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"HTTP/1.1 204 None\r\n\r\n")
    for before in ([*web.handshake()], [*login(talk), *passive(talk)]):
        rig.put(*before, web.c("PA", exchange[0]), web.s("PA", exchange[1]))
    rig.put(*transfer((End(HERE, 41_000), End(SERVER, 2000)), BINARY))
    assert protocols(rig) == {(40_000, 21): "ftp", (42_000, 2000): "http", (41_000, 2000): "ftp_data"}


def test_too_late(rig):
    talk = control()
    rig.put(*login(talk), *passive(talk)).wait(61, step=1)
    rig.put(*transfer((End(HERE, 41_000), End(SERVER, 2000)), BINARY))
    assert protocols(rig)[41_000, 2000] == ""


def test_data_may_be_as_late_as_it_likes(rig):
    """The connection came in time; what it carries comes when the server has found it."""
    talk, data = control(), Talk(End(HERE, 41_000), End(SERVER, 2000))
    rig.put(*login(talk), *passive(talk), *data.handshake()).wait(90, step=1)
    rig.put(data.s("PA", BINARY), *data.close(1))
    assert protocols(rig)[41_000, 2000] == "ftp_data"


@pytest.mark.parametrize("data", [BINARY, b""], ids=["a file", "empty"])
def test_a_protocol_that_is_not_inspected_is_not_expected(data):
    rig = Rig(dissectors=[d for d in known() if d.name != "ftp_data"])
    talk = control()
    rig.put(*login(talk), *passive(talk), *transfer((End(HERE, 41_000), End(SERVER, 2000)), data))
    assert protocols(rig)[41_000, 2000] == ""


def known():
    return list(Rig().engine.context.inspection.by_name.values())


# -- as the kernel counts ----------------------------------------------------------------------------------------------


def seen(rig, end, talk, sender, frames):
    """A client's socket has these frames, which `sender` says in turn."""
    for side, frame in zip(sender, frames, strict=True):
        rig.see(end, frame, sent=side == 0)
    return talk


@pytest.mark.parametrize("data", [BINARY, b""], ids=["a file", "empty"])
def test_ftp_passive_counted_in_the_kernel(data):
    rig = Counted()
    a, b, server, port = End(HERE, 40_000), End(HERE, 41_000), End(SERVER, 21), End(SERVER, 2000)
    talk = control()
    seen(rig, key(a, server), talk, (0, 1, 0, 1, 0, 1, 0, 1), login(talk))
    seen(rig, key(a, server), talk, (0, 1), passive(talk))
    order = (0, 1, 0, *((1,) if data else ()), 1, 0, 0, 1)
    seen(rig, key(b, port, 2), talk, order, transfer((b, port), data))
    rig.turn(
        moved(key(a, server), got=(6, 600), sent=(7, 700), initiator=1),
        moved(key(b, port, 2), got=(4, 4000), sent=(4, 160), initiator=1, state="closed", ended="fin"),
    ).settle()
    assert rig.of(m.RECEIVE_BYTES, "curl", "ftp_data", "tcp") == 4000
    assert rig.of(m.TRANSMIT_BYTES, "curl", "ftp_data", "tcp") == 160
    assert rig.of(m.RECEIVE_BYTES, "curl", "ftp", "tcp") == 600


def test_a_connection_whose_tally_comes_before_its_packets_is_still_the_announced_one():
    rig = Counted()
    a, b, server, port = End(HERE, 40_000), End(HERE, 41_000), End(SERVER, 21), End(SERVER, 2000)
    talk, data = control(), Talk(b, port)
    rig.turn(moved(key(b, port, 2), got=(1, 60), sent=(2, 100), initiator=1, at=rig.now + 0.5))
    rig.now -= 1.0
    seen(rig, key(a, server), talk, (1, 0, 1), [talk.s("PA", b"220 FTP\r\n"), *passive(talk)])
    data.handshake()
    rig.see(key(b, port, 2), data.s("PA", BINARY), sent=False, gap=1.0)
    rig.turn(moved(key(b, port, 2), got=(1, 2000))).settle()
    assert rig.of(m.RECEIVE_BYTES, "curl", "ftp_data", "tcp") == 2060


def test_tftp_counted_in_the_kernel():
    rig = Counted()
    client, server, other = End(HERE, 40_000), End(SERVER, 69), End(SERVER, 3000)
    rig.see(key(client, server, 1, "udp"), datagram(client, server, b"\0\1file\0octet\0"), sent=True)
    rig.see(key(client, other, 1, "udp"), datagram(other, client, b"\0\3\0\1short"), sent=False)
    rig.turn(
        moved(key(client, server, 1, "udp"), sent=(1, 41)),
        moved(key(client, other, 1, "udp"), got=(1, 37), sent=(1, 32)),
    ).settle()
    assert rig.of(m.RECEIVE_BYTES, "curl", "tftp", "udp") == 37
    assert rig.of(m.TRANSMIT_BYTES, "curl", "tftp", "udp") == 41 + 32


def test_ftp_active_counted_in_the_kernel():
    """Its handshake is the listener's."""
    rig = Counted()
    client, server, mine, far = End(HERE, 40_000), End(SERVER, 21), End(HERE, 2000), End(SERVER, 20)
    rig.see(key(client, server), control().c("PA", b"PORT 10,0,0,1,7,208\r\n"), sent=True)
    talk = Talk(far, mine)
    for frame, sent in zip(talk.handshake(), (False, True, False), strict=True):
        rig.see(key(mine, ANY, 3), frame, sent=sent)
    rig.see(key(mine, far, 4), talk.c("PA", BINARY), sent=False)
    rig.turn(moved(key(mine, far, 4), got=(2, 2000), sent=(1, 40), initiator=0)).settle()
    assert rig.of(m.RECEIVE_BYTES, "curl", "ftp_data", "tcp") == 2000


# -- TFTP --------------------------------------------------------------------------------------------------------------

CLIENT, ASKED, OTHER = End(HERE, 40_000), End(SERVER, 69), End(SERVER, 3000)


@pytest.mark.parametrize(
    "said",
    [
        [(1, b"\0\3\0\1short"), (0, b"\0\4\0\1")],
        [(1, b"\0\6rollover\0001\0"), (0, b"\0\4\0\0"), (1, b"\0\3\0\1" + bytes(1400))],
        [(1, b"\0\5\0\1no such file\0")],
        [(1, b"\0\4\0\0"), (0, b"\0\3\0\1short")],
    ],
    ids=["short", "options", "an error", "a file is sent"],
)
def test_tftp_goes_on_from_another_port(rig, said):
    rig.put(datagram(CLIENT, ASKED, b"\0\1file\0octet\0"))
    rig.put(*(datagram(OTHER, CLIENT, d) if side else datagram(CLIENT, OTHER, d) for side, d in said))
    assert protocols(rig) == {(40_000, 69): "tftp", (3000, 40_000): "tftp"}


@pytest.mark.parametrize("source", [End(THIRD, 3000), OTHER], ids=["another host", "no request"])
def test_what_is_like_a_transfer_and_was_not_asked_for(rig, source):
    if source is not OTHER:
        rig.put(datagram(CLIENT, ASKED, b"\0\1file\0octet\0"))
    rig.put(datagram(source, CLIENT, b"\0\3\0\1short"))
    assert protocols(rig)[3000, 40_000] == ""


# -- media -------------------------------------------------------------------------------------------------------------

PHONE, PROXY = End(HERE, 5060), End(SERVER, 5060)
CALL = b"Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%b"


def sdp(address, port, more=b""):
    return b"v=0\r\nc=IN IP4 %b\r\nm=audio %d RTP/AVP 111\r\n%b" % (address.encode(), port, more)


def invite(body):
    return datagram(PHONE, PROXY, b"INVITE sip:b@example.test SIP/2.0\r\n" + CALL % (len(body), body))


def ok(body):
    return datagram(PROXY, PHONE, b"SIP/2.0 200 OK\r\n" + CALL % (len(body), body))


def rtp(number=1, kind=111):
    """Opus says nothing that could be known."""
    return struct.pack(">BBHII", 0x80, kind, number, 960 * number, 0xC0FFEE) + b"\x78\x99" * 20


REPORT = struct.pack(">BBHII", 0x80, 201, 1, 7, 0)[:8]
STUN = struct.pack(">HHI", 1, 0, 0x2112A442) + bytes(12)


@pytest.mark.parametrize("answered", [True, False])
def test_sip_announces_media_and_reports(rig, answered):
    """In either direction, whoever of the two told its port."""
    mine, theirs = End(HERE, 4000), End(SERVER, 6000)
    rig.put(invite(sdp(HERE, 4000)), *([ok(sdp(SERVER, 6000))] if answered else []))
    rig.put(datagram(theirs, mine, rtp()), datagram(mine, theirs, rtp()))
    rig.put(datagram(End(HERE, 4001), End(SERVER, 6001), REPORT))
    assert protocols(rig) == {(5060, 5060): "sip", (6000, 4000): "rtp", (4001, 6001): "rtcp"}
    assert rig.sum(m.DISSECTOR_FAULTS) == 0


def test_media_may_go_elsewhere_than_the_call(rig):
    rig.put(invite(sdp(HERE, 4000)), ok(sdp(THIRD, 6000)))
    rig.put(datagram(End(HERE, 4444), End(THIRD, 6000), rtp()))
    rig.put(datagram(End("10.0.0.1", 4445), End("198.51.100.1", 6000), rtp()))
    assert protocols(rig) == {(5060, 5060): "sip", (4444, 6000): "rtp", (4445, 6000): ""}


def test_behind_a_translation_the_port_is_the_same(rig):
    rig.put(invite(sdp("203.0.113.9", 4000)))
    rig.put(datagram(End(SERVER, 6000), End(HERE, 4000), rtp()))
    assert protocols(rig)[6000, 4000] == "rtp"


@pytest.mark.parametrize(
    ("first", "protocol"),
    [(STUN, "stun"), (REPORT, "rtcp")],
    ids=["behind STUN (RFC 7983)", "behind RTCP (RFC 5761)"],
)
def test_media_shares_its_port(rig, first, protocol):
    mine, theirs = End(HERE, 4000), End(SERVER, 6000)
    rig.put(invite(sdp(HERE, 4000, b"a=rtcp-mux\r\n")), datagram(mine, theirs, first))
    assert {conn.protocol for conn in rig.conns} == {"sip", protocol}
    rig.put(datagram(theirs, mine, rtp()))
    assert {conn.protocol for conn in rig.conns} == {"sip", "rtp"}
    assert rig.sum(m.DISSECTOR_FAULTS) == 0


@pytest.mark.parametrize(
    "data", [b"\0\0\0\0", b"\r\n", b"\x40" + bytes(30), b"\x80", b"\x80\x46" + bytes(30)], ids=repr
)
def test_what_is_no_media_is_none_though_it_was_announced(rig, data):
    rig.put(invite(sdp(HERE, 4000)), datagram(End(SERVER, 6000), End(HERE, 4000), data))
    assert protocols(rig)[6000, 4000] == ""


def test_what_another_protocol_is_stays_it(rig):
    """A call whose media is said to be at a resolver names no question."""
    asks = struct.pack(">HHHHHH", 0x8012, 0x0100, 1, 0, 0, 0) + b"\1a\7example\0\0\1\0\1"
    rig.put(invite(sdp(HERE, 4000)), ok(sdp(THIRD, 53)))
    for port in (4444, 4445):
        rig.put(datagram(End(HERE, port), End(THIRD, 53), asks))
    assert set(protocols(rig).values()) == {"sip", "dns"}


def test_rtsp_announces_both_ports(rig):
    talk = Talk(End(HERE, 40_000), End(SERVER, 554))
    setup = b"SETUP rtsp://a.example/x RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast;client_port=4000-4001\r\n\r\n"
    agreed = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nTransport: RTP/AVP;client_port=4000-4001;server_port=6000-6001\r\n\r\n"
    rig.put(*talk.handshake(), talk.c("PA", setup), talk.s("PA", agreed))
    rig.put(datagram(End(SERVER, 6000), End(HERE, 4000), rtp(kind=96)))
    rig.put(datagram(End(HERE, 4001), End(SERVER, 6001), REPORT))
    assert protocols(rig) == {(40_000, 554): "rtsp", (6000, 4000): "rtp", (4001, 6001): "rtcp"}


def test_a_flood_of_announcements_is_bounded_and_counted(rig):
    calls = range(2, 60_000, 16)
    for first in calls:
        media = [b"m=audio %d RTP/AVP 0\r\n" % port for port in range(first, first + 16, 2)]
        rig.put(invite(b"c=IN IP4 10.0.0.1\r\n" + b"".join(media)))
    assert len(rig.engine.context.expected) == MAX_EXPECTED
    assert rig.of(m.EVICTIONS, "", "expectations") == 16 * len(calls) - MAX_EXPECTED
    rig.wait(125, step=5)
    assert len(rig.engine.context.expected) == 0
