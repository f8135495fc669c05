"""Cgroups that look like containers, and what an exporter that counts sockets says of them.

It sees every socket of the machine; what belongs to a test is told from the rest by its container's label.
"""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from exporter.ebpf.support import find_cgroup
from tests.e2e.netns import Namespace, wait_for
from tests.e2e.running import PORT, Exporter
from tests.e2e.scrape import Scrape

SHOWN = 12
"""Digits of a container's id that its label shows."""
ENTER = ("sh", "-c", 'echo $$ > "$0"/cgroup.procs; exec "$@"')
READY = f"curl -sf --noproxy '*' -o /dev/null http://127.0.0.1:{PORT}/-/ready"
BEACONS = 8
"""So many connections that no worker gets none of them."""
ATTEMPTS = 5
MOUNT = Path("/run/netproc-e2e-cgroup2")


def root() -> Path:
    """Find the root of cgroup v2, or mount it."""
    found, _ = find_cgroup(Path("/proc/self/mountinfo").read_text())
    if found is None:
        MOUNT.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", MOUNT], check=True)
        found = MOUNT
    return found


class Container(Namespace):
    """A network namespace as seen by processes that run in a cgroup named as containers are."""

    def __init__(self, namespace: Namespace) -> None:
        """Take no namespace of its own."""
        self.name = namespace.name
        self.processes: list[subprocess.Popen[bytes]] = []
        self.id = secrets.token_hex(32)
        self.cgroup = root() / self.id
        self.cgroup.mkdir()

    @property
    def label(self) -> str:
        return self.id[:SHOWN]

    def command(self, *command: str | Path) -> list[str]:
        return [*ENTER, str(self.cgroup), *super().command(*command)]

    def pids(self) -> list[int]:
        return [int(line) for line in (self.cgroup / "cgroup.procs").read_text().split()]

    def close(self) -> None:
        """End what runs in here, then take the cgroup away; the namespace stays."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        with suppress(AssertionError):
            wait_for("its processes end", lambda: not self.pids(), 3)
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            process.wait(10)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        wait_for("its processes are gone", lambda: not self.pids(), 5)
        self.cgroup.rmdir()


@contextmanager
def contained(*namespaces: Namespace) -> Iterator[list[Container]]:
    """Make a container in each namespace."""
    made: list[Container] = []
    try:
        for namespace in namespaces:
            made.append(Container(namespace))  # noqa: PERF401 - those that were made are closed
        yield made
    finally:
        for one in made:
            one.close()


def rows(scrape: Scrape, *containers: Container) -> dict[tuple[str, str], int]:
    """Bytes in both directions, by container and process."""
    labels = {one.label: number for number, one in enumerate(containers)}
    return {key: value for key, value in scrape.bytes_by("container", "process").items() if key[0] in labels}


def by_process(scrape: Scrape, container: Container) -> dict[str, int]:
    """Bytes in both directions of a container's processes."""
    return {name: value for (_, name), value in rows(scrape, container).items()}


def still(
    exporter: Exporter,
    interfaces: list[tuple[Namespace, str]],
    base: Scrape | None = None,
    silence: float = 1.0,
) -> tuple[list[dict[str, int]], Scrape]:
    """Wait until nothing moves at some interfaces and what moved is counted; give both sides' counters."""

    def look() -> list[dict[str, int]]:
        return [namespace.statistics(name) for namespace, name in interfaces]

    def silent() -> tuple[list[dict[str, int]], Scrape] | None:
        before = look()
        time.sleep(silence)
        if look() != before:
            return None
        scrape = after_a_beacon(exporter, base)
        return (before, scrape) if look() == before else None

    return wait_for("silence", silent, 90, says=exporter.said)


def after_a_beacon(exporter: Exporter, base: Scrape | None) -> Scrape:
    """Give a scrape of after something that moved now is counted by each worker; all that was before is then too.

    On a machine that is busy with other things a name may come too late for it; then it is done again.
    """
    for attempt in range(ATTEMPTS):
        with suppress(AssertionError), contained(exporter.namespace) as (cell,):
            return beacon(exporter, cell, base)
        print(f"beacon {attempt} was not seen by name")
    msg = f"what moves is not counted by name\n{exporter.said()}"
    raise AssertionError(msg)


def beacon(exporter: Exporter, cell: Container, base: Scrape | None) -> Scrape:
    """Make some connections and wait until they are counted."""
    # On a machine where others open connections by the thousand a worker may have much else to read.
    wait_for("/-/ready answers", exporter.ready, 30, says=exporter.said)
    cell.run("sh", "-c", f"for i in $(seq {BEACONS}); do {READY}; done")

    def counted() -> Scrape | None:
        scrape = exporter.scrape(base)
        seen = scrape.by("netproc_connections_opened_total", "process", container=cell.label)
        return scrape if seen["curl",] == BEACONS else None

    return wait_for("what moved is counted", counted, 8, every=0.2)
