"""What it costs, and what share of short-lived processes is named. The limits are wide; run with -s for figures."""

import os
import socket
import subprocess
import threading
import time

import pytest

from exporter.identity.netlink import End, SockDiag
from exporter.model import Ask

LO = socket.inet_aton("127.0.0.1")
SHARE = 0.5
LATENCY = 0.01
"""Seconds for which a packet waits in the capture before it is asked about."""


def test_a_look_up_takes_microseconds(closing):
    diag = SockDiag()
    server = closing(socket.create_server(("127.0.0.1", 0)))
    client = closing(socket.create_connection(server.getsockname()))
    end = End("tcp", LO, client.getsockname()[1], LO, server.getsockname()[1])
    begun = time.process_time()
    for _ in range(1000):
        assert diag.lookup(end)
    spent = time.process_time() - begun
    diag.close()
    print(f"exact look-up: {spent * 1e3:.1f} µs")
    assert spent < 0.2


def test_a_known_process_costs_little(rig, closing):
    rig = rig()
    server = closing(socket.create_server(("127.0.0.1", 0), backlog=512))
    clients = [closing(socket.create_connection(server.getsockname())) for _ in range(200)]
    rig.ask(clients[0].getsockname(), server.getsockname())
    begun = time.process_time()
    for client in clients:
        assert rig.ask(client.getsockname(), server.getsockname()).owner.pid == os.getpid()
    spent = (time.process_time() - begun) / len(clients)
    print(f"a new connection of a known process: {spent * 1e6:.0f} µs")
    assert spent < 0.002


def test_a_sweep_is_cheap_and_rare(rig):
    holders = rig().sources.holders
    begun = time.process_time()
    holders.begin(0.0)
    while holders.sweeping():
        holders.step()
    print(f"a sweep over all processes: {(time.process_time() - begun) * 1e3:.1f} ms")
    assert holders.full.left <= holders.full.burst
    assert holders.full.rate <= 0.005


class Sniffer:
    """A server that says who has connected, and answers after 20 to 40 ms."""

    def __init__(self, server):
        self.server = server
        self.seen = []

    def serve(self, count):
        for index in range(count):
            one, peer = self.server.accept()
            self.seen.append((time.time(), peer[1]))
            threading.Thread(target=self.answer, args=(one, 0.02 + index % 20 / 1000)).start()

    def answer(self, one, delay):
        with one:
            one.recv(4096)
            time.sleep(delay)
            one.sendall(b"HTTP/1.0 200 OK\r\n\r\nhi")


@pytest.mark.slow
@pytest.mark.root
def test_most_short_lived_processes_are_named(rig, closing, tool):
    count = 50
    curl = tool("curl")
    server = closing(socket.create_server(("127.0.0.1", 0), backlog=512))
    port = server.getsockname()[1]
    sniffer = Sniffer(server)
    thread = threading.Thread(target=sniffer.serve, args=(count,))
    thread.start()
    rig = rig()
    names = []
    for _ in range(count):
        child = subprocess.Popen([curl, "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/"])
        while len(sniffer.seen) <= len(names):
            time.sleep(0.001)
        since, near = sniffer.seen[len(names)]
        time.sleep(max(0.0, since + LATENCY - time.time()))
        rig.now = time.monotonic()
        rig.serial += 1
        rig.resolver.ask(0, Ask(rig.serial, 0, "tcp", LO, near, LO, port, since), rig.now)
        answer = rig.work()
        names.append(answer.owner.process if answer.owner else None)
        child.wait()
    thread.join()
    share = names.count("curl") / count
    print(f"named of {count} processes that lived 20 to 40 ms: {share:.0%}")
    assert set(names) <= {"curl", None}
    assert share >= SHARE
