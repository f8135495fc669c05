"""The real exporter, started as a user starts it, and what its processes cost."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.e2e.netns import Namespace, wait_for
from tests.e2e.scrape import Scrape

PROGRAM = Path(sys.executable).with_name("netproc-exporter")
UNSHADOWED = ("sh", "-c", 'mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"', "sh")
PORT = 10187


class Asked(NamedTuple):
    """From where and at which address it is asked."""

    namespace: Namespace
    address: str = "127.0.0.1"

    def get(self, path: str, timeout: float = 10.0) -> str:
        return self.namespace.get(PORT, path, timeout, self.address)


class Exporter:
    """`netproc-exporter run` in a namespace. Standard error goes to a file, for the words of a failure."""

    def __init__(
        self,
        namespace: Namespace,
        folder: Path,
        *flags: str,
        asked: "Asked | None" = None,
        before: tuple[str, ...] = (),
    ) -> None:
        self.namespace = namespace
        self.asked = asked or Asked(namespace)
        self.log = folder / f"exporter-{namespace.name}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = namespace.start(
                *UNSHADOWED, *before, PROGRAM, "run", *flags, stdout=log, stderr=log
            )
        self.started = time.monotonic()
        wait_for("/-/ready answers", self.ready, 15, says=self.said)
        self.ready_after = time.monotonic() - self.started

    def ready(self) -> bool:
        """Tell whether it answers that it is ready; it must not have ended."""
        assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.said()}"
        with suppress(OSError, AssertionError):
            return bool(self.asked.get("/-/ready", 2))
        return False

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def scrape(self, base: Scrape | None = None, timeout: float = 10.0) -> Scrape:
        return Scrape(self.asked.get("/metrics", timeout), base)

    def settled(
        self, interface: str, base: Scrape | None = None, silence: float = 2.5
    ) -> tuple[dict[str, int], Scrape]:
        """Wait until the interface has been silent for a while and nothing is left to count.

        Gives the interface's own counters and a scrape of that moment.
        """

        def silent() -> tuple[dict[str, int], Scrape] | None:
            before, counted = self.namespace.statistics(interface), self.scrape().seen()
            time.sleep(silence)
            scrape = self.scrape(base)
            same = self.namespace.statistics(interface) == before and scrape.seen() == counted
            return (before, scrape) if same else None

        return wait_for(f"silence on {interface}", silent, 90)

    def family(self) -> list[psutil.Process]:
        """The supervisor and its children."""
        try:
            supervisor = psutil.Process(self.process.pid)
            return [supervisor, *supervisor.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def child(self, role: str) -> psutil.Process:
        """Find the child of a role: worker, identity or exporter."""

        def find() -> psutil.Process | None:
            for process in self.family()[1:]:
                with suppress(psutil.NoSuchProcess):
                    if f"exporter.app.{role}" in process.cmdline():
                        return process
            return None

        return wait_for(f"a child {role} among {[p.cmdline() for p in self.family()]}", find, 5)

    def memory(self) -> int:
        """Sum of the proportional set sizes of all our processes, in bytes."""
        total = 0
        for process in self.family():
            with suppress(OSError):
                rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
                total += 1024 * int(re.search(r"^Pss: +(\d+)", rollup, re.MULTILINE)[1])
        return total

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Stop it as a user does; give the seconds that all of it took."""
        family = self.family()
        began = time.monotonic()
        os.kill(self.process.pid, number)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            msg = f"does not end on signal {number}: {self.said()}"
            raise AssertionError(msg) from None
        _, alive = psutil.wait_procs(family, 5)
        assert not alive, f"left behind: {alive}"
        return time.monotonic() - began
