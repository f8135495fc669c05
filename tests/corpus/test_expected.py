"""Captures in which one connection announces another: both are named."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.corpus.conftest import PROGRAM

pytestmark = pytest.mark.corpus


@pytest.mark.parametrize(
    ("capture", "protocols"),
    [
        ("suricata-verify__output-eve-ftp-data__input.pcap", {"ftp": 1, "ftp_data": 2}),
        ("tcpdump__tftp.pcap", {"tftp": 2}),
    ],
)
def test_what_was_announced_is_named(corpus: Path, capture: str, protocols: dict[str, int]) -> None:
    command = [PROGRAM, "replay", "--format", "jsonl", corpus / "pcap" / capture]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in said.splitlines()]
    found = Counter(row["protocol"] for row in rows if row["type"] == "connection")
    assert {name: found[name] for name in protocols} == protocols
