"""What is loaded into the kernel: gone with the exporter, however it ends, and in nobody's way."""

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.app.conftest import alive
from tests.app.test_kernel_side import KINDS, ids, left
from tests.e2e.conftest import Start
from tests.e2e.netns import Namespace, wait_for
from tests.e2e.running import Exporter
from tests.e2e.servers import SIZES, Servers, renamed

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.bpf]

HTTP, TLS = 8080, 8443


def supervisor(exporter: Exporter) -> psutil.Process:
    return next(one for one in exporter.family() if "exporter.app.supervisor" in one.cmdline())


def test_a_kill_unloads_all_within_a_second(
    alone: Namespace, start: Start, tool: Callable[[str], str]
) -> None:
    exporter = start(alone, "--capture.source", "ebpf", "--workers", "2")
    family = exporter.family()
    assert len(family) == 5
    loaded = ids(supervisor(exporter).pid)
    assert {kind for kind, _ in loaded} == set(KINDS)
    supervisor(exporter).kill()
    wait_for("all is unloaded", lambda: not left(tool("bpftool"), loaded), 1)
    wait_for("nobody is left", lambda: not any(alive(one.pid) for one in family), 1)


def test_two_count_the_same(alone: Namespace, public: Path, start: Start, tool: Callable[[str], str]) -> None:
    own = renamed(tool, public)
    Servers(alone, public, own).nginx(HTTP, TLS)
    other = Namespace("o")
    try:
        exporters = [start(namespace, "--capture.source", "ebpf") for namespace in (alone, other)]
        name = Path(own("curl")).name
        alone.run(own("curl"), "-sf", "--noproxy", "*", "-o", "/dev/null", f"http://127.0.0.1:{HTTP}/slow")

        def seen() -> int:
            first, second = (
                one.scrape().sum("netproc_receive_bytes_total", process=name) for one in exporters
            )
            return first if first == second > SIZES["slow"] else 0

        once = wait_for("both have it", seen, 5)
        exporters[0].stop()
        alone.run(own("curl"), "-sf", "--noproxy", "*", "-o", "/dev/null", f"http://127.0.0.1:{HTTP}/slow")
        twice = lambda: exporters[1].scrape().sum("netproc_receive_bytes_total", process=name)  # noqa: E731
        wait_for("the other goes on", lambda: twice() > once + SIZES["slow"], 5)
        exporters[1].stop()
    finally:
        other.close()
