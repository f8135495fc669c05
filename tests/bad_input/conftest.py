"""What a user gets wrong, and how the answer is read."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("netproc-exporter")
SECONDS = 10

Complains = Callable[..., str]


@pytest.fixture
def complains(tmp_path: Path) -> Complains:
    """Run the command; it must end with status 1 or 2 and one line that names the matter. Give the line."""

    def run(
        about: str,
        status: int | tuple[int, ...],
        *arguments: str | Path,
        before: tuple[str, ...] = (),
        **variables: str,
    ) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NETPROC_")} | variables
        done = subprocess.run(
            [*before, PROGRAM, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
        print(f"{done.returncode}: {done.stderr}", end="")
        assert done.returncode in (status if isinstance(status, tuple) else (status,)), done.stderr
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert re.search(about, lines[0]), lines[0]
        assert len(lines[0].split()) >= 5, "too few words to help"
        assert not re.search(r"Traceback|Errno|Error\(|<class|object at 0x|None", lines[0]), lines[0]
        return lines[0]

    return run


@pytest.fixture(scope="session")
def without_privilege() -> tuple[str, ...]:
    """Root without a single capability: may read what is root's, and nothing more."""
    return ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
