"""`replay` shows all that a file holds, or what is asked for, and names servers by the look-ups in the file."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from exporter.app.replay import replay
from exporter.config import Config
from tests.engine import frames as f
from tests.engine.frames import End, Talk

HERE, RESOLVER, WEB = End("10.0.0.1", 40_000), End("192.0.2.53", 53), End("192.0.2.80", 8080)
NAME = b"\3www\7example\0\0\1\0\1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A look-up, and a request that names no host."""
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + WEB.packed
    one = Talk(HERE, WEB)
    said = [
        f.datagram(HERE, RESOLVER, b"\0\7\1\0\0\1\0\0\0\0\0\0" + NAME),
        f.datagram(RESOLVER, HERE, b"\0\7\x81\x80\0\1\0\1\0\0\0\0" + NAME + answer),
        *one.handshake(),
        one.c("PA", b"GET /private HTTP/1.0\r\n\r\n"),
        one.s("PA", b"HTTP/1.0 204 No Content\r\n\r\n"),
        *one.close(),
    ]
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
    for at, frame in enumerate(said):
        data += struct.pack("<IIII", 1_700_000_000, at * 1000, len(frame), len(frame)) + frame
    path = tmp_path / "some.pcap"
    path.write_bytes(data)
    return path


def lines(file: Path, capsys: pytest.CaptureFixture[str], **config: Any) -> list[dict[str, Any]]:
    assert replay(str(file), "jsonl", Config(**config)) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("asked", "have"),
    [
        ((), {"server.address", "url.path", "http.request.method"}),
        (("safe",), {"server.address", "http.request.method"}),
        (("url.path",), {"url.path"}),
    ],
)
def test_attributes(
    file: Path, capsys: pytest.CaptureFixture[str], asked: tuple[str, ...], have: set[str]
) -> None:
    said = lines(file, capsys, attributes=asked)
    (request,) = (line for line in said if line.get("op") == "GET")
    (connection,) = (line for line in said if line["type"] == "connection" and line["protocol"] == "http")
    assert request["attributes"].keys() == have
    assert connection["attributes"].keys() - {"http.response.status_code"} == have
    if "server.address" in have:
        assert (
            request["attributes"]["server.address"]
            == connection["attributes"]["server.address"]
            == "www.example"
        )


def test_the_label(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(str(file), "prometheus", Config(labels=("server_address",))) == 0
    rows = [
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("netproc_peer_transmit_bytes")
    ]
    assert sorted('server_address="www.example"' in row for row in rows) == [False, True]
