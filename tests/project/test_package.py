"""What is shipped: the wheel is what users get, so the wheel is what is looked at."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NOT_SHIPPED = {".pyc", ".pcap", ".pcapng", ".c", ".h"}


OBJECT = ".bpf.o"


def build(where: Path, target: str, folder: Path, **environment: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder]
    done = subprocess.run(
        command, cwd=where, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    with zipfile.ZipFile(build(repo, "wheel", tmp_path_factory.mktemp("wheel"))) as opened:
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


def install(wheel: Path, folder: Path) -> Path:
    """Install it into an environment of its own, with our dependencies; give the command."""
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", wheel]
    subprocess.run(pip, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin/netproc-exporter"


def ebpf(command: Path) -> dict[str, Any]:
    """What the installed program says of the kernel's side."""
    words = [command, "check", "--format", "json", "--web.listen-address", "127.0.0.1:0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=command.parent)
    assert done.stderr == ""
    (fact,) = [fact for fact in json.loads(done.stdout)["facts"] if fact["name"] == "eBPF"]
    return fact


@pytest.mark.root
@pytest.mark.bpf
def test_an_installed_wheel_has_the_kernel_s_side(
    repo: Path, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool("clang")
    path = build(repo, "wheel", tmp_path / "dist", NETPROC_BPF="require")
    assert path.name.endswith("-py3-none-any.whl") or sys.byteorder != "little"
    fact = ebpf(install(path, tmp_path / "venv"))
    assert fact["state"] == "ok", fact


def test_a_wheel_built_without_it_says_so(repo: Path, tmp_path: Path) -> None:
    path = build(repo, "wheel", tmp_path / "dist", NETPROC_BPF="off")
    with zipfile.ZipFile(path) as opened:
        assert not [name for name in opened.namelist() if name.endswith(OBJECT)]
    fact = ebpf(install(path, tmp_path / "venv"))
    assert fact["state"] == "weak"
    assert "this installation was built without clang" in fact["text"]


def test_a_source_archive_serves_machines_without_clang(
    repo: Path, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool("clang")
    archive = build(repo, "sdist", tmp_path / "sdist", NETPROC_BPF="require")
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
    source = tmp_path / archive.name.removesuffix(".tar.gz")
    path = build(source, "wheel", tmp_path / "dist", NETPROC_BPF="require", CLANG="no-clang")
    with zipfile.ZipFile(path) as opened:
        shipped = {Path(name).name for name in opened.namelist() if name.endswith(OBJECT)}
    assert shipped == {"flow.bpf.o", "offload.bpf.o", "socket.bpf.o"}


def test_what_is_asked_of_the_build_is_checked(repo: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path]
    for wish, clang, says in (
        ("always", "clang", "expected one of auto, require, off"),
        ("require", "no-clang", "no-clang"),
    ):
        environment = {**os.environ, "NETPROC_BPF": wish, "CLANG": clang}
        done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 1
        assert says in done.stderr
