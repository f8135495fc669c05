"""Live capture on interfaces of its own: `python -m tests.capture.scenarios NAME` in new namespaces prints JSON."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from exporter.capture.deal import shard
from exporter.capture.handle import Deal
from exporter.capture.interfaces import choose
from exporter.capture.links import read_links
from exporter.capture.pcap import PcapSource
from exporter.config import Capture
from exporter.model import Interface
from tests.capture import packets as p


def sh(*commands: str) -> None:
    for command in commands:
        subprocess.run(command.split(), check=True)


def veth(here: str, there: str) -> None:
    """Make a pair that sends nothing by itself."""
    sh(
        f"ip link add {here} type veth peer name {there}",
        f"sysctl -qw net.ipv6.conf.{here}.disable_ipv6=1 net.ipv6.conf.{there}.disable_ipv6=1",
        f"ip link set {here} up",
        f"ip link set {there} up",
    )


class Machine:
    """A source, and how many packets it saw of each interface."""

    def __init__(self, deal: Deal | None = None, **settings: Any) -> None:
        self.packets: dict[str, list[bytes]] = {}
        self.roles: dict[str, str] = {}
        self.gone: list[str] = []
        self.source = PcapSource(Capture(**settings), self.attach, deal, self.gone.append)
        self.source.open()

    def attach(self, interface: Interface) -> Callable[[float, bytes], None]:
        self.roles[interface.name] = interface.role
        kept = self.packets.setdefault(interface.name, [])
        return lambda _stamp, data: kept.append(data)

    def read(self, seconds: float = 0.1) -> dict[str, int]:
        """Poll until nothing comes for so long; give how many packets each interface has given in all."""
        while self.source.poll(seconds):
            pass
        return {name: len(kept) for name, kept in self.packets.items() if kept}


def send(interface: str, *frames: bytes) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((interface, 0))
        for frame in frames:
            sock.send(frame)


FRAME = p.ethernet(p.ipv4("10.0.0.1", "10.0.0.2", p.udp(9, b"x")))
MARK = b"numbered"
CLOCK = iter(range(0, 10_000, 100))


def vanishes() -> Any:
    """An interface goes down, comes back, is renamed, is removed, is made anew."""
    veth("v0", "v1")
    machine = Machine(interface=("v0",))
    said: dict[str, Any] = {}

    def step(name: str, *commands: str) -> None:
        sh(*commands)
        machine.read(0.05)
        machine.source.refresh(next(CLOCK))
        if "v0" in read_links() and "v1" in read_links():
            with_frame()
        said[name] = [machine.source.up(), machine.read().get("v0", 0)]

    def with_frame() -> None:
        with suppress(OSError):  # v1 has no carrier while v0 is down
            send("v1", FRAME)

    step("start")
    step("down", "ip link set v0 down")
    step("up", "ip link set v0 up")
    step("renamed", "ip link set v0 down", "ip link set v0 name w0", "ip link set w0 up")
    step("back", "ip link set w0 down", "ip link set w0 name v0", "ip link set v0 up")
    step("removed", "ip link del v0")
    veth("v0", "v1")
    step("anew")
    said["gone"] = machine.gone
    said["received"] = machine.source.stats()["v0"].received
    return said


@contextmanager
def other_namespace() -> Iterator[int]:
    """Another network namespace, as the process that is in it."""
    with subprocess.Popen(["unshare", "--net", "sleep", "60"]) as holder:
        own = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{holder.pid}/ns/net").readlink() == own:
            time.sleep(0.01)
        try:
            yield holder.pid
        finally:
            holder.kill()


def containers() -> Any:
    """A bridge with two containers' veths: what a container sends another is seen on both veths, and no more."""
    sh("ip link add br0 type bridge", "ip link set br0 up", "sysctl -qw net.ipv6.conf.br0.disable_ipv6=1")
    veth("c0", "p0")
    veth("c1", "p1")
    veth("l0", "l1")
    sh("ip link set c0 master br0", "ip link set c1 master br0")
    early = Machine()
    with other_namespace() as one, other_namespace() as two:
        sh(f"ip link set p0 netns {one}", f"ip link set p1 netns {two}")
        for pid, name in ((one, "p0"), (two, "p1")):
            quiet = f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1"
            sh(
                *(
                    f"nsenter --net=/proc/{pid}/ns/net {command}"
                    for command in (quiet, f"ip link set {name} up")
                )
            )
        early.source.refresh(0)
        machine = Machine()
        code = "from tests.capture.scenarios import serial; serial('p0')"
        with subprocess.Popen(["nsenter", f"--net=/proc/{one}/ns/net", sys.executable, "-c", code]) as sender:
            while sender.poll() is None:
                machine.source.poll(0.05)
        machine.read(0.3)
        seen = {name: [d[-1] for d in kept if d[42:-1] == MARK] for name, kept in machine.packets.items()}
        return [early.roles, machine.roles, machine.source.selection.left_out, seen]


def serial(interface: str) -> None:
    """Broadcast numbered frames for longer than the kernel takes to notice that a port has a carrier."""
    for number in range(40):
        packet = bytes(28) + MARK + bytes((number,))  # no IP packet: netfilter on the bridge looks into those
        send(interface, b"\xff" * 6 + bytes.fromhex("02000000000188b5") + packet)
        time.sleep(0.05)


def parts() -> Any:
    """A macvlan, a VXLAN and an ifb, as this kernel shows them."""
    veth("v0", "v1")
    sh(
        "ip link add link v0 name mac0 type macvlan",
        "ip link add vx0 type vxlan id 5 dev v0 dstport 4789",
        "ip link add ifb9 type ifb",
        *(f"ip link set {name} up" for name in ("mac0", "vx0", "ifb9")),
    )
    return choose(read_links(), Capture()).left_out


def pause() -> Any:
    """The reader is stopped for a while in which packets come all the time."""
    veth("v0", "v1")
    rates = {}
    for size in (1 << 20, 16 << 20):
        ready, go = os.pipe()
        child = os.fork()
        if not child:
            _reader(size, go)
        os.read(ready, 1)
        os.kill(child, signal.SIGSTOP)
        for _ in range(50):  # half a second: a block each 10 ms
            send("v1", FRAME)
            time.sleep(0.01)
        os.kill(child, signal.SIGCONT)
        time.sleep(0.3)
        os.kill(child, signal.SIGTERM)
        rates[size] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return [rates[1 << 20] < 50, rates[16 << 20]]


def _reader(size: int, go: int) -> None:
    machine = Machine(interface=("v0",), buffer_size=size)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(machine.read()["v0"]))
    os.write(go, b"x")
    while True:
        machine.source.poll(1)


def dealt() -> Any:
    """Three workers on an Ethernet and on a raw IP interface: everybody gets his share, and nobody another's."""
    veth("v0", "v1")
    sh("ip tuntap add t0 mode tun", "ip addr add 10.7.0.1/16 dev t0")
    tunnel = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tunnel, 0x400454CA, b"t0".ljust(16, b"\0") + b"\x01\x10" + bytes(22))
    sh("ip link set t0 up", "sysctl -qw net.ipv6.conf.t0.disable_ipv6=1")
    filters = ("", "udp")
    machines = [[Machine(Deal(i, 3), interface=("v0", "t0"), filter=f) for i in range(3)] for f in filters]
    ends = [(f"10.7.{a}.{b}", f"10.7.{b}.9") for a in range(9) for b in range(9)]
    plain = [p.ipv4(*pair, p.udp(9, b"x"), 17) for pair in ends + [pair[::-1] for pair in ends]]
    send("v1", *(p.ethernet(packet, tags=(0x8100,) * (i % 3)) for i, packet in enumerate(plain)))
    send("v1", p.ethernet(bytes(46), 0x0806))
    for packet in plain:
        os.write(tunnel, packet)
    wrong = 0
    for row in machines:
        for number, machine in enumerate(row):
            machine.read()
            for data in machine.packets["t0"]:
                wrong += shard(data[12:16], data[16:20], 3) != number
    counts = [[len(machine.packets[name]) for machine in row] for row in machines for name in ("v0", "t0")]
    return [len(plain), [sum(row) for row in counts], [min(row) > 0 for row in counts], wrong]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
