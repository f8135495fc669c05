"""What is shipped: the wheel is what users get, so the wheel is what is looked at."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

NOT_SHIPPED = {".pyc", ".pcap", ".pcapng", ".c", ".h"}


@pytest.fixture(scope="module")
def wheel(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", target]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = target.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"exporter"}
    assert not [name for name in wheel.namelist() if Path(name).suffix in NOT_SHIPPED]


def test_the_wheel_holds_every_tracked_file_of_the_package(repo: Path, wheel: zipfile.ZipFile) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "exporter"], cwd=repo, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    sources = {
        name
        for name in tracked
        if name
        and (repo / name).exists()
        and Path(name).suffix not in NOT_SHIPPED
        and Path(name).name != "COPYING"
    }
    assert sources - set(wheel.namelist()) == set()


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    info = Path(entry_points).parent
    assert "netproc-exporter = exporter.cli:main" in wheel.read(entry_points).decode()
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert "Name: netproc-exporter\n" in metadata
    assert "License-Expression: Apache-2.0 AND GPL-2.0-only\n" in metadata
    assert "Apache License" in wheel.read(f"{info}/licenses/LICENSE").decode()


def test_every_module_of_the_wheel_can_be_imported_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Each in a fresh import system: no module may count on another having been imported before it."""
    wheel.extractall(tmp_path)
    names = sorted(n for n in wheel.namelist() if n.startswith("exporter/") and n.endswith(".py"))
    modules = [n.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for n in names]
    script = """
import importlib, sys, warnings
root, *modules = sys.argv[1:]
sys.path.insert(0, root)
for name in modules:
    for loaded in [m for m in sys.modules if m.split(".")[0] == "exporter"]:
        del sys.modules[loaded]
    module = importlib.import_module(name)
    assert module.__file__.startswith(root), module.__file__
"""
    wanted = [m for m in modules if not m.endswith("__main__")]
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", script, tmp_path, *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
