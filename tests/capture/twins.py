"""The same traffic read twice: one engine with offload, one without.

`python -m tests.capture.twins NAME OBJECTS` prints JSON, in new namespaces (see `test_offload.py`): what the two
ledgers have that is not the same, and what came up.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from exporter import dpi
from exporter import metrics as m
from exporter.capture.handle import Deal
from exporter.capture.offload import Table
from exporter.capture.pcap import PcapSource
from exporter.config import Config
from exporter.ebpf import libbpf
from exporter.ebpf.filters import Filters, load
from exporter.ebpf.support import Place
from exporter.engine import Engine
from exporter.ledger import Ledger
from exporter.model import Addresses
from tests.capture import packets as p
from tests.capture.scenarios import send, sh
from tests.engine.frames import End, Talk

NEAR, FAR, BEYOND = "192.0.2.1", "192.0.2.2", "198.51.100.2"
NEAR6, FAR6 = "2001:db8:0::1", "2001:db8:0::2"
TURN = 0.2
"""Seconds; the worker's are one, and need as many packets in each."""
BY_TIME = {m.RECEIVE_RATE, m.TRANSMIT_RATE, m.HANDSHAKE_DURATION, m.REQUEST_DURATION}
"""Families whose values are times, or depend on when they are read."""


class Twin:
    """A worker's shard, without its processes."""

    def __init__(self, filters: Filters | None, config: Config, deal: Deal) -> None:
        now = time.time()
        self.ledger = Ledger(config.metrics, now=now)
        self.engine = Engine(config, dpi.load(), self.ledger, None, share=deal.workers)
        self.engine.begin(now, resumed=False, first_serial=1)
        ours = [socket.inet_pton(family, text) for family, text in ADDRESSES]
        self.engine.context.places.learn(Addresses(0, tuple(ours), ()))
        self.source = PcapSource(config.capture, self.engine.attach, deal, self.engine.detach)
        self.table = None
        self.up = 0
        self.most = 0
        """Connections counted below, at the most."""
        if filters:
            self.table = Table(filters.handles[deal.number])
            self.engine.offload(self.table)
            self.source.offload = self.table
        self.source.open()

    def read(self) -> int:
        count = self.source.poll(0)
        self.up += count
        return count

    def tick(self) -> None:
        now = time.time()
        self.source.refresh(time.monotonic())
        self.engine.reap(now)
        self.engine.tick(now)
        if self.engine._offloaded is not None:
            self.most = max(self.most, len(self.engine._offloaded))

    def close(self) -> dict[str, float]:
        """Give all numbers, after the end of all connections."""
        self.engine.close(time.time())
        for _ in range(2):  # what was still on its way
            self.engine.tick(time.time())
        found: dict[str, float] = {}
        for row in self.ledger.rows.values():
            family, identity, labels = row.key
            if family not in BY_TIME and (value := self.ledger.values[row.slot]):
                found[" ".join((family.name, identity.process, *labels))] = value
        lost = {name: (one.dropped, one.missed) for name, one in self.source.stats().items()}
        assert not any(map(any, lost.values())), lost
        self.source.close()
        return found


ADDRESSES = [
    (socket.AF_INET, NEAR),
    (socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET6, NEAR6),
    (socket.AF_INET6, "::1"),
]


class Twins:
    """Both, for all workers."""

    def __init__(self, objects: str, workers: int = 1, **config: Any) -> None:
        settings = msgspec.convert({"capture": {"buffer_size": 64 << 20}} | config, Config)
        self.filters = load(workers, settings.capture.snaplen, place=Place(objects=Path(objects)))
        assert self.filters.handles, self.filters.reason
        deals = [Deal(number, workers) for number in range(workers)]
        self.plain = [Twin(None, settings, deal) for deal in deals]
        self.offloaded = [Twin(self.filters, settings, deal) for deal in deals]
        self.all = [*self.plain, *self.offloaded]
        self.turn = TURN
        self.sweeping = False
        """Whether timeouts are looked at, ten times a second."""
        self.restless = False
        """Whether interfaces are asked for anew every fourth turn."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        due = swept = 0.0
        quiet = turn = 0
        while quiet < 100:
            count = sum(one.read() for one in self.all)
            quiet = 0 if count or not self._stop.is_set() else quiet + 1
            if time.monotonic() >= due:
                due = time.monotonic() + self.turn
                turn += 1
                for one in self.all:
                    one.tick()
                    for name in one.source.up() if self.restless and not turn % 4 else ():
                        one.source.renew(name)
            for one in self.all if self.sweeping and time.monotonic() >= swept + 0.1 else ():
                one.engine.sweep(time.time())
                swept = time.monotonic()
            if not count:
                time.sleep(0.005)

    def compare(self) -> dict[str, Any]:
        """Read to the end; give the rows that differ, some that do not, and how much came up."""
        self._stop.set()
        self._thread.join()
        plain, offloaded = ([one.close() for one in side] for side in (self.plain, self.offloaded))
        different = [
            [key, one.get(key, 0), other.get(key, 0)]
            for one, other in zip(plain, offloaded, strict=True)
            for key in sorted(one.keys() | other.keys())
            if one.get(key, 0) != other.get(key, 0)
        ]
        self.filters.close()
        return {
            "different": different,
            "same": {key: sum(one.get(key, 0) for one in plain) for one in plain for key in one},
            "up": [sum(one.up for one in side) for side in (self.plain, self.offloaded)],
            "most": sum(one.most for one in self.offloaded),
            "failed": [one.table.failed for one in self.offloaded if one.table],
        }


# ------------------------------------------------------------------------------------------------------- the machine


@contextmanager
def other_end(number: int = 0) -> Iterator[Callable[..., None]]:
    """A namespace at the other end of v0 (2, 4 ...); gives what runs a function in it until it is ready."""
    with subprocess.Popen(["unshare", "--net", "sleep", "120"]) as holder:
        own = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{holder.pid}/ns/net").readlink() == own:
            time.sleep(0.01)
        enter = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
        here, there = f"v{2 * number}", f"v{2 * number + 1}"
        sh(f"ip link add {here} type veth peer name {there} netns {holder.pid}")
        for prefix, name, end in (([], here, 1), (enter, there, 2)):
            for command in (
                f"ip link set {name} up addrgenmode none",
                f"ip addr add 192.0.{2 + number}.{end}/24 dev {name}",
                f"ip addr add 2001:db8:{number}::{end}/64 dev {name} nodad",
                "ip link set lo up",
            ):
                sh(" ".join((*prefix, command)))
        sh(" ".join((*enter, f"ip route add default via 192.0.{2 + number}.1")))
        time.sleep(1)  # neighbour discovery is over
        running: list[subprocess.Popen[bytes]] = []

        def run(function: str, *arguments: object) -> None:
            code = f"from tests.capture import twins; twins.{function}(*{arguments!r}); twins.ready()"
            running.append(subprocess.Popen([*enter, sys.executable, "-c", code], stdout=subprocess.PIPE))
            assert running[-1].stdout
            assert running[-1].stdout.readline()

        try:
            yield run
        finally:
            for one in (*running, holder):
                one.send_signal(signal.SIGKILL)
                one.communicate()


def ready() -> None:
    print("ready", flush=True)


def serve(address: str, port: int) -> None:
    """Answer `SIZE\\n` with so many bytes, as often as asked; take what follows a size that is negative."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=64) as listener:
        ready()
        while True:
            one, _ = listener.accept()
            threading.Thread(target=answer, args=(one,)).start()


def answer(one: socket.socket) -> None:
    with one, one.makefile("rb") as lines:
        for line in lines:
            size = int(line)
            if size > 0:
                one.sendall(bytes(size))
            else:
                left = -size
                while left:
                    left -= len(lines.read(min(left, 1 << 16)))
                one.sendall(b"k")


def ask(address: str, port: int, *sizes: int, pause: float = 0.05, source: str = "") -> None:
    with socket.create_connection((address, port), source_address=(source, 0) if source else None) as one:
        for size in sizes:
            one.sendall(b"%d\n" % size)
            if size < 0:
                one.sendall(bytes(-size))
            left = max(1, size)
            while left:
                left -= len(one.recv(min(left, 1 << 16)))
            time.sleep(pause)


def web(address: str, port: int) -> None:
    """Serve files of any size by HTTP/1.1, none in less than some turns: the path is the size."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            size = int(self.path[1:])
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            for _ in range(100):
                self.wfile.write(bytes(size // 100))
                time.sleep(size / 1e9)
            self.wfile.write(bytes(size % 100))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((address, port), Handler)
    ready()
    server.serve_forever()


def echo(address: str, port: int) -> None:
    """Send each datagram back."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        one.bind((address, port))
        ready()
        while True:
            data, sender = one.recvfrom(2048)
            one.sendto(data, sender)


def datagrams(address: str, port: int, count: int, size: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.bind(("", 7000))
        one.connect((address, port))
        for number in range(count):
            with suppress(ConnectionRefusedError):  # where nobody listens
                one.send(bytes((number & 255,)) * size)
            if number % 20 == 19:
                time.sleep(0.002)


def frames(count: int) -> None:
    """Send ARP, and datagrams behind a VLAN tag: short ones, padded as on a wire."""
    arp = bytes.fromhex("0001080006040001020000000009c0000207020000000000c0000208")
    packet = p.ipv4(BEYOND, NEAR, p.udp(9, b"x"), 17)
    for _ in range(count // 20):
        send("v1", *[p.ethernet(arp + bytes(18), 0x0806)] * 20)
        send("v1", *[p.ethernet(packet + bytes(17), tags=(0x8100,))] * 20)
        time.sleep(0.005)


def broken(rounds: int) -> None:
    """Conversations in which everything goes wrong that can, now and then; the same ends are used again and again."""
    client, server = End(BEYOND, 40_000), End(NEAR, 81)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind(("v1", 0))

        def say(*frames: bytes) -> None:
            for frame in frames:
                sock.send(frame)

        for number in range(rounds):
            talk = Talk(client, server, isn=(number << 28, 0xFFFF_0000 - number * 1000))
            say(*talk.handshake(), talk.c("PA", b"\0nothing that anybody knows" * 20))
            for fault in FAULTS:
                for turn in range(500):
                    say(talk.s("A", bytes(1000)), talk.s("PA", bytes(400)), talk.c("A"))
                    if turn % 10 == 9:
                        time.sleep(0.02)
                say(*fault(talk))
            say(*([talk.c("R")] if number % 2 else talk.close(number >> 1 & 1)))


FAULTS: tuple[Callable[[Talk], list[bytes]], ...] = (
    lambda talk: [talk.s("A", bytes(900), seq=talk.next[1] - 900)],
    lambda talk: [talk.s("A", bytes(10), seq=talk.next[1] + 10), talk.s("A", bytes(20))],
    lambda talk: [talk.s("A", seq=talk.next[1] - 1), talk.c("A"), talk.c("A")],
    lambda talk: [talk.c("R", seq=talk.next[0] + (1 << 31)), talk.c("A")],
    lambda talk: [talk.c("PA", b"more"), talk.s("A"), talk.c("PA", b"of it", seq=talk.next[0] - 2)],
)
"""Sent again, a hole that is filled, a keep-alive and what looks like one, a reset from elsewhere, an overlap."""

# --------------------------------------------------------------------------------------------------------- scenarios


def routed(objects: str) -> Any:
    """Nothing but passing through: from one interface to another, TCP and UDP."""
    with other_end() as run, other_end(1) as beyond:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        beyond("serve", "192.0.3.2", 7001)
        beyond("echo", "192.0.3.2", 7002)
        twins = Twins(objects)
        run("ask", "192.0.3.2", 7001, *(3_000_000, -3_000_000) * 10)
        run("datagrams", "192.0.3.2", 7002, 4000, 200)
        return twins.compare()


def faults(objects: str) -> Any:
    """TCP whose packets do not come as they should: they all are read."""
    with other_end() as run:
        twins = Twins(objects)
        run("broken", 2)
        return twins.compare()


def dealt(objects: str) -> Any:
    """Three workers, and interfaces that are asked for anew all the time."""
    with other_end() as run:
        run("serve", FAR, 7001)
        run("echo", FAR, 7002)
        twins = Twins(objects, workers=3)
        twins.restless = True
        sh(*(f"ip addr add 192.0.2.{number}/24 dev v0" for number in range(11, 17)))
        for number in range(11, 17):
            ask(FAR, 7001, *(1_000_000, -1_000_000) * 12, source=f"192.0.2.{number}")
        datagrams("127.0.0.1", 9, 2000, 50)
        datagrams(FAR, 7002, 2000, 50)
        return twins.compare()


def crowded(objects: str) -> Any:
    """A table that is too small: what moves is thrown out while it is counted below."""
    with other_end() as run:
        run("echo", FAR, 7002)
        twins = Twins(objects, flow={"limit": 8})
        for _ in range(20):
            with many(12) as sockets:
                for number in range(1200):
                    sockets[number % 12].sendto(b"x" * 100, (FAR, 7002))
                    if number % 20 == 19:
                        time.sleep(0.003)
        return twins.compare()


def patient(objects: str) -> Any:
    """Timeouts that are shorter than a turn."""
    with other_end() as run:
        run("echo", FAR, 7002)
        twins = Twins(objects, flow={"timeouts": {"udp": 1}})
        datagrams(FAR, 7002, 4000, 20)
        twins.turn = 2.5
        twins.sweeping = True
        datagrams(FAR, 7002, 40_000, 20)
        return twins.compare()


@contextmanager
def many(count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)]


def streams(objects: str) -> Any:
    """TCP in both directions, both families, with segmentation offload and without, and its ends."""
    with other_end() as run:
        run("serve", FAR, 7001)
        run("serve", FAR6, 7001)
        twins = Twins(objects, capture={"buffer_size": 64 << 20})
        for address in (FAR, FAR6):
            for _ in range(2):
                ask(address, 7001, *(2_000_000, -2_000_000) * 10)
                sh("ethtool -K v0 tso off gso off gro off")
            sh("ethtool -K v0 tso on gso on gro on")
        return twins.compare()


def pages(objects: str) -> Any:
    """HTTP with large bodies, on one connection: the heads between them are read."""
    import http.client

    with other_end() as run:
        run("web", FAR, 80)
        twins = Twins(objects)
        one = http.client.HTTPConnection(FAR, 80)
        for size in (10, 12_000_000, 500, 10_000_000, 20_000_000, 0, 100_000):
            one.request("GET", f"/{size}")
            assert len(one.getresponse().read()) == size
            time.sleep(0.3)
        one.close()
        return twins.compare()


def questions(objects: str) -> Any:
    """UDP, ICMP and ARP, on v0, on loopback and behind a VLAN tag."""
    with other_end() as run:
        run("echo", FAR, 7002)
        run("echo", FAR6, 7002)
        twins = Twins(objects)
        for address in (FAR, FAR6):
            for size in (1, 1400):
                datagrams(address, 7002, 6000, size)
        datagrams("127.0.0.1", 9, 6000, 50)
        run("frames", 6000)
        subprocess.run(["ping", "-q", "-f", "-c", "10000", FAR], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["ping", "-q", "-f", "-c", "10000", FAR6], check=True, stdout=subprocess.DEVNULL)
        return twins.compare()


def cost(objects: str, flood: str, connections: str, count: str) -> Any:
    """The time that a flood takes us, without and with; and that of the filter, a packet."""
    said: dict[str, Any] = {}
    filters = load(1, 16_384, place=Place(objects=Path(objects)))
    statistics = libbpf.keep_statistics()
    with other_end() as run:
        for name, chosen in (("plain", None), ("offload", filters)):
            twin = Twin(chosen, msgspec.convert({"capture": {"buffer_size": 64 << 20}}, Config), Deal())
            sender = threading.Thread(target=run, args=("pour", flood, connections, count))
            begun, due = time.thread_time(), 0.0
            sender.start()
            while twin.read() or sender.is_alive():
                if time.monotonic() >= due:
                    due = time.monotonic() + 1
                    twin.tick()
                time.sleep(0.002)
            said[name] = {"seconds": time.thread_time() - begun, "up": twin.up, "most": twin.most}
            said[name]["lost"] = twin.source.stats()["v0"].dropped
            twin.source.close()
    text = Path(f"/proc/self/fdinfo/{filters.handles[0].ethernet}").read_text()
    lines = dict(line.split(":", 1) for line in text.splitlines())
    said["nanoseconds"] = int(lines["run_time_ns"]) / int(lines["run_cnt"])
    os.close(statistics)
    return said


def pour(flood: str, connections: str, count: str) -> None:
    """Send datagrams to where nobody is, by a router that drops them."""
    subprocess.run([flood, "203.0.113.1", "100", connections, count], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    os.environ["PYTHONUNBUFFERED"] = "1"
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
