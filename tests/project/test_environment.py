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


def run_cases(repo: Path, where: Path, ci: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(repo / "tests" / "conftest.py", where)
    (where / "pytest.ini").write_text("[pytest]\nmarkers =\n    corpus:\n")
    (where / "test_cases.py").write_text(CASES)
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
