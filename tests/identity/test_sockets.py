"""Real sockets of real processes, by every way."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exporter.identity.netlink import CONNECTED, End

ME = Path(sys.executable).resolve().name
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
ALL = pytest.mark.parametrize("method", ["netlink", "procfs", "psutil"])
LINUX = pytest.mark.parametrize("method", ["netlink", "procfs"])

SERVER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
ends = []
for line in sys.stdin:
    ends.append(server.accept()[0])
    print("accepted", flush=True)
"""


def connect(closing, host="127.0.0.1", **more):
    """Give (client, accepted end)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = closing(socket.create_server((host, 0), family=family, **more))
    return join(closing, server, host)


def join(closing, server, host):
    client = closing(socket.create_connection((host, server.getsockname()[1])))
    return client, closing(server.accept()[0])


def ends(one):
    return one.getsockname()[:2], one.getpeername()[:2]


@ALL
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_ends_of_a_connection(rig, closing, method, host):
    rig = rig(method=method)
    for end in connect(closing, host):
        answer = rig.ask(*ends(end))
        assert (answer.owner.pid, answer.owner.process) == (os.getpid(), ME)
        assert (answer.method, answer.alive) == (method, True)
        assert answer.quality in {"exact", "shared"}
        assert rig.watch(*ends(end))


@ALL
def test_ipv4_on_an_ipv6_socket(rig, closing, method):
    server = closing(socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True))
    client, accepted = join(closing, server, "127.0.0.1")
    local, remote = ends(client)
    rig = rig(method=method)
    assert accepted.getsockname()[0] == "::ffff:127.0.0.1"
    assert rig.name(remote, local) == ME
    assert rig.watch(remote, local)


@ALL
def test_udp_connected(rig, closing, method):
    far = closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    far.bind(("127.0.0.1", 0))
    near = closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    near.connect(far.getsockname())
    rig = rig(method=method)
    answer = rig.ask(*ends(near), transport="udp")
    assert (answer.owner.pid, answer.quality, answer.alive) == (os.getpid(), "exact", True)
    answer = rig.ask(*reversed(ends(near)), transport="udp")
    assert (answer.owner.pid, answer.quality, answer.alive) == (os.getpid(), "wildcard", False)
    assert rig.watch(*ends(near), transport="udp")
    assert not rig.watch(*reversed(ends(near)), transport="udp")


@ALL
@pytest.mark.parametrize(
    ("bound", "asked"), [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::", "::1"), ("::1", "::1")]
)
def test_udp_unconnected(rig, closing, method, bound, asked):
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    one = closing(socket.socket(family, socket.SOCK_DGRAM))
    one.bind((bound, 0))
    answer = rig(method=method).ask((asked, one.getsockname()[1]), (asked, 9), transport="udp")
    assert (answer.owner.pid, answer.quality) == (os.getpid(), "wildcard")


@ALL
def test_the_more_specific_udp_socket_wins(rig, closing, run, method):
    wildcard = closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    wildcard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    wildcard.bind(("0.0.0.0", 0))
    code = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
print("up", flush=True)
sys.stdin.read()
"""
    port = wildcard.getsockname()[1]
    child, _ = run(code, port)
    rig = rig(method=method)
    assert rig.ask(("127.0.0.1", port), ("127.0.0.1", 9), transport="udp").owner.pid == child.pid
    assert rig.ask(("127.0.0.2", port), ("127.0.0.1", 9), transport="udp").owner.pid == os.getpid()


@LINUX
def test_not_accepted_yet_is_the_listeners_then_exact(rig, closing, run, method):
    server, port = run(SERVER)
    client = closing(socket.create_connection(("127.0.0.1", int(port))))
    local, remote = ends(client)
    rig = rig(method=method)
    answer = rig.ask(remote, local)
    assert (answer.owner.pid, answer.quality) == (server.pid, "listener")
    assert (answer.alive, answer.final) == (True, False)
    server.stdin.write("accept\n")
    server.stdin.flush()
    assert server.stdout.readline() == "accepted\n"
    answer = rig.later(0.25) or answer
    while not answer.final:
        answer = rig.later(2.1) or answer
    assert (answer.owner.pid, answer.quality, answer.final) == (server.pid, "exact", True)


@LINUX  # psutil tells of one holder only
def test_several_of_one_name(rig, closing, run, method):
    code = """
import os, socket, sys, time
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
end = server.accept()[0]
if os.fork() == 0:
    time.sleep(60)
print(client.getsockname()[1], server.getsockname()[1], flush=True)
sys.stdin.read()
"""
    parent, line = run(code)
    near, far = map(int, line.split())
    answer = rig(method=method).ask(("127.0.0.1", near), ("127.0.0.1", far))
    assert (answer.owner.pid, answer.owner.process, answer.quality) == (parent.pid, ME, "shared")


@pytest.fixture(params=["larger", "smaller"])
def numbered(request):
    """Let the next process have a larger number than ours, or a smaller one, as when numbers begin anew."""
    if request.param == "larger":
        return lambda _pid: True
    try:
        LAST_PID.write_text("300")
    except OSError:
        pytest.skip("the next process' number cannot be chosen here")
    return lambda pid: pid < os.getpid() or pytest.skip("our own number is too small")


@LINUX  # psutil tells of one holder only
def test_a_socket_leaked_to_a_child_stays_its_opener_s(rig, closing, numbered, method):
    client, _ = connect(closing)
    child = subprocess.Popen(["sleep", "60"], pass_fds=[client.fileno()])
    try:
        assert numbered(child.pid)
        answer = rig(method=method).ask(*ends(client))
        assert (answer.owner.pid, answer.quality) == (os.getpid(), "shared")
    finally:
        child.kill()
        child.wait()


@LINUX
def test_nobody_is_the_only_holder_before_a_sweep_is_over(rig, closing, monkeypatch, method):
    """As on a slow machine: a slice of the sweep is one process, and the first of them is ours."""
    monkeypatch.setattr("exporter.identity.holders.SLICE", 0.0)
    client, _ = connect(closing)
    rig = rig(method=method)
    holders = rig.sources.holders
    begin = holders.begin

    def ours_first(now):
        begun = begin(now)
        holders.queue.sort(key=os.getpid().__eq__)  # taken from the end
        return begun

    monkeypatch.setattr(holders, "begin", ours_first)
    with subprocess.Popen(["sleep", "60"], pass_fds=[client.fileno()]) as child:
        answer = rig.ask(*ends(client))
        child.kill()
    assert (answer.owner.pid, answer.quality) == (os.getpid(), "shared")


@LINUX
def test_a_connection_handed_to_a_new_child_is_the_child_s(rig, closing, method):
    """As inetd does: the child starts after the first packet, and the listener is its parent's."""
    server = closing(socket.create_server(("127.0.0.1", 0)))
    client, accepted = join(closing, server, "127.0.0.1")
    local, remote = ends(client)
    since = time.time()
    time.sleep(0.3)
    child = subprocess.Popen(["sleep", "60"], stdin=accepted.fileno())
    accepted.close()
    try:
        rig = rig(method=method)
        answer = rig.ask(remote, local, since=since)
        assert (answer.owner.process, answer.owner.pid) == ("sleep", child.pid)
    finally:
        child.kill()
        child.wait()


@ALL
def test_who_started_after_the_first_packet_is_not_the_owner(rig, closing, method):
    client, _ = connect(closing)
    answer = rig(method=method).ask(*ends(client), since=1_000_000.0)
    assert (answer.owner, answer.quality, answer.alive) == (None, "none", True)


@LINUX
def test_a_closed_connection_is_remembered_as_dead(rig, closing, method):
    client, accepted = connect(closing)
    local, remote = ends(client)
    rig = rig(method=method)
    answer = rig.ask(local, remote)
    for _ in range(3):
        answer = rig.later(2.1) or answer
    assert answer.final
    client.close()  # closes first: waits
    accepted.close()
    time.sleep(0.05)
    rig.now += 10
    answer = rig.ask(local, remote)
    assert (answer.owner.pid, answer.quality, answer.alive) == (os.getpid(), "dead", False)
    assert not rig.watch(local, remote)
    stranger = rig.ask(local, (remote[0], 1))
    assert (stranger.owner, stranger.quality) == (None, "none")


@LINUX
def test_a_process_that_ends_keeps_its_connection(rig, closing, run, method):
    server = closing(socket.create_server(("127.0.0.1", 0)))
    code = """
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print(s.getsockname()[1], flush=True)
sys.stdin.read()
"""
    child, port = run(code, server.getsockname()[1])
    closing(server.accept()[0])
    rig = rig(method=method)
    end = ("127.0.0.1", int(port))
    answer = rig.ask(end, server.getsockname())
    assert (answer.owner.pid, answer.final) == (child.pid, False)  # so young a process may still exec
    child.kill()
    child.wait()
    time.sleep(0.05)
    while not answer.final:
        answer = rig.later(2.1) or answer
    assert (answer.owner.pid, answer.quality) == (child.pid, "exact")


@ALL
def test_no_socket(rig, method):
    rig = rig(method=method)
    answer = rig.ask(("127.0.0.1", 1), ("127.0.0.1", 2))
    assert (answer.owner, answer.quality, answer.alive, answer.final) == (None, "none", False, False)
    for _ in range(6):
        answer = rig.later(20.0) or answer
    assert answer.final
    assert not rig.resolver.questions


def test_what_is_not_asked_any_more_is_forgotten(rig):
    from exporter.model import Gone

    rig = rig()
    rig.ask(("127.0.0.1", 1), ("127.0.0.1", 2))
    rig.resolver.gone(0, Gone(rig.serial))
    assert rig.later(0.3) is None
    assert not rig.resolver.questions


@pytest.mark.parametrize("transport", ["sctp", "icmp", ""])
def test_transports_without_a_table(rig, transport):
    answer = rig().ask(("127.0.0.1", 1), ("127.0.0.1", 2), transport=transport)
    assert (answer.owner, answer.method, answer.final) == (None, "none", True)


def test_too_many_questions(rig, monkeypatch):
    monkeypatch.setattr("exporter.identity.questions.LIMIT", 2)
    rig = rig()
    for port in range(1, 5):
        rig.ask(("127.0.0.1", port), ("127.0.0.1", 2))
    assert len(rig.resolver.questions) == 2
    assert rig.stats.errors["evicted"] == 2


@ALL
def test_dumps_list_what_is_connected(rig, closing, method):
    client, _ = connect(closing)
    rig = rig(method=method)
    rig.sources.own.prepare(rig.now)
    while unread := rig.sources.reading():
        unread.step()
    rows = {row.end: row for row in rig.sources.own.dump("tcp", CONNECTED)}
    local, remote = ends(client)
    end = End("tcp", socket.inet_aton(local[0]), local[1], socket.inet_aton(remote[0]), remote[1])
    assert rows[end].state == "established"
    assert all(row.state != "listen" for row in rows.values())


@pytest.mark.root
def test_without_permission_there_is_no_owner_and_no_error(run, closing):
    client, _ = connect(closing)
    code = """
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from conftest import Rig
rig = Rig()
host, near, far = "127.0.0.1", int(sys.argv[3]), int(sys.argv[4])
answer = rig.ask((host, near), (host, far))
print(answer.owner, answer.quality, answer.alive, answer.final, len(rig.sources.holders.denied) > 0, flush=True)
"""
    here = Path(__file__).parent
    line = run(code, here.parents[1], here, client.getsockname()[1], client.getpeername()[1])[1]
    assert line == "None none True False True"
