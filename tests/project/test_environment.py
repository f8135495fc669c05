"""The promise of `conftest.py`: what a machine lacks is skipped aloud, and in CI fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
import pytest

@pytest.mark.corpus
def test_by_marker():
    pass

def test_by_fixture(corpus):
    pass

def test_by_tool(tool):
    tool("no-such-program")
"""


LEAVES_OPEN = """
import gc
import socket
import subprocess

import pytest

@pytest.fixture
def begin():
    started = []

    def start():
        started.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        return started[-1]

    yield start
    for one in started:
        assert one.communicate(b"x") == (b"x", None)

def connect():
    pair = socket.socketpair()
    assert not pair
    return pair

def test_fails(begin):
    fixtures = begin()
    one, file = socket.socket(), open(__file__)
    child = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)
    connect()

def test_comes_after():
    gc.collect()
"""


def run_cases(repo: Path, where: Path, ci: str, cases: str = CASES) -> subprocess.CompletedProcess[str]:
    shutil.copy(repo / "tests" / "conftest.py", where)
    (where / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\nmarkers =\n    corpus:\n")
    (where / "test_cases.py").write_text(cases)
    environment = {**os.environ, "CI": ci, "NETPROC_CORPUS": str(where / "none")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", where]
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("ci", "status", "summary"), [("", 0, "3 skipped"), ("true", 1, "failed")])
def test_what_is_absent(repo: Path, tmp_path: Path, ci: str, status: int, summary: str) -> None:
    done = run_cases(repo, tmp_path, ci)
    assert done.returncode == status, done.stdout
    assert summary in done.stdout.splitlines()[-1]
    assert "no corpus in" in done.stdout
    assert "no no-such-program" in done.stdout
    assert " passed" not in done.stdout
    assert not (ci and "skipped" in done.stdout.splitlines()[-1])


def test_a_failure_does_not_spread(repo: Path, tmp_path: Path) -> None:
    done = run_cases(repo, tmp_path, "", LEAVES_OPEN)
    assert "1 failed, 1 passed in" in done.stdout.splitlines()[-1], done.stdout
