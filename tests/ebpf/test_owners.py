"""Whose bytes: from the socket's creation, by its use, and for sockets that are older than the exporter."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from exporter.ebpf.cgroups import Cgroups
from exporter.ebpf.layout import Origin
from exporter.ebpf.owners import Closed, Process, read_holders, ticks
from exporter.ebpf.support import find_cgroup

pytestmark = [pytest.mark.bpf, pytest.mark.root, pytest.mark.netns]

UDP, ICMP = 17, 1
LISTEN = 10
LAST = Path("/proc/sys/kernel/ns_last_pid")
"""The process number given last; the next one follows it."""


@pytest.fixture(autouse=True)
def fresh(request):
    if "watching" in request.fixturenames:
        watching = request.getfixturevalue("watching")
        watching.flows()
        watching.events()


def start_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def of(rows, space, **wanted):
    cookie = space.cookie()
    return [
        (key, flow)
        for key, flow in rows
        if flow.netns == cookie
        and all(getattr(key, name, getattr(flow, name, None)) == value for name, value in wanted.items())
    ]


def accept(space):
    with space.entered():
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
    return listener, client, listener.accept()[0]


class Child:
    """A fork of this process that runs a function and stays until told to end."""

    def __init__(self, function, *arguments):
        ready, said = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                function(*arguments)
                os.write(said, b"1")
                signal.pause()
            finally:
                os._exit(0)
        os.close(said)
        assert os.read(ready, 1) == b"1", "the child failed"
        os.close(ready)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def test_a_process_and_its_time_are_the_kernels(watching, space):
    things = accept(space)
    things[1].sendall(b"x")
    things[2].recv(1)
    for _, flow in of(watching.flows(), space):
        assert (flow.tgid, ticks(flow.start), flow.uid) == (os.getpid(), start_of(os.getpid()), os.geteuid())
        assert flow.space == space.inode()
    for thing in things:
        thing.close()


def test_a_thread_is_its_process(watching, space):
    def work():
        with space.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"x", ("127.0.0.1", 9))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    (_, flow), *_ = of(watching.flows(), space, transport=UDP, rport=9)
    assert (flow.tgid, flow.origin) == (os.getpid(), Origin.CREATED)


def test_an_accepted_socket_is_its_listeners_until_used(watching, space):
    listener, client, accepted = accept(space)
    client.sendall(b"x")
    time.sleep(0.05)
    port = listener.getsockname()[1]
    ((_, flow),) = of(watching.flows(), space, lport=port, rport=client.getsockname()[1])
    assert (flow.tgid, flow.origin) == (os.getpid(), Origin.LISTENER)
    accepted.recv(1)
    client.sendall(b"y")
    time.sleep(0.05)
    ((_, flow),) = of(watching.flows(), space, lport=port, rport=client.getsockname()[1])
    assert (flow.tgid, flow.origin) == (os.getpid(), Origin.USED)
    for thing in (listener, client, accepted):
        thing.close()


def test_a_forked_servers_child_owns_what_it_accepts(watching, space):
    """As nginx and gunicorn do: the parent listens, children accept; each connection is wholly its child's."""
    with space.entered():
        listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        one, _ = listener.accept()
        one.sendall(one.recv(100) * 10)

    port = listener.getsockname()[1]
    for _ in range(4):
        with space.entered():
            client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"0123456789")
        with Child(serve) as child:
            assert client.recv(100, socket.MSG_WAITALL) == b"0123456789" * 10
            rows = of(watching.flows(), space, lport=port, rport=client.getsockname()[1])
            ((_, flow),) = rows
            assert (flow.tgid, flow.origin) == (child.pid, Origin.USED)
            assert ticks(flow.start) == start_of(child.pid)
            assert (flow.received_bytes, flow.sent_bytes >= 152) == (62 + 52, True)
        client.close()
    listener.close()


def test_a_passed_socket_is_its_new_holders(watching, space):
    listener, client, accepted = accept(space)
    client.sendall(b"x")
    accepted.recv(1)
    watching.flows()
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

    def serve():
        _, fds, *_ = socket.recv_fds(there, 1, 1)
        passed = socket.socket(fileno=fds[0])
        passed.sendall(b"from the other")

    socket.send_fds(here, [b"x"], [accepted.fileno()])
    accepted_port = accepted.getsockname()[1]
    with Child(serve) as child:
        watching.flows()
        client.sendall(b"y")
        time.sleep(0.05)
        rows = of(watching.flows(), space, lport=accepted_port, rport=client.getsockname()[1])
        assert [flow.tgid for _, flow in rows] == [child.pid]
    for thing in (listener, client, accepted, here, there):
        thing.close()


@pytest.mark.skipif(not LAST.exists(), reason="this kernel does not let process numbers be chosen")
@pytest.mark.parametrize("after", [0.5, 1])
def test_sockets_older_than_the_start_have_owners(watch, space, after):
    """The maker's, not its child's, whose number may be the smaller one: once used up, numbers begin anew."""
    listener, client, accepted = accept(space)
    with space.entered():
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    LAST.write_text(str(int(os.getpid() * after)))
    with Child(lambda: None) as child:  # it holds them too, and was not the one that made them
        assert (child.pid < os.getpid()) == (after < 1)
        watching = watch()
        client.sendall(b"x")
        accepted.recv(1)
        datagrams.sendto(b"x", ("127.0.0.1", 9))
        rows = of(watching.flows(), space)
        assert len([1 for key, _ in rows if key.transport != ICMP]) == 3
        for key, flow in rows:
            if key.transport != ICMP:
                assert flow.tgid == os.getpid()
                assert ticks(flow.start) == start_of(os.getpid())
                assert flow.origin in {Origin.INVENTORY, Origin.USED}
        holders = list(read_holders(watching.kernel.inventory()["list_files"]))
        port = listener.getsockname()[1]
        assert {one.tgid for one in holders if one.key.lport == port and one.state == LISTEN} == {
            os.getpid(),
            child.pid,
        }
        cookies = {one.key.cookie for one in holders}
        assert {key.cookie for key, _ in rows if key.transport != ICMP} <= cookies
    for thing in (listener, client, accepted, datagrams):
        thing.close()


def test_the_inventory_is_complete_and_true(watching, space):
    """Each socket of ours with its descriptor and inode, as /proc has them."""
    listener, client, accepted = accept(space)
    begun = time.perf_counter()
    rows = watching.kernel.inventory()
    print(f"\ninventory: {(time.perf_counter() - begun) * 1e3:.1f} ms, {len(rows['list_files'])} bytes")
    found = {one.fd: one for one in read_holders(rows["list_files"]) if one.tgid == os.getpid()}
    for thing in (listener, client, accepted):
        one = found[thing.fileno()]
        assert str(Path(f"/proc/self/fd/{one.fd}").readlink()) == f"socket:[{one.inode}]"
        assert (one.netns, one.space) == (space.cookie(), space.inode())
        assert one.key.lport == thing.getsockname()[1]
        thing.close()


def test_short_lived_processes_keep_their_names(watching, space):
    """60 shells that live some milliseconds: each datagram has its process, each process its name, after its death."""
    script = "for i in $(seq 60); do bash -c 'echo $$ > /dev/udp/127.0.0.1/9'; done"
    with space.entered():
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sink.bind(("127.0.0.1", 9))
    space.run("bash", "-c", script)
    sink.setblocking(False)
    pids = {int(sink.recv(100)) for _ in range(60)}
    events = [one for one in watching.events() if isinstance(one, Process)]
    rows = of(watching.flows(), space, transport=UDP, rport=9)
    assert {flow.tgid for _, flow in rows} == pids
    names = {(one.tgid, one.start): one.name for one in events}
    assert {names[flow.tgid, flow.start] for _, flow in rows} == {"bash"}
    sink.close()


def test_an_exec_is_told(watching, space):
    text = "import os, socket; s = socket.socket(); os.execv('/bin/sleep', ['sleep', '5'])"
    child = subprocess.Popen(space.command(sys.executable, "-c", text))
    executed = []
    end = time.monotonic() + 5
    while not executed and time.monotonic() < end:
        executed = [one for one in watching.events() if isinstance(one, Process) and one.executed]
        executed = [one for one in executed if one.tgid == child.pid]
        time.sleep(0.02)
    child.kill()
    child.wait()
    assert executed[-1].name == "sleep"
    assert executed[-1].ppid == os.getpid()


def test_a_closed_datagram_socket_is_told(watching, space):
    with space.entered():
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    cookie = int.from_bytes(one.getsockopt(socket.SOL_SOCKET, 57, 8), "little")  # SO_COOKIE
    one.close()
    closed = [event for event in watching.events() if isinstance(event, Closed)]
    assert [event.tgid for event in closed if event.cookie == cookie] == [os.getpid()]


def test_the_kernels_answers_are_nobodys(watching, space):
    space.run("ping", "-c1", "-q", "127.0.0.1")
    rows = of(watching.flows(), space, transport=ICMP)
    kernel = [flow for _, flow in rows if not flow.tgid]
    assert kernel
    assert sum(flow.sent for flow in kernel) == 1
    assert {flow.origin for flow in kernel} == {Origin.NONE}


def test_a_cgroup_is_its_folders_inode(watching, space):
    root, _ = find_cgroup(Path("/proc/self/mountinfo").read_text())
    folder = root / f"netproc-test-{os.getpid()}"
    folder.mkdir()
    try:
        inner = f"echo $$ > {folder}/cgroup.procs; echo x > /dev/udp/127.0.0.1/9"
        with space.entered():
            subprocess.run(["bash", "-ec", inner], check=True, timeout=10)
        ((_, flow),) = of(watching.flows(), space, transport=UDP, rport=9)
        assert flow.cgroup == folder.stat().st_ino
        known = Cgroups(root)
        assert known.path(flow.cgroup, 0) == f"/{folder.name}"
    finally:
        folder.rmdir()
    assert known.path(flow.cgroup, 10) == f"/{folder.name}"  # it is gone, its name is not
    assert known.path(root.stat().st_ino, 10) == "/"
    assert not Cgroups(root).path(flow.cgroup, 0)
