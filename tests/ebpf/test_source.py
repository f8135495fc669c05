"""capture/ebpf.py: what the worker is told, of real traffic."""

import os
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from exporter.capture.ebpf import EbpfSource

pytestmark = [pytest.mark.bpf, pytest.mark.root, pytest.mark.netns]


@pytest.fixture
def source(watching):
    made = EbpfSource(watching.kernel.handles[0], own=Path("/proc/self/ns/net").stat().st_ino)
    for _ in made.turn():
        pass
    made.release()
    made.dispatch(lambda sight: None, 1 << 30)
    yield made
    made.release()
    made.close()


def turn(source, space):
    rows = [moved for moved in source.turn() if moved.scope == space.inode()]
    source.release()
    return rows


def connect(space):
    with space.entered():
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
    return listener, client, listener.accept()[0]


def test_a_connection_from_its_beginning_to_its_end(source, space):
    listener, client, accepted = connect(space)
    before = time.time()
    client.sendall(b"question")
    accepted.recv(8)
    accepted.sendall(b"answer")
    client.recv(6)
    port, own = listener.getsockname()[1], client.getsockname()[1]
    time.sleep(0.05)
    rows = {(moved.end.lport, moved.end.rport): moved for moved in turn(source, space)}
    assert rows.keys() == {(port, 0), (port, own), (own, port)}
    mine, theirs = rows[own, port], rows[port, own]
    assert (mine.initiator, theirs.initiator) == (1, 0)
    assert (mine.state, theirs.state) == ("established", "established")
    assert (mine.pid, theirs.pid) == (os.getpid(), os.getpid())
    assert (mine.quality, theirs.quality) == ("exact", "exact")
    assert (
        mine.sent_size == rows[port, 0].received_size + theirs.received_size
    )  # SYN and ACK are the listener's
    assert mine.received_size == rows[port, 0].sent_size + theirs.sent_size
    assert abs(mine.timestamp - before) < 1
    sights = []
    source.dispatch(sights.append)
    payloads = [(sight.end.lport, sight.sent, sight.data[52:]) for sight in sights if len(sight.data) > 52]
    assert (own, True, b"question") in payloads
    assert (port, False, b"question") in payloads
    assert abs(sights[0].timestamp - before) < 1
    client.close()
    accepted.close()
    time.sleep(0.05)
    assert {moved.ended for moved in turn(source, space)} == {"fin"}
    listener.close()


def test_each_end_has_its_reason(source, space):
    listener, client, accepted = connect(space)
    with space.entered():
        refused = socket.socket()
    with pytest.raises(ConnectionRefusedError):
        refused.connect(("127.0.0.1", 9))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    own = client.getsockname()[1]
    client.close()
    time.sleep(0.05)
    ends = {(moved.end.lport == own, moved.ended) for moved in turn(source, space) if moved.ended}
    assert ends == {(True, "reset"), (False, "reset"), (False, "refused")}
    for thing in (listener, accepted, refused):
        thing.close()


def test_the_kernels_own_has_no_process(source, space):
    space.run("ping", "-c1", "-q", "127.0.0.1")
    rows = list(source.turn())
    source.release()
    cookie = space.cookie()
    assert cookie
    kernel = [moved for moved in rows if moved.end.transport == "icmp" and moved.quality == "kernel"]
    assert kernel
    assert {moved.pid for moved in kernel} == {0}


def test_wire_and_stack(watching, pair):
    """A large write is one packet here and many on the wire, each with headers of its own."""
    size, counted = 1 << 20, {}
    for wire in (True, False):
        source = EbpfSource(watching.kernel.handles[0], wire=wire)
        list(source.turn())
        source.release()
        with pair.far.entered():
            listener = socket.create_server((pair.peer, 0))
        with pair.near.entered():
            client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        counted[wire] = 0
        reader = threading.Thread(target=accepted.recv, args=(size, socket.MSG_WAITALL))
        reader.start()
        client.sendall(bytes(size))
        reader.join()
        own = client.getsockname()[1]
        (moved,) = [
            one
            for one in source.turn()
            if one.end.lport == own and one.scope == pair.near.inode() and one.sent
        ]
        assert 0 <= moved.sent_size - (size + 52 * moved.sent + 8) <= moved.retransmits * 1448
        counted[wire] = moved.sent
        source.release()
        source.close()
        for thing in (listener, client, accepted):
            thing.close()
    assert counted[True] > size // 1448 > counted[False]
