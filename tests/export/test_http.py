"""The exporter process over real sockets."""

import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from exporter import metrics as m
from exporter.metrics import Origin
from tests.export.conftest import CURL, REPO, Shard, fill, start, wait_for


def test_the_landing_page_links_to_the_metrics(running):
    status, headers, body = running.get("/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert b'<a href="/metrics">' in body
    assert b"netproc-exporter" in body
    assert b"Version" in body


def test_metrics_in_text_and_openmetrics(running):
    status, headers, body = running.get()
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b'netproc_worker_restarts_total{reason="signal"} 1\n' in body
    assert b"process_resident_memory_bytes" in body
    assert b"netproc_build_info" in body
    _, headers, body = running.get(accept="application/openmetrics-text;version=1.0.0")
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    assert list(parse_openmetrics(body.decode()))


def test_gzip_when_asked_for(running):
    _, headers, body = running.get(accept_encoding="gzip")
    assert headers["content-encoding"] == "gzip"
    assert b"netproc_receive_bytes_total" in gzip.decompress(body)
    assert "content-encoding" not in running.get()[1]


def test_a_filter(running):
    body = running.get("/metrics?name[]=netproc_connections&name[]=netproc_worker_up")[2].decode()
    assert {line.split("{")[0] for line in body.splitlines() if not line.startswith("#")} == {
        "netproc_connections",
        "netproc_worker_up",
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/metrics", 405),
        ("PUT", "/", 405),
        ("HEAD", "/metrics", 200),
        ("HEAD", "/", 200),
        ("GET", "/-/healthy", 200),
        ("GET", "/-/ready", 200),
    ],
)
def test_status(running, method, path, status):
    found, _, body = running.get(path, method)
    assert found == status
    if method == "HEAD":
        assert body == b""


def test_what_strangers_send_ends_in_400(running):
    assert running.raw(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert running.raw(b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000).startswith(b"HTTP/1.1 400")


def test_a_scrape_sees_what_was_published_since(running, shards):
    def value():
        body = running.get("/metrics?name[]=netproc_retransmitted_segments_total")[2].decode()
        return float(body.splitlines()[-1].split()[-1])

    before = value()
    shards[0].add(m.RETRANSMITTED_SEGMENTS, CURL, (), 1)
    wait_for(lambda: value() == before + 1)


def test_parallel_scrapes_are_limited_and_the_rest_told_so(running):
    """A client that does not read holds no renderer; many at once get an answer or a 503."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(running.get()[0])) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    assert set(found) <= {200, 503}
    assert 200 in found
    assert running.get()[0] == 200


def test_a_keep_alive_connection_serves_many(running):
    with socket.create_connection(("127.0.0.1", running.port), 5) as client:
        reader = client.makefile("rb")
        for _ in range(3):
            client.sendall(b"GET /-/healthy HTTP/1.1\r\nhost: x\r\n\r\n")
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            length = 0
            while (line := reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert len(reader.read(length)) == length


@pytest.fixture
def impatient(tmp_path):
    """The exporter with short deadlines and few connections."""
    site = tmp_path / "sitecustomize.py"
    site.write_text(
        "from exporter.export.web import connection\n"
        "connection.HEAD, connection.ANSWER, connection.MOST = 0.5, 1.0, 8\n"
    )
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{tmp_path}:{REPO}"
    try:
        shards = [fill(Shard()), Shard(origin=Origin.IDENTITY)]
        for one in shards:
            one.publish()
        with start(shards) as running:
            wait_for(lambda: running.get("/-/healthy")[0] == 200)
            yield running
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def closed_after(client):
    begin = time.monotonic()
    client.settimeout(5)
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - begin


@pytest.mark.parametrize("beginning", [b"", b"GET /met", b"GET / HTTP/1.1\r\nhost: x\r\n"])
def test_a_slow_head_is_cut(impatient, beginning):
    with socket.create_connection(("127.0.0.1", impatient.port)) as client:
        client.sendall(beginning)
        assert closed_after(client) < 2


def test_dripping_bytes_buy_no_time(impatient):
    with socket.create_connection(("127.0.0.1", impatient.port)) as client:
        begin = time.monotonic()
        try:
            for byte in b"GET /metrics HTTP/1.1\r\nhost: " + b"x" * 100:
                client.sendall(bytes([byte]))
                time.sleep(0.05)
        except (ConnectionResetError, BrokenPipeError):
            pass
        assert time.monotonic() - begin < 2


def test_a_second_heads_drip_is_cut_too(impatient):
    with socket.create_connection(("127.0.0.1", impatient.port)) as client:
        client.sendall(b"GET /-/healthy HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        time.sleep(1.2)  # idle is allowed
        client.sendall(b"GET /")
        assert closed_after(client) < 2


def test_a_client_that_never_reads_is_cut(impatient):
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", impatient.port))
        client.sendall(
            b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 1000
        )  # 20 MB, more than the kernel holds
        time.sleep(2)
        assert closed_after(client) < 2


def test_a_crowd_of_idle_connections_locks_nobody_out(impatient):
    crowd = [socket.create_connection(("127.0.0.1", impatient.port)) for _ in range(50)]
    assert impatient.get()[0] == 200
    for one in crowd:
        one.close()


def test_not_ready_before_a_worker_has_published():
    empty = [Shard(), Shard(origin=Origin.IDENTITY)]
    with start(empty) as running:
        wait_for(lambda: answers(running))
        status, _, body = running.get("/-/ready")
        assert (status, body) == (503, b"netproc-exporter is not ready: worker 0 has not published yet.\n")
        assert running.get("/-/healthy")[0] == 200
        assert running.get()[0] == 200
        empty[0].publish()
        assert b"no capture is up" in running.get("/-/ready")[2]
        empty[0].add(m.CAPTURE_UP, None, ("eth0", "pcap"), 1)
        empty[0].publish()
        assert running.get("/-/ready")[0] == 200


def answers(running):
    try:
        return running.get("/-/healthy")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_a_second_whoever_is_connected(number):
    shards = [fill(Shard()), Shard(origin=Origin.IDENTITY)]
    with start(shards) as running:
        wait_for(lambda: answers(running))
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\n")
            time.sleep(0.1)
            running.process.send_signal(number)
            begin = time.monotonic()
            assert running.process.wait(3) == 0
            assert time.monotonic() - begin < 1
        assert running.process.stderr.read() == ""


def test_it_ends_with_the_supervisor():
    shards = [fill(Shard()), Shard(origin=Origin.IDENTITY)]
    with start(shards) as running:
        wait_for(lambda: answers(running))
        running.let_go()
        assert running.process.wait(2) == 0


def test_another_path():
    shards = [fill(Shard()), Shard(origin=Origin.IDENTITY)]
    with start(shards, telemetry_path="/netproc") as running:
        wait_for(lambda: answers(running))
        assert running.get("/netproc")[0] == 200
        assert running.get("/metrics")[0] == 404
        assert b'href="/netproc"' in running.get("/")[2]


def test_lean_imports():
    """What the exporter process does not need, it does not load."""
    code = "import sys, exporter.app.exporter; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {
        "pydantic",
        "opentelemetry",
        "grpc",
        "kubernetes",
        "pcap",
        "dpkt",
        "psutil",
        "httptools",
    }
