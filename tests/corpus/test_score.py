"""What `score.py` says of our replay of the corpus, against the figures that we promise."""

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.corpus.conftest import PROGRAM

pytestmark = [pytest.mark.corpus, pytest.mark.slow]

LEAST = {
    "files.ran": 100.0,
    "flows.found": 100.0,
    "flows known to the oracles": 99.5,
    "packets": 99.5,
    "ip_bytes": 99.5,
    "protocol": 99.0,
    "unknown stays unknown": 100.0,
    "agreed quic.sni": 100.0,
    "single quic.sni": 97.0,
}
PROTOCOLS = ("http", "tls", "dns")
SINGLE = 97.0
ROW = re.compile(r"^(?P<name>\S.*?) +(?P<have>\d+) / (?P<all>\d+) +[\d.]+ %$", re.MULTILINE)
MISSING = re.compile(
    r"^(?P<capture>\S+) (?P<flow>\(.*\) \(.*\))\t(?P<attribute>[a-z_.]+): missing ", re.MULTILINE
)
UNKNOWN = re.compile(r"^(?P<capture>\S+) \(.*\tprotocol \[.*\], expected (?P<protocol>\S+)$", re.MULTILINE)

Table = dict[str, tuple[int, int]]
Fact = tuple[str, str]
"""Capture and row."""


def read_table(said: str) -> Table:
    """Give each row of the table: how many of how many."""
    return {row["name"]: (int(row["have"]), int(row["all"])) for row in ROW.finditer(said)}


def share(rows: Iterable[tuple[int, int]]) -> float:
    have, of = (sum(column) for column in zip(*rows, strict=True))
    return 100 * have / of


def is_of_ours(row: str) -> bool:
    return row.partition(".")[0] in PROTOCOLS


def rows_of(corpus: Path, capture: str, flow: str, attribute: str) -> list[str]:
    """Name the rows that an attribute of a flow counts in; score.py alone knows."""
    score = runpy.run_path(str(corpus / "score.py"))
    expected = json.loads((corpus / "expected" / f"{capture}.json").read_text())
    flows = [f for f in expected["flows"] + expected.get("inner_flows", []) if flow == flow_name(f)]
    return [row for f in flows for row, name, _, _ in score["want"](f.get("fields", {})) if name == attribute]


def flow_name(flow: dict[str, list]) -> str:
    return f"{tuple(flow['low'])} {tuple(flow['high'])}"


@pytest.fixture(scope="module")
def said(corpus: Path) -> str:
    command = [
        sys.executable,
        corpus / "score.py",
        "--corpus",
        corpus,
        "--verbose",
        "--command",
        f"{PROGRAM} replay",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def table(said: str) -> Table:
    table = read_table(said)
    print("\n".join(row[0] for row in ROW.finditer(said)))
    print(*re.findall(r"^.*\t(?:exit|timeout).*", said, re.MULTILINE), sep="\n")
    return table


@pytest.fixture(scope="module")
def missing(said: str, corpus: Path) -> set[Fact]:
    """Every fact about http, tls and dns that an oracle knows and we do not."""
    found = {(m["capture"], "protocol") for m in UNKNOWN.finditer(said) if m["protocol"] in PROTOCOLS}
    for m in MISSING.finditer(said):
        rows = rows_of(corpus, m["capture"], m["flow"], m["attribute"])
        found |= {(m["capture"], row) for row in rows if is_of_ours(row)}
    return found


@pytest.fixture(scope="module")
def listed(repo: Path) -> list[tuple[list[str], list[str]]]:
    """Captures and rows of the tables in `tests/dpi/differences.md`, each with a reason."""
    lines = (repo / "tests" / "dpi" / "differences.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [(row[0].split(", "), row[1].split(", ")) for row in cells if len(row) == 5 and len(row[4]) > 10]


def test_the_table_is_read() -> None:
    line = "agreed tls.sni                        120 / 124     96.77 %"
    assert read_table(f"x\t1 / 2\n{line}\nscore 1.00 % (1 of 2 agreed facts)\n") == {
        "agreed tls.sni": (120, 124)
    }


@pytest.mark.parametrize("name", LEAST)
def test_counting(table: Table, name: str) -> None:
    assert table[name][1] > 0
    assert share([table[name]]) >= LEAST[name], table[name]


def test_what_is_missing_is_listed_with_its_reason(missing: set[Fact], listed: list) -> None:
    def is_listed(capture: str, row: str) -> bool:
        return any(row in rows and any(name in capture for name in names) for names, rows in listed)

    assert {fact for fact in missing if not is_listed(*fact)} == set()


def test_what_one_oracle_says(table: Table) -> None:
    rows = {
        n: r for n, r in table.items() if n.startswith("single ") and is_of_ours(n.removeprefix("single "))
    }
    assert rows
    assert share(rows.values()) >= SINGLE, rows
