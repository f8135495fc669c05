"""Where something lacks: it starts, says once what lacks, exports it, and shows what the next best way can show."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.conftest import Start
from tests.e2e.netns import Namespace, wait_for
from tests.e2e.running import PROGRAM, Exporter
from tests.e2e.scrape import Scrape
from tests.e2e.servers import SIZES, Servers, renamed

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw, pytest.mark.bpf]

REPO = Path(__file__).resolve().parents[2]
HTTP, TLS = 8080, 8443
CURL = ("-sf", "--noproxy", "*", "-o", "/dev/null", f"http://127.0.0.1:{HTTP}/slow")
"""Lives for a second: the promise of every way to find owners."""
FALLBACK = "packets are captured, and owners are looked up in the socket tables"


def without(*names: str) -> tuple[str, ...]:
    """Never to have these capabilities."""
    return ("capsh", *(f"--drop=cap_{name}" for name in names), "--shell=/usr/bin/env", "--", "--")


def hidden(script: str) -> tuple[str, ...]:
    """In a mount namespace that was changed like this."""
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{script}; exec "$@"', "sh")


PROCESSES = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""In a process namespace of its own."""


Own = Callable[[str], str]


class Case(NamedTuple):
    """What is taken away, and what is said of it."""

    name: str
    before: tuple[str, ...]
    component: str
    reasons: frozenset[str]
    counts: bool
    """Whether the kernel counts all the same."""
    named: bool = True
    """Whether owners can be known: not of processes whose numbers are another namespace's."""


def lacks(name: str, before: tuple[str, ...], *reasons: str, named: bool = True) -> Case:
    return Case(name, before, "ebpf", frozenset(reasons), counts=False, named=named)


CASES = [
    lacks("bpf", without("bpf", "sys_admin"), "no_cap_bpf"),
    lacks("net_admin", without("net_admin"), "no_cap_net_admin"),
    lacks("perfmon", without("perfmon", "sys_admin"), "no_cap_perfmon"),
    lacks("btf", hidden("mount -t tmpfs none /sys/kernel/btf"), "no_btf"),
    lacks(
        "libbpf",
        hidden("find /usr/lib* -name 'libbpf.so.*' | xargs -I '{}' mount --bind /dev/null '{}'"),
        "no_libbpf",
    ),
    lacks("cgroup2", hidden("umount -l /sys/fs/cgroup"), "no_cgroup2", "cgroup2_not_root"),
    lacks("process namespace", PROCESSES, "pid_namespace", named=False),
    Case("ptrace", without("sys_ptrace"), "identity", frozenset({"no_sys_ptrace"}), counts=True),
    Case("search", without("dac_read_search"), "identity", frozenset({"no_dac_read_search"}), counts=True),
    Case("setuid", without("setuid"), "user", frozenset({"no_setuid"}), counts=True),
    Case("setpcap", without("setpcap"), "capabilities", frozenset({"no_setpcap"}), counts=True),
]  # fmt: skip


@pytest.fixture
def own(tool: Own, public: Path) -> Own:
    return renamed(tool, public)


@pytest.fixture(autouse=True)
def built(tool: Callable[[str], str]) -> None:
    for name in ("capsh", "clang"):
        tool(name)
    subprocess.run([REPO / "tools/build-bpf"], check=True)


def bytes_of(scrape: Scrape, client: str, server: str) -> tuple[int, int]:
    """What the client received and the server sent, its handshakes too, which are of no protocol."""
    return (
        scrape.sum("netproc_receive_bytes_total", process=client, protocol="http"),
        scrape.sum("netproc_transmit_bytes_total", process=server),
    )


def asked(exporter: Exporter, own: Own, *, named: bool = True) -> Scrape:
    """Ask the server for a second's worth, and wait until all of it is there."""
    client, server = (Path(own(name)).name if named else "unknown" for name in ("curl", "nginx"))
    exporter.namespace.run(own("curl"), *CURL)

    def whole() -> Scrape | None:
        scrape = exporter.scrape()
        received, sent = bytes_of(scrape, client, server)
        return scrape if sent > SIZES["slow"] and (received == sent or client == server) else None

    return wait_for("what curl asked for", whole, 5, says=lambda: exporter.said() + exporter.scrape().text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_lacks_is_said_and_done_without(
    alone: Namespace, public: Path, own: Own, start: Start, case: Case
) -> None:
    Servers(alone, public, own).nginx(HTTP, TLS)
    exporter = start(alone, before=case.before)
    scrape = asked(exporter, own, named=case.named)
    client = Path(own("curl")).name if case.named else "unknown"
    assert scrape.sum("netproc_requests_total", process=client, protocol="http", role="client") == 1
    lacking = scrape.by("netproc_degraded_info", "component", "reason")
    ((_, reason),) = [pair for pair in lacking if pair[0] == case.component]
    assert reason in case.reasons
    assert exporter.said().count(FALLBACK) == (not case.counts)
    sources = {key[0] for key in scrape.by("netproc_capture_up", "source")}
    assert sources == ({"ebpf"} if case.counts else {"pcap"})
    if case.before == PROCESSES:  # unshare keeps SIGTERM to itself
        exporter.family()[1].terminate()
        exporter.process.wait(5)


def test_without_net_raw_nothing_lacks(alone: Namespace, public: Path, own: Own, start: Start) -> None:
    Servers(alone, public, own).nginx(HTTP, TLS)
    exporter = start(alone, before=without("net_raw"))
    scrape = asked(exporter, own)
    assert not [key for key in scrape.by("netproc_degraded_info", "component") if "ebpf" in key[0]]
    assert {key[0] for key in scrape.by("netproc_capture_up", "source")} == {"ebpf"}


def test_without_net_raw_and_bpf_it_does_not_start(alone: Namespace) -> None:
    done = alone.run(*without("net_raw", "bpf", "sys_admin"), PROGRAM, "run", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("netproc-exporter: no privilege to capture packets: ")
    assert done.stderr.count("\n") == 1


def test_what_insists_ends_in_one_line(alone: Namespace) -> None:
    began = time.monotonic()
    done = alone.run(*without("net_admin"), PROGRAM, "run", "--capture.source", "ebpf", check=False)
    assert done.returncode == 1
    assert "capture.source ebpf does not work here: ebpf: " in done.stderr
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - began < 5
