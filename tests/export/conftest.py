"""Ledgers with known content, and the exporter process on them as the supervisor starts it."""

import json
import mmap
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from exporter import config as settings
from exporter import ledgerfile
from exporter import metrics as m
from exporter.ledger import Ledger
from exporter.metrics import Origin
from exporter.model import IdentityKey

REPO = Path(__file__).resolve().parents[2]
CURL = IdentityKey("curl")
ODD = IdentityKey('we"ird\\pro\ncess é', "0123456789abcdef" * 4)


class Shard:
    """A ledger and its file."""

    def __init__(self, limits=None, share=1, origin=Origin.WORKER, now=1_700_000_000.0):
        limits = limits or settings.Metrics()
        self.descriptor = os.memfd_create("ledger")
        os.ftruncate(self.descriptor, ledgerfile.size(limits))
        self.buffer = memoryview(mmap.mmap(self.descriptor, 0))
        self.ledger = Ledger(limits, share, origin, now)

    def add(self, family, identity, labels, value):
        slot = self.ledger.slot(family, identity, labels)
        if family.buckets:
            self.ledger.observe(slot, value)
        else:
            self.ledger.values[slot] += value

    def publish(self):
        assert self.ledger.publish(self.buffer)


def fill(shard):
    """One row of each kind, with what is hard to write."""
    shard.add(m.RECEIVE_BYTES, CURL, ("http", "tcp"), 2**53)
    shard.add(m.RECEIVE_BYTES, ODD, ("tls", "tcp"), 17)
    shard.add(m.TRANSMIT_BYTES, CURL, ("http", "tcp"), 1)
    shard.ledger.rates(1.0)
    shard.add(m.CONNECTIONS, CURL, ("http", "tcp", "established"), 3)
    shard.add(m.HANDSHAKE_DURATION, CURL, ("tcp",), 0.004)
    shard.add(m.HANDSHAKE_DURATION, CURL, ("tcp",), 77.5)
    shard.add(m.CERTIFICATE_EXPIRY, CURL, ("example.org",), 1_893_456_000.5)
    shard.add(m.RETRANSMITTED_SEGMENTS, CURL, (), 2)
    shard.add(m.CAPTURE_UP, None, ("eth0", "pcap"), 1)
    shard.add(m.DEGRADED, None, ("capture", "no_ring"), 1)
    return shard


def files(config=None, status=None):
    """The configuration's and the status' descriptors."""
    first = os.memfd_create("config")
    os.write(first, settings.dump(config or settings.Config()))
    second = os.memfd_create("status")
    text = json.dumps(
        status or {"workers": 1, "restarts": {"worker": {"signal": 1}}, "degraded": []}
    ).encode()
    os.pwrite(second, struct.pack("<Q", len(text)) + text, 0)
    return first, second


class Running:
    """The exporter process."""

    def __init__(self, process, port, lifeline):
        self.process, self.port, self.lifeline = process, port, lifeline

    def let_go(self):
        """Be a supervisor that has died."""
        if self.lifeline is not None:
            os.close(self.lifeline)
            self.lifeline = None

    def raw(self, data, timeout=5.0):
        """Send bytes; give all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as client:
            client.sendall(data)
            parts = []
            while part := client.recv(65536):
                parts.append(part)
            return b"".join(parts)

    def get(self, path="/metrics", method="GET", **headers):
        """Ask; give status, headers and body."""
        lines = [f"{method} {path} HTTP/1.1", "host: x", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head, _, body = self.raw("\r\n".join([*lines, "", ""]).encode()).partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in rest), body


@contextmanager
def start(shards, **web):
    """Start the exporter on these shards (the last is the identity process')."""
    whole = settings.Config(
        web=msgspec.structs.replace(settings.Config().web, **web),
        log=settings.Log(format="json"),
        process=settings.Process(sandbox="off", user="root"),
    )
    config, status = files(whole)
    listener = socket.create_server(("127.0.0.1", 0))
    read, write = os.pipe()
    ledgers = [one.descriptor for one in shards]
    passed = [config, status, listener.fileno(), read, *ledgers]
    flags = {
        "--config-fd": config,
        "--listen-fds": listener.fileno(),
        "--ledger-fds": ",".join(map(str, ledgers)),
        "--status-fd": status,
        "--lifeline-fd": read,
    }
    words = [str(word) for pair in flags.items() for word in pair]
    process = subprocess.Popen(
        [sys.executable, "-m", "exporter.app.exporter", *words],
        pass_fds=passed,
        cwd=REPO,
        stderr=subprocess.PIPE,
        text=True,
    )
    for one in (config, status, read):
        os.close(one)
    port = listener.getsockname()[1]
    listener.close()
    running = Running(process, port, write)
    try:
        yield running
    finally:
        process.kill()
        process.communicate()
        running.let_go()


@pytest.fixture(scope="module")
def shards():
    return [fill(Shard()), Shard(origin=Origin.IDENTITY)]


@pytest.fixture(scope="module")
def running(shards):
    """The exporter, ready; its worker publishes ten times a second."""
    stop = threading.Event()

    def publish():
        while not stop.wait(0.1):
            for one in shards:
                one.publish()

    thread = threading.Thread(target=publish)
    for one in shards:
        one.publish()
    with start(shards, max_requests=4) as one:
        thread.start()
        wait_for(lambda: one.get("/-/ready")[0] == 200)
        yield one
        stop.set()
        thread.join()


def wait_for(condition, seconds=10.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.05)
