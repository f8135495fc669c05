"""What `score.py` says of our replay of the corpus, against the figures that we promise."""

import re
import subprocess
import sys
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
}
PROTOCOLS = ("http", "tls", "dns")
SINGLE = 97.0
ROW = re.compile(r"^(?P<name>\S.*?) +(?P<have>\d+) / (?P<all>\d+) +[\d.]+ %$", re.MULTILINE)

Table = dict[str, tuple[int, int]]


def read_table(said: str) -> Table:
    """Give each row of the table: how many of how many."""
    return {row["name"]: (int(row["have"]), int(row["all"])) for row in ROW.finditer(said)}


def share(row: tuple[int, int]) -> float:
    return 100 * row[0] / max(1, row[1])


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
    print(said[said.index(next(iter(table))) :] if table else said)
    return table


def listed(repo: Path, row: str) -> int:
    """How many differences of a row are listed with their reason: lines `- ROW: CAPTURE: what: why`."""
    page = repo / "tests" / "dpi" / "differences.md"
    text = page.read_text() if page.exists() else ""
    return len(re.findall(rf"^- {re.escape(row)}: \S.*: .{{10,}}$", text, re.MULTILINE))


def test_the_table_is_read() -> None:
    line = "agreed tls.sni                        120 / 124     96.77 %"
    assert read_table(f"x\t1 / 2\n{line}\nscore 1.00 % (1 of 2 agreed facts)\n") == {
        "agreed tls.sni": (120, 124)
    }


@pytest.mark.parametrize("name", LEAST)
def test_counting(table: Table, name: str) -> None:
    assert table[name][1] > 0
    assert share(table[name]) >= LEAST[name], table[name]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_the_oracles_agree_on(table: Table, repo: Path, said: str, protocol: str) -> None:
    """None is missing, or each is listed with its reason."""
    rows = {
        n: r for n, r in table.items() if n.startswith(f"agreed {protocol}.") or n == f"protocol:{protocol}"
    }
    assert len(rows) >= 2
    missing = {name: row[1] - row[0] for name, row in rows.items()}
    unexplained = {name: count for name, count in missing.items() if count > listed(repo, name)}
    assert unexplained == {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_one_oracle_says(table: Table, protocol: str) -> None:
    rows = {name: row for name, row in table.items() if name.startswith(f"single {protocol}.") and row[1]}
    assert {name: (row, f"{share(row):.2f} %") for name, row in rows.items() if share(row) < SINGLE} == {}
    assert rows
