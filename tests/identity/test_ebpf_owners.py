"""Owners of captured packets from the kernel itself: of short-lived processes, and of who really uses a socket.

The real programs on this kernel. Of these tests' own names are the clients, so that nothing else passes for them.
"""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.app import programs
from exporter.ebpf.kernel import open_owners
from exporter.ebpf.support import Place
from exporter.errors import UserError
from tests.e2e.netns import Namespace, wait_for
from tests.e2e.scrape import Scrape

pytestmark = [pytest.mark.bpf, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw]

REPO = Path(__file__).resolve().parents[2]
CURLS, DIGS = 100, 50
PORT, HTTP, DNS = 10187, 8080, 5300

SERVER = f"""
import socket, socketserver, threading
class Http(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
class Dns(socketserver.BaseRequestHandler):
    def handle(self):
        data, end = self.request
        name = data[12:].partition(b"\\0")[0]
        end.sendto(data[:2] + b"\\x81\\x80" + data[4:6] + bytes(6) + name + b"\\0\\0\\1\\0\\1", self.client_address)
socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer.request_queue_size = 200
threading.Thread(target=socketserver.UDPServer(("", {DNS}), Dns).serve_forever).start()
server = socketserver.ThreadingTCPServer(("", {HTTP}), Http)
print("up", flush=True)
server.serve_forever()
"""
HOLDER = """
import socket, sys
end = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print(end.getsockname()[1], flush=True)
for line in sys.stdin:
    end.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    end.recv(100)
    end.close()
"""


@pytest.fixture(scope="module", autouse=True)
def built(tool):
    tool("clang")
    subprocess.run([REPO / "tools/build-bpf"], check=True)


@pytest.fixture
def space():
    made = Namespace("o")
    yield made
    made.close()


@pytest.fixture(scope="module")
def clients(tool, tmp_path_factory):
    """Clients of a name that nothing else has."""
    folder = tmp_path_factory.mktemp("bin")
    for name in (tool("curl"), tool("dig"), sys.executable):
        shutil.copy(Path(name).resolve(), folder / f"np-{Path(name).name.rstrip('.0123456789')}")
    return folder


class Running:
    """An exporter in a namespace: entered without `ip netns exec`, which hides cgroup v2."""

    def __init__(self, space, *flags, prefix=()):
        self.space = space
        enter = ["nsenter", f"--net=/run/netns/{space.name}", *prefix]
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [*enter, sys.executable, "-P", "-m", "exporter", "run", "--capture.source", "pcap", *flags],
            env={**os.environ, "PYTHONPATH": str(REPO)},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        while "listening on" not in self.said:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
        self.up = time.monotonic() - self.begun
        wait_for("it answers", self.ready)

    def ready(self):
        try:
            return self.space.get(PORT, "/-/ready", 2)
        except (OSError, AssertionError):
            return None

    def scrape(self, base=None):
        return Scrape(self.space.get(PORT, "/metrics"), base)

    def child(self, role):
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in listed}
        return next((int(pid) for pid, text in commands.items() if f"exporter.app.{role}" in text), 0)

    def close(self):
        self.process.terminate()
        self.process.wait(5)
        self.process.stderr.close()


@contextmanager
def running(*arguments, **options):
    made = Running(*arguments, **options)
    try:
        yield made
    finally:
        made.close()


def serve(space):
    server = space.start(sys.executable, "-c", SERVER, stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"up\n"
    return server


def shorts(space, clients):
    """Run the short-lived clients, one after the other; give how long they lived (median, in ms)."""
    loop = (
        f"for i in $(seq {CURLS}); do {clients}/np-curl -sf --noproxy '*' -o /dev/null http://127.0.0.1:{HTTP}/; done;"
        f"for i in $(seq {DIGS}); do {clients}/np-dig +tries=1 +time=1 @127.0.0.1 -p {DNS} x.test >/dev/null; done"
    )
    begun = time.monotonic()
    space.run("sh", "-ec", loop)
    return (time.monotonic() - begun) * 1000 / (CURLS + DIGS)


def named(scrape):
    """Connections begun here, by process: what was wrong is among them too."""
    opened = scrape.by("netproc_connections_opened_total", "process", "transport", initiator="local")
    return {key: value for key, value in opened.items() if value}


def short_lived(space, clients, method):
    with running(space, "--identity.method", method, "--no-identity.namespaces") as exporter:
        base = exporter.scrape()
        lived = shorts(space, clients)
        time.sleep(3)
        scrape = exporter.scrape(base)
        found = named(scrape)
        how = scrape.by("netproc_attributions_total", "method", "quality")
    curls, digs = found.pop(("np-curl", "tcp"), 0), found.pop(("np-dig", "udp"), 0)
    print(
        f"\n{method}: {curls} of {CURLS} curls and {digs} of {DIGS} digs, about {lived:.1f} ms each; {dict(how)}"
    )
    print(f"address after {exporter.up:.2f} s; others: {found}")
    return curls, digs, {process for process, _ in found}


def test_nearly_all_short_lived_processes_are_named_and_none_wrong(space, clients):
    serve(space)
    ours = {Path(sys.executable).resolve().name, "netproc-exporter"}  # scrapes
    *_, others = short_lived(space, clients, "netlink")
    assert others <= {"unknown", *ours}
    curls, digs, others = short_lived(space, clients, "ebpf")
    assert curls + digs >= 0.99 * (CURLS + DIGS)
    assert others <= {"unknown", *ours}


def test_what_was_open_before_the_start_and_after_a_restart_of_identity(space, clients):
    serve(space)
    holders = [
        space.start(
            clients / "np-python", "-c", HOLDER, str(HTTP), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for holder in holders:
        holder.stdout.readline()
    with running(space, "--no-identity.namespaces") as exporter:
        assert "eBPF" not in exporter.said
        time.sleep(1)
        for number, holder in enumerate(holders):
            if number == 1:
                identity = exporter.child("identity")
                os.kill(identity, signal.SIGKILL)
                wait_for(
                    "identity is back", lambda gone=identity: exporter.child("identity") not in {0, gone}
                )
                time.sleep(1)
            holder.stdin.write(b"\n")
            holder.stdin.flush()
            time.sleep(0.3)
        base = exporter.scrape()
        shorts(space, clients)
        time.sleep(3)
        total = exporter.scrape()
        found = named(exporter.scrape(base))
    assert found["np-curl", "tcp"] + found["np-dig", "udp"] >= 0.99 * (CURLS + DIGS)
    moved = total.by("netproc_transmit_bytes_total", "process", process="np-python")
    assert moved["np-python",] >= 3 * (52 + 18)
    assert total.sum("netproc_identity_restarts_total") == 1


def progs():
    done = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, check=True)
    return {row["id"] for row in json.loads(done.stdout)}


def test_a_kill_of_the_supervisor_leaves_nothing(space, tool):
    tool("bpftool")
    before = progs()
    exporter = Running(space, "--identity.method", "ebpf")
    loaded = progs() - before
    assert loaded
    exporter.process.kill()
    exporter.process.wait()
    exporter.process.stderr.close()
    wait_for("all is unloaded", lambda: not progs() & loaded, 1)


@pytest.mark.parametrize(
    ("dropped", "reason"),
    [
        ("-bpf,-sys_admin", "no_cap_bpf"),
        ("-net_admin", "no_cap_net_admin"),
        ("-perfmon,-sys_admin", "no_cap_perfmon"),
    ],
)
def test_without_a_capability_it_is_said_and_netlink_is_used(space, clients, dropped, reason):
    serve(space)
    with running(
        space, "--no-identity.namespaces", prefix=("setpriv", f"--bounding-set={dropped}")
    ) as exporter:
        space.run("sh", "-c", f"{clients}/np-curl -s --limit-rate 1 http://127.0.0.1:{HTTP}/")
        time.sleep(2)
        scrape = exporter.scrape()
    assert scrape.by("netproc_degraded_info", "component", "reason", component="ebpf") == {
        ("ebpf", reason): 1
    }
    assert "owners are looked up in the socket tables" in exporter.said
    assert not scrape.sum("netproc_attributions_total", method="ebpf")
    assert scrape.sum("netproc_attributions_total", method="netlink")


def test_what_was_not_built_is_said_and_refused_only_to_who_insists(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "open_owners", lambda: open_owners(Place(objects=tmp_path)))
    assert programs.load(programs.Wish("pcap"))[:2] == (None, [("ebpf", "not_built")])
    assert programs.load(programs.Wish("pcap", "netlink"))[:2] == (None, [])
    with pytest.raises(UserError, match="built without clang"):
        programs.load(programs.Wish("pcap", "ebpf"))


# -- the tables, asked directly ----------------------------------------------------------------------------------------


@pytest.fixture
def kernel():
    made = open_owners()
    assert made.degraded == {}
    yield made
    made.close()


@pytest.fixture
def listening(rig, kernel):
    made = rig()
    made.sources.listen(kernel.events, kernel.sizes.events)
    return made


def how(answer):
    return answer.owner.pid, answer.owner.process, answer.method, answer.quality


def test_a_process_that_is_gone(listening, clients):
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(("127.0.0.1", 0))
    port = sink.getsockname()[1]
    code = f"import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.sendto(b'x', ('127.0.0.1', {port}))"
    child = subprocess.Popen([clients / "np-python", "-ISc", code])
    _, near = sink.recvfrom(10)
    since = time.time()
    child.wait()
    answer = listening.ask(near, ("127.0.0.1", port), "udp", since=since - 0.01)
    assert how(answer) == (child.pid, "np-python", "ebpf", "exact")
    sink.close()


def test_a_forked_servers_child_owns_what_it_accepts(listening, closing):
    server = closing(socket.create_server(("127.0.0.1", 0)))
    client = closing(socket.create_connection(server.getsockname()))
    ends = server.getsockname(), client.getsockname()
    answer = listening.ask(*ends)
    assert how(answer)[0] == os.getpid()
    assert (answer.method, answer.quality, answer.final) == ("ebpf", "listener", False)
    child = os.fork()
    if not child:
        one, _ = server.accept()
        one.sendall(one.recv(1))
        signal.pause()
    client.sendall(b"x")
    client.recv(1)
    answer = listening.work()  # at once, without being asked
    assert (answer.owner.pid, answer.method, answer.quality, answer.final) == (child, "ebpf", "exact", True)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_ends_that_come_again_have_each_its_own_process(listening, clients):
    """A port that two processes use one after the other; both are asked about when both are gone."""
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(("127.0.0.1", 0))
    port = sink.getsockname()[1]
    code = (
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.1', 45454));"
        f"s.connect(('127.0.0.1', {port})); s.send(b'x')"
    )
    seen = []
    for _ in range(2):
        child = subprocess.Popen([clients / "np-python", "-ISc", code])
        _, near = sink.recvfrom(10)
        seen.append((child.pid, time.time()))
        child.wait()
        time.sleep(0.1)
    for pid, since in seen:
        answer = listening.ask(near, ("127.0.0.1", port), "udp", since=since)
        assert how(answer) == (pid, "np-python", "ebpf", "exact")
    sink.close()


def test_a_port_that_two_processes_share_is_looked_up(listening, closing):
    def bind():
        one = socket.socket(type=socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("0.0.0.0", 45455))
        return one

    closing(bind())
    assert how(listening.ask(("127.0.0.1", 45455), ("127.0.0.1", 9), "udp"))[2:] == ("ebpf", "exact")
    ready, said = os.pipe()
    child = os.fork()
    if not child:
        bind()
        os.write(said, b"1")
        signal.pause()
    os.read(ready, 1)
    answer = listening.ask(("127.0.0.1", 45455), ("127.0.0.1", 9), "udp")
    assert answer.method != "ebpf"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(said)


def test_another_namespace(listening, space, clients):
    serve(space)
    code = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{HTTP}/').read()"
    with space.entered():
        watch = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    space.run(clients / "np-python", "-c", code)
    since = time.time()
    syn = watch.recv(100)
    port = int.from_bytes(syn[34:36], "big")
    watch.close()
    scope = Path("/run/netns", space.name).stat().st_ino
    answer = listening.ask(("127.0.0.1", port), ("127.0.0.1", HTTP), scope=scope, since=since - 0.1)
    assert how(answer)[1:] == ("np-python", "ebpf", "exact")


def wakes(poller):
    return bool(poller.poll(0))


def test_new_processes_wake_at_once_and_sockets_when_the_ring_would_be_full(listening, clients):
    poller = select.epoll()
    poller.register(listening.sources.told.ring, select.EPOLLIN | select.EPOLLET)
    count = 0
    for _ in range(200):
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.connect(("127.0.0.1", 9))
        count += wakes(poller)
        listening.work()
    assert count < 20  # these are of other processes
    for _ in range(20):
        subprocess.run([clients / "np-python", "-ISc", "import socket; socket.socket()"], check=True)
        assert wakes(poller)  # although some events before it were not read
    listening.work()
    for _ in range(1_000):
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.connect(("127.0.0.1", 9))
    assert wakes(poller)
    poller.close()


def test_events_are_bounded_and_what_is_lost_is_counted(listening, closing):
    """Sockets come and go while nobody listens: the ring is full; what comes later is known again."""
    told = listening.sources.told
    for _ in range(30_000):
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.connect(("127.0.0.1", 9))
    sink = closing(socket.socket(type=socket.SOCK_DGRAM))
    sink.bind(("127.0.0.1", 0))
    listening.work()
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as one:
        one.bind(("127.0.0.1", 0))
        listening.work()
        assert how(listening.ask(one.getsockname(), ("127.0.0.1", 9), "udp"))[0] == os.getpid()
    assert listening.stats.errors["lost"] > 0
    assert len(told.open) < 32_768


def test_what_is_forgotten_is_gone(listening, monkeypatch):
    told = listening.sources.told
    for _ in range(20):
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
    listening.work()
    assert told.bound
    monkeypatch.setattr("exporter.identity.told.KEPT", 0)
    listening.work()
    assert len(told.closed) == 0
    assert not any(record.closed for records in told.bound.values() for record in records)
