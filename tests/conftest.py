"""What all tests share: where things are, and what this machine can do.

A marker names what a test needs. Where that is absent the test is skipped and says why; with `CI=true` it fails
instead, so that no test is silently left out of a run that decides something.
"""

import ctypes
import io
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from types import TracebackType

import pytest
from hypothesis import settings

# Chance finds things while we work; what has been submitted passes or fails for what is in it.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI") == "true":
    settings.load_profile("ci")

REPO = Path(__file__).resolve().parent.parent
CORPUS = Path(os.environ.get("NETPROC_CORPUS") or REPO.parent / "shared" / "corpus").resolve()
IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

BPF_MAP_CREATE = 0
BPF_MAP_TYPE_ARRAY = 2
BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}


def lacks_root() -> str:
    return "" if os.geteuid() == 0 else "not root"


def lacks_net_raw() -> str:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        return f"no packet socket: {error.strerror}"
    return ""


def lacks_netns() -> str:
    if not (find_tool("unshare") and find_tool("ip")):
        return "no unshare or ip command"
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return made.stderr.strip()


def lacks_bpf() -> str:
    """Make the smallest map there is: kernel, seccomp and capabilities all have their say."""
    number = BPF_SYSCALL.get(platform.machine())
    if number is None:
        return f"bpf() has no known number on {platform.machine()}"
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = (ctypes.c_uint32 * 32)(BPF_MAP_TYPE_ARRAY, 4, 4, 1)
    fd = libc.syscall(number, BPF_MAP_CREATE, ctypes.byref(attributes), ctypes.sizeof(attributes))
    if fd < 0:
        return f"no bpf(): {os.strerror(ctypes.get_errno())}"
    os.close(fd)
    return ""


def lacks_corpus() -> str:
    return "" if (CORPUS / "manifest.tsv").is_file() else f"no corpus in {CORPUS}; set NETPROC_CORPUS"


NEEDS: dict[str, Callable[[], str]] = {
    "root": lacks_root,
    "net_raw": lacks_net_raw,
    "netns": lacks_netns,
    "bpf": lacks_bpf,
    "corpus": lacks_corpus,
}


@cache
def lacks(marker: str) -> str:
    """Why tests with this marker cannot run here; "" if they can."""
    return NEEDS[marker]()


def find_tool(name: str) -> str | None:
    """Find a command also where servers lie, which is not on everybody's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")


def cannot(why: str) -> None:
    """Skip, loudly; in CI fail."""
    if IN_CI:
        pytest.fail(f"CI must run every test, but here: {why}", pytrace=False)
    pytest.skip(why)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in NEEDS:
        if item.get_closest_marker(marker) and (why := lacks(marker)):
            cannot(why)


LEFT_OPEN = pytest.StashKey[list[object]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Remember what a failed test has left open; else the warning about it fails some later test as well."""
    try:
        return (yield)
    except BaseException as error:
        others = {id(value) for value in getattr(item, "funcargs", {}).values()}
        item.stash[LEFT_OPEN] = [one for one in left_open(error.__traceback__) if id(one) not in others]
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Close it after the fixtures have closed what is theirs."""
    try:
        return (yield)
    finally:
        for one in item.stash.get(LEFT_OPEN, []):
            close(one)


def left_open(traceback: TracebackType | None) -> Iterator[object]:
    """Sockets, files and processes in the variables of the functions that failed, and in lists there."""
    while traceback:
        for value in list(traceback.tb_frame.f_locals.values()):
            several = value if isinstance(value, list | tuple) else [value]
            yield from (
                one for one in several if isinstance(one, socket.socket | io.IOBase | subprocess.Popen)
            )
        traceback = traceback.tb_next


def close(thing: "socket.socket | io.IOBase | subprocess.Popen[bytes]") -> None:
    """Close it, however often that was done before; a process is killed."""
    if not isinstance(thing, subprocess.Popen):
        thing.close()
        return
    thing.kill()
    thing.wait()
    for pipe in (thing.stdin, thing.stdout, thing.stderr):
        if pipe:
            pipe.close()


@pytest.fixture(scope="session")
def repo() -> Path:
    """The repository's root."""
    return REPO


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The corpus of captures; the test also bears the marker `corpus`, or is skipped all the same."""
    if why := lacks("corpus"):
        cannot(why)
    return CORPUS


@pytest.fixture(scope="session")
def short() -> bool:
    """Tell whether the short form was asked for (`SHORT=1`, as CI does)."""
    return bool(os.environ.get("NETPROC_SHORT"))


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Find a program that a test drives: `nginx = tool("nginx")`."""

    def find(name: str) -> str:
        path = find_tool(name)
        if path is None:
            cannot(f"no {name}; `make setup-test` installs it")
        return str(path)

    return find
