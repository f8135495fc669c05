"""What a connection costs in memory and in time. The bounds leave room for a slow machine; see what is printed.

The figures that count are `make bench`'s, on a quiet machine; these here keep a change from doubling them unseen.
"""

import gc
import ssl
import subprocess
import time
import tracemalloc
from contextlib import suppress
from itertools import chain

import pytest

from exporter import metrics as m
from tests.engine.frames import End, Talk
from tests.engine.rig import ETH, Rig

GET = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n\r\n"
OK = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Type: text/html\r\n"
    b"Content-Length: 600\r\nConnection: close\r\n\r\n" + b"z" * 600
)
BUDGET_BYTES = 1280
"""The allocator's rounding, and what the other processes keep of it, come on top: 1,536 in all."""
CROWD = 20_000


def talks(count):
    for number in range(count):
        yield Talk(End("192.0.2.1", 1024 + number % 60_000), End("10.0.0.1", 80 + number // 60_000))


def asked(one):
    return [*one.handshake(1460), one.c("PA", GET), one.s("A"), one.s("PA", OK), one.c("A")]


@pytest.mark.parametrize("said", [lambda one: one.handshake(1460), asked], ids=["nothing", "a request"])
def test_bytes_a_connection(capsys, said):
    """Open, settled, owned, and nothing under way."""
    talk = [said(one) for one in talks(CROWD)]
    rig = Rig(listen=False)
    rig.put(*chain(*talk[:10])).answer("nginx").settle()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    rig.put(*chain(*talk[10:]), gap=0.00001).answer("nginx").settle()
    gc.collect()
    each = (tracemalloc.get_traced_memory()[0] - before) / (CROWD - 10)
    tracemalloc.stop()
    with capsys.disabled():
        print(f"\n{each:.0f} bytes a TCP connection")
    assert each <= BUDGET_BYTES


def http(one):
    return [
        *one.handshake(1460),
        one.c("PA", GET),
        one.s("A"),
        one.s("PA", OK),
        one.c("A"),
        one.s("FA"),
        one.c("FA"),
        one.s("A"),
    ]


@pytest.fixture(scope="module")
def hello(tool, tmp_path_factory):
    """What both ends of a TLS 1.3 connection say, from the standard library's own."""
    where = tmp_path_factory.mktemp("tls")
    key, certificate = where / "key.pem", where / "cert.pem"
    subject = ["-subj", "/CN=www.example.com", "-days", "30", "-nodes"]
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(
        [tool("openssl"), "req", "-x509", *new, *subject, "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate, key)
    ours = ssl.create_default_context(cafile=str(certificate))
    ours.check_hostname = False
    pipes = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
    ends = [
        ours.wrap_bio(*pipes[0], server_hostname="www.example.com"),
        theirs.wrap_bio(*pipes[1], server_side=True),
    ]
    said = []
    for step in range(6):
        side = step % 2
        with suppress(ssl.SSLWantReadError):
            ends[side].do_handshake()
        data = pipes[side][1].read()
        if data:
            said.append((side, data))
            pipes[1 - side][0].write(data)
    for side, data in ((0, GET), (1, OK)):
        ends[side].write(data)
        said.append((side, pipes[side][1].read()))
    return said


def tls(one, said):
    out = one.handshake(1460)
    for side, data in said:
        out += [one.say(side, "PA", data[at : at + 1460]) for at in range(0, len(data), 1460)]
        out.append(one.say(1 - side, "A"))
    return [*out, one.s("FA"), one.c("FA"), one.s("A")]


def cost(conversations):
    """Microseconds a connection, with owners answered and all that is due by the clock; the best of some."""
    count = len(conversations)
    best = float("inf")
    for _ in range(4):
        rig = Rig(listen=False)
        take = rig.handle(ETH)
        engine, owners = rig.engine, rig.engine.context.owners
        gc.collect()
        gc.disable()
        began = time.process_time()
        now = rig.now
        for number, frames in enumerate(conversations):
            for frame in frames:
                now += 0.00005
                take(now, frame)
            if number % 50 == 49:
                rig.now = now
                for ask in owners.outbox:
                    rig.say(ask.serial, OWNER) if hasattr(ask, "lport") else None
                owners.outbox.clear()
            if number % 500 == 499:
                engine.reap(now)
            if number % 2000 == 1999:
                engine.tick(now)
                engine.sweep(now)
        engine.reap(now + 2)
        engine.tick(now + 2)
        best = min(best, (time.process_time() - began) / count * 1e6)
        gc.enable()
        assert rig.sum(m.CONNECTIONS_CLOSED) == count
    return best


OWNER = "nginx"


@pytest.mark.bench
def test_time_of_a_short_http_connection(capsys):
    took = cost([http(one) for one in talks(4000)])
    with capsys.disabled():
        print(f"\n{took:.1f} µs a short HTTP connection of 10 packets in the engine")
    assert took <= 150


@pytest.mark.bench
def test_time_of_a_tls_connection(capsys, hello):
    took = cost([tls(one, hello) for one in talks(2000)])
    with capsys.disabled():
        print(f"\n{took:.1f} µs a TLS connection in the engine")
    assert took <= 250
