"""A real Prometheus scrapes every second, under load, while processes of ours are killed."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.e2e.conftest import HERE
from tests.e2e.generator import Generator
from tests.e2e.netns import Namespace, Pair, wait_for
from tests.e2e.running import Exporter
from tests.e2e.servers import Servers

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw]

PORT = 9090
CONFIG = """
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: netproc
  static_configs: [{targets: ["127.0.0.1:10187"]}]
"""


class Prometheus:
    """Debian's Prometheus in the exporter's namespace."""

    def __init__(self, namespace: Namespace, folder: Path, program: str) -> None:
        self.namespace = namespace
        config = folder / "prometheus.yml"
        config.write_text(CONFIG)
        flags = {
            "config.file": config,
            "storage.tsdb.path": folder / "data",
            "web.listen-address": f"127.0.0.1:{PORT}",
        }
        namespace.start(program, *[f"--{name}={value}" for name, value in flags.items()])
        wait_for("Prometheus scrapes", self.scrapes, 20)

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Give the vector that a query gives now."""
        body = self.namespace.get(PORT, f"/api/v1/query?{urlencode({'query': query})}")
        return [(row["metric"], float(row["value"][1])) for row in json.loads(body)["data"]["result"]]

    def scrapes(self) -> int:
        """How often it has scraped; 0 while it starts itself."""
        try:
            self.namespace.get(PORT, "/-/ready")
        except (OSError, AssertionError):
            return 0
        return int(sum(value for _, value in self.ask('count_over_time(up{job="netproc"}[10m])')))

    def names(self) -> list[str]:
        """Give all counters of ours, and histograms' parts."""
        names = json.loads(self.namespace.get(PORT, "/api/v1/label/__name__/values"))["data"]
        suffixes = ("_total", "_bucket", "_count", "_sum")
        return [name for name in names if name.startswith("netproc_") and name.endswith(suffixes)]


@pytest.fixture
def prometheus(pair: Pair, tmp_path: Path, tool: Callable[[str], str]) -> Callable[[], Prometheus]:
    return lambda: Prometheus(pair.here, tmp_path, tool("prometheus"))


@pytest.fixture
def load(pair: Pair, public: Path, tool: Callable[[str], str], tmp_path: Path) -> Iterator[None]:
    """New HTTP connections all the time, and 20,000 packets a second in 1,000 connections."""
    Servers(pair.here, public, tool).nginx(HERE["http"], HERE["tls"])
    url = f"http://{pair.here4}:{HERE['http']}/page"
    pair.there.start("sh", "-c", f"while curl -sf --noproxy '*' -o /dev/null {url}; do :; done")
    Generator(pair, tmp_path).start(tuples=1000, count=20_000 * 600, rate=20_000)
    yield
    for process in pair.there.processes:
        process.kill()


def kill(exporter: Exporter, role: str) -> None:
    """Kill a child, and see another in its place."""
    old = exporter.child(role)
    old.send_signal(signal.SIGKILL)
    print(f"killed {role} {old.pid}")
    wait_for(f"a new {role}", lambda: not old.is_running() and exporter.child(role).pid != old.pid, 5)


def watch(exporter: Exporter, seconds: float, last: dict) -> dict:
    """Scrape too, and see for each single series that it neither falls nor goes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        now = exporter.scrape().counters()
        fallen = {key: (value, now.get(key)) for key, value in last.items() if now.get(key, -1) < value}
        assert fallen == {}
        last = now
        time.sleep(0.4)
    return last


def test_scrapes_never_fail_and_counters_never_fall(
    pair: Pair,
    on_veth: Callable[..., Exporter],
    load: None,
    prometheus: Callable[[], Prometheus],
    short: bool,
) -> None:
    exporter = on_veth()
    judge = prometheus()
    third = 4 if short else 20
    last = watch(exporter, third, {})
    kill(exporter, "worker")
    last = watch(exporter, third, last)
    kill(exporter, "exporter")
    last = watch(exporter, third, last)
    assert judge.scrapes() >= 3 * third - 2
    assert judge.ask('min_over_time(up{job="netproc"}[10m]) < 1') == []
    names = judge.names()
    assert {"netproc_receive_bytes_total", "netproc_worker_restarts_total"} <= set(names)
    assert [row for name in names for row in judge.ask(f"resets({name}[10m]) > 0")] == []
    restarts = exporter.scrape().by("netproc_worker_restarts_total", "reason")
    print(f"{judge.scrapes()} scrapes, {len(names)} counters, {len(last)} series, restarts {restarts}")
    assert restarts.total() >= 1


def test_promtool_has_nothing_to_say(
    pair: Pair, on_veth: Callable[..., Exporter], load: None, tool: Callable[[str], str]
) -> None:
    exporter = on_veth("--metrics.packets")
    time.sleep(3)
    text = exporter.scrape().text
    assert "netproc_requests_total{" in text
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
