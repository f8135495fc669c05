import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from exporter.identity.scopes import parse_fib_trie, parse_if_inet6
from exporter.identity.tables import parse_table, spell, unspell

FIB_TRIE = b"""\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.244.0.0/24 2 0 2
        +-- 10.244.0.0/29 2 0 2
           |-- 10.244.0.0
              /24 link UNICAST
           |-- 10.244.0.5
              /32 host LOCAL
        |-- 10.244.0.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
Local:
        |-- 10.244.0.5
           /32 host LOCAL
"""
IF_INET6 = b"""\
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000042acfffe110002 02 40 20 80     eth0
nonsense
"""
TCP = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0
   1: 0500F40A:C350 0100F40A:0050 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0000000000000000 20 4
   2: 0500F40A:C351 0100F40A:0050 06 00000000:00000000 03:00001234 00000000     0        0 0 3 0000000000000000
   3: torn
"""


def test_fib_trie():
    assert parse_fib_trie(FIB_TRIE) == (
        (socket.inet_aton("10.244.0.5"), socket.inet_aton("127.0.0.1")),
        (socket.inet_aton("10.244.0.255"),),
    )
    assert parse_fib_trie(b"") == parse_fib_trie(b"\xff |-- x\n /32 host LOCAL")[:0] or ((), ())


def test_if_inet6():
    assert parse_if_inet6(IF_INET6) == (
        socket.inet_pton(socket.AF_INET6, "::1"),
        socket.inet_pton(socket.AF_INET6, "fe80::42:acff:fe11:2"),
    )


def test_tables():
    rows = parse_table(TCP, "tcp")
    assert len(rows) == 3
    key = ("tcp", spell(socket.inet_aton("10.244.0.5"), 50000), spell(socket.inet_aton("10.244.0.1"), 80))
    assert rows[key] == ("01", "4712", "1000")


@pytest.mark.parametrize("host", ["127.0.0.1", "10.244.0.5", "::1", "2001:db8::42", "fe80::1"])
def test_spelling(host):
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    assert unspell(spell(packed, 8080)) == (packed, 8080)


def test_mapped_spelling():
    assert unspell("0000000000000000FFFF00000100007F:0050") == (b"\x7f\0\0\1", 80)


SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], 80), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("::", 53))
print("up", flush=True)
end = server.accept()[0]
print("accepted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def pod(request):
    """Make a namespace behind a veth: the host has 10.99.7.1 and fd99::1, the pod 10.99.7.2 and fd99::2."""
    name, veth = f"idt{os.getpid()}", f"ve{os.getpid()}"
    lines = [
        f"ip netns add {name}",
        f"ip link add {veth} type veth peer name eth0 netns {name}",
        f"ip addr add 10.99.7.1/24 brd 10.99.7.255 dev {veth}",
        f"ip addr add fd99::1/64 dev {veth} nodad",
        f"ip link set {veth} up",
        f"ip -n {name} addr add 10.99.7.2/24 brd 10.99.7.255 dev eth0",
        f"ip -n {name} addr add fd99::2/64 dev eth0 nodad",
        f"ip -n {name} link set eth0 up",
        f"ip -n {name} link set lo up",
    ]
    try:
        for line in lines:
            subprocess.run(line.split(), check=True)
        yield name, veth
    finally:
        subprocess.run(["ip", "link", "del", veth], check=False)
        subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.mark.root
@pytest.mark.netns
@pytest.mark.parametrize(("near", "far"), [("10.99.7.1", "10.99.7.2"), ("fd99::1", "fd99::2")])
def test_a_pod(rig, run, pod, near, far):
    name, veth = pod

    def enter():
        with Path(f"/run/netns/{name}").open() as file:
            setns(file.fileno())

    server, _ = run(SERVER, far, preexec_fn=enter)
    with socket.create_connection((far, 80), timeout=5) as client:
        assert server.stdout.readline() == "accepted\n"
        check(rig(), server, (near, client.getsockname()[1]), (far, 80), veth)


def check(rig, server, near, far, veth):
    scope = Path(f"/proc/{server.pid}/ns/net").stat().st_ino
    answer = rig.ask(far, near, scope=scope)
    assert (answer.owner.pid, answer.method, answer.quality) == (server.pid, "procfs", "exact")
    assert rig.watch(far, near, scope=scope)
    answer = rig.ask((far[0], 53), (near[0], 9), scope=scope, transport="udp")
    assert (answer.owner.pid, answer.quality) == (server.pid, "wildcard")
    answer = rig.ask(near, far)
    assert (answer.owner.pid, answer.method) == (os.getpid(), "netlink")

    assert (veth, scope) in rig.sources.interfaces()
    local, broadcast = rig.sources.addresses(scope)
    assert socket.inet_aton("10.99.7.2") in local
    assert socket.inet_pton(socket.AF_INET6, "fd99::2") in local
    assert socket.inet_aton("10.99.7.255") in broadcast
    local, broadcast = rig.sources.addresses(0)
    assert socket.inet_aton("10.99.7.1") in local
    assert socket.inet_aton("10.99.7.255") in broadcast
    assert rig.ask(far, near, scope=1).owner is None


def setns(descriptor):
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


@pytest.mark.root
@pytest.mark.netns
def test_changes_are_noticed(rig, pod):
    _, veth = pod
    rig = rig()
    rig.sources.notices.drain()
    assert not rig.sources.notices.drain()
    subprocess.run(["ip", "addr", "add", "10.99.8.1/24", "dev", veth], check=True)
    time.sleep(0.05)
    assert rig.sources.notices.drain()
    assert socket.inet_aton("10.99.8.1") in rig.sources.addresses(0)[0]


@pytest.mark.root
@pytest.mark.netns
def test_link_local_and_bound_to_a_device(rig, closing, pod):
    _, veth = pod
    one = closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, veth.encode())
    one.bind(("0.0.0.0", 6868))
    server = closing(socket.create_server(("::", 6869), family=socket.AF_INET6))
    index = socket.if_nametoindex(veth)
    near = link_local(veth)
    client = closing(socket.socket(socket.AF_INET6))
    client.connect((near, 6869, 0, index))
    rig = rig()
    rig.sources.addresses(0)
    answer = rig.ask(("10.99.7.1", 6868), ("10.99.7.2", 67), transport="udp")
    assert answer.owner.pid == os.getpid()
    answer = rig.ask((near, client.getsockname()[1]), (near, 6869))
    assert (answer.owner.pid, answer.quality) == (os.getpid(), "exact")
    server.close()


def link_local(name):
    """Give an interface's link-local address, once it may be used."""
    for _ in range(50):
        with Path("/proc/net/if_inet6").open() as file:
            for address, _, _, scope, flags, interface in map(str.split, file):
                if interface == name and scope == "20" and not int(flags, 16) & 0x40:
                    return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(address))
        time.sleep(0.1)
    raise AssertionError("no link-local address")
