"""The real exporter inside of a benchmark's namespaces, what its processes cost, and what it says."""

import http.client
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["SOCKETS", "Exporter"]

PROGRAM = Path(sys.executable).with_name("netproc-exporter")
PORT = 10187
SOCKETS = "sockets"
"""Instead of an interface: the kernel counts, and packets are not captured."""
CGROUP_SKB = 8
"""Type of the programs that count packets."""
SAMPLE = re.compile(r"^(\w+?)(?:_bucket|_sum)?(?:\{.*\})? (\S+)$", re.MULTILINE)
NUMBER = re.compile(r"^(\w+):\s*(\d+)$", re.MULTILINE)


class Exporter:
    """`netproc-exporter run`, with its children."""

    def __init__(self, interface: str, *flags: str) -> None:
        """Start it on an interface, or where the kernel counts (`SOCKETS`), and wait until it counts."""
        command = [str(PROGRAM), "run", "--web.listen-address", f"127.0.0.1:{PORT}", "--log.level", "error"]
        source = ("ebpf",) if interface == SOCKETS else ("pcap", "--capture.interface", interface)
        self._process = subprocess.Popen([*command, "--capture.source", *source, *flags], stdout=sys.stderr)
        self.wait("/-/ready answers", self._ready)

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"the exporter ended with {self._process.returncode}")
        with suppress(OSError):
            return self._get("/-/ready")[0] == http.client.OK
        return False

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    @staticmethod
    def wait(what: str, condition: Callable[[], object], timeout: float = 60) -> None:
        """Wait until a function of no arguments gives something true."""
        until = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > until:
                raise RuntimeError(f"not within {timeout:g} s: {what}")
            time.sleep(0.2)

    def pids(self) -> list[int]:
        """The supervisor and its children."""
        supervisor = self._process.pid
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        return [supervisor, *map(int, children)]

    def spent(self) -> dict[str, float]:
        """Give seconds of processor time until now by process: of all its threads, in user mode and the kernel."""
        return {_role(pid): _spent(pid) for pid in self.pids()}

    def memory(self) -> int:
        """Sum the proportional set sizes of all processes, in bytes."""
        return sum(map(_pss, self.pids()))

    def shares(self) -> dict[str, float]:
        """Give the MiB of each process."""
        return {_role(pid): round(_pss(pid) / (1 << 20), 1) for pid in self.pids()}

    def sums(self, label: str = "") -> Counter[str]:
        """Scrape; give the sum of each family's values, of all samples or of those with a label (`process="x"`)."""
        found: Counter[str] = Counter()
        text = self._get("/metrics")[1]
        for name, value in SAMPLE.findall("\n".join(line for line in text.splitlines() if label in line)):
            found[name] += float(value)  # type: ignore[assignment]  # a Counter of what floats hold
        return found

    def programs(self) -> dict[int, tuple[int, int]]:
        """Give runs and nanoseconds of each program that counts packets, as far as the kernel keeps statistics."""
        return {
            said["prog_id"]: (said["run_cnt"], said["run_time_ns"])
            for said in self._descriptors()
            if said.get("prog_type") == CGROUP_SKB
        }

    def maps(self) -> int:
        """Give the bytes of memory that all maps and rings take in the kernel."""
        return sum(
            {said["map_id"]: said["memlock"] for said in self._descriptors() if "map_id" in said}.values()
        )

    def _descriptors(self) -> list[dict[str, int]]:
        """Read what the kernel says of the supervisor's descriptors; it alone keeps programs and maps."""
        found = []
        for path in Path(f"/proc/{self._process.pid}/fdinfo").iterdir():
            with suppress(FileNotFoundError):
                found.append({name: int(number) for name, number in NUMBER.findall(path.read_text())})
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)


def _role(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return next((word.rpartition(".")[2] for word in words if word.startswith("exporter.app.")), "supervisor")


def _pss(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def _spent(pid: int) -> float:
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9
