"""What is committed: sources, and nothing that was captured, built or found on one machine."""

import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

MADE = {".o", ".so", ".a", ".pcap", ".pcapng", ".cap", ".whl", ".pyc", ".gz", ".xz", ".zst", ".tar", ".zip"}
LARGEST = 1 << 20
# Folders whose contents differ from machine to machine.
ELSEWHERE = re.compile(r"(?<![\w./$}~-])/(?:work|home|Users)/[\w.-]+")


def tracked(repo: Path) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=repo, capture_output=True, text=True, check=True
    ).stdout
    return [repo / name for name in listed.split("\0") if name and (repo / name).exists()]


def texts(repo: Path) -> list[tuple[str, str]]:
    return [(str(path.relative_to(repo)), path.read_text(errors="replace")) for path in tracked(repo)]


def test_nothing_made_or_captured_is_committed(repo: Path) -> None:
    assert [p for p in tracked(repo) if p.suffix in MADE] == []


def test_nothing_binary_is_committed(repo: Path) -> None:
    pictures = {".png", ".jpg", ".svg", ".ico", ".woff2"}
    assert [p for p in tracked(repo) if p.suffix not in pictures and b"\0" in p.read_bytes()] == []


def test_nothing_large_is_committed(repo: Path) -> None:
    assert [p for p in tracked(repo) if p.stat().st_size > LARGEST] == []


def test_no_absolute_path_of_one_machine(repo: Path) -> None:
    found = [(name, match[0]) for name, text in texts(repo) for match in ELSEWHERE.finditer(text)]
    assert found == []


def test_scripts_are_executable(repo: Path) -> None:
    scripts = [p for p in tracked(repo) if p.is_file() and p.read_bytes()[:2] == b"#!"]
    assert scripts
    assert [p for p in scripts if not p.stat().st_mode & stat.S_IXUSR] == []


def test_shell_scripts_parse(repo: Path) -> None:
    for path in [*repo.glob("tools/*.sh"), repo / ".ci" / "run"]:
        done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_constraints_pin_every_requirement(repo: Path) -> None:
    project = tomllib.loads((repo / "pyproject.toml").read_text())["project"]
    required = [
        *project["dependencies"],
        *(r for group in project["optional-dependencies"].values() for r in group),
    ]
    names = {normal(re.split(r"[<>=!;\[ ]", r, maxsplit=1)[0]) for r in required if ">= '3.12'" not in r}
    pinned = {
        normal(line.split("==")[0])
        for line in (repo / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert names - pinned == set()


def test_the_supervisor_contract_forbids_every_dependency(repo: Path) -> None:
    settings = tomllib.loads((repo / "pyproject.toml").read_text())
    required = [*settings["project"]["dependencies"], *settings["project"]["optional-dependencies"]["otel"]]
    modules = {"pypcap": "pcap", "pcap-ct": "pcap", "pyyaml": "yaml", "opentelemetry-sdk": "opentelemetry"}
    names = {normal(re.split(r"[<>=!;\[ ]", r, maxsplit=1)[0]) for r in required}
    contracts = {c["id"]: c for c in settings["tool"]["importlinter"]["contracts"]}
    wanted = {modules.get(name, name.replace("-", "_")) for name in names}
    assert wanted - set(contracts["supervisor"]["forbidden_modules"]) == set()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("top", ["work", "home", "Users"])
@pytest.mark.parametrize("form", ["see /{}/x", "path=/{}/me", "`/{}/me/thing`"])
def test_absolute_paths_are_found(top: str, form: str) -> None:
    assert ELSEWHERE.search(form.format(top))
