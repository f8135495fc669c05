import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.identity.netlink import (
    End,
    SockDiag,
    attributes,
    messages,
    normal,
    pack_exact,
    parse_socket,
)
from exporter.identity.rtnetlink import parse_address, parse_link_message

A, B = socket.inet_aton("10.0.0.1"), socket.inet_aton("10.0.0.2")


def diag(*, family=2, state=1, local=(A, 1000), remote=(B, 80), inode=77, extra=b""):
    head = struct.pack("=BBBB", family, state, 0, 0)
    ends = struct.pack(">HH16s16sIQ", local[1], remote[1], local[0], remote[0], 0, 9)
    return head + ends + struct.pack("=IIIII", 0, 0, 0, 33, inode) + extra


def test_a_socket():
    found = parse_socket(diag(extra=struct.pack("=HHQ", 12, 21, 4242)), "tcp")
    assert found == (End("tcp", A, 1000, B, 80), "established", 77, 33, ())


def test_mapped_addresses_are_ipv4():
    mapped = bytes(10) + b"\xff\xff"
    found = parse_socket(diag(family=10, local=(mapped + A, 1000), remote=(mapped + B, 80)), "tcp")
    assert found.end == End("tcp", A, 1000, B, 80)
    assert normal(bytes(15) + b"\1") == bytes(15) + b"\1"
    assert normal(A) == A


def test_udp_is_asked_for_the_other_way_round():
    tcp = pack_exact(End("tcp", A, 1000, B, 80))
    udp = pack_exact(End("udp", A, 1000, B, 80))
    assert tcp[8:12] == struct.pack(">HH", 1000, 80)
    assert udp[8:12] == struct.pack(">HH", 80, 1000)
    assert (tcp[12:16], udp[12:16]) == (A, B)


@given(st.binary(max_size=300))
def test_nonsense(data):
    list(messages(data))
    list(attributes(data, 0))
    parse_socket(data, "tcp")
    parse_address(data)
    parse_link_message(data)


def test_a_missing_socket_is_none_and_the_next_answer_is_right():
    diag = SockDiag()
    with socket.create_server(("127.0.0.1", 0)) as server:
        lo, port = socket.inet_aton("127.0.0.1"), server.getsockname()[1]
        missing, there = End("tcp", lo, 1, lo, 2), End("tcp", lo, port, lo, 2)
        for _ in range(3):
            assert diag.lookup(missing) is None
            assert diag.lookup(there).state == "listen"
            assert diag.listener(there).inode > 0
    diag.close()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_dump_and_a_look_up_agree(transport):
    diag = SockDiag()
    rows = list(diag.dump(transport))
    same = [row for row in rows if (found := diag.lookup(row.end)) and found.inode == row.inode]
    assert len(same) >= 0.8 * len(rows)
    diag.close()
