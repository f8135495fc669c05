"""Network namespaces of a test's own, joined by a veth pair; always taken away again."""

import ctypes
import http.client
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
SERIAL = count()
QUIET = ("disable_ipv6=0", "accept_dad=0", "accept_ra=0", "router_solicitations=0", "autoconf=0")


def wait_for(
    what: str,
    condition: Callable[[], Any],
    timeout: float = 10.0,
    *,
    every: float = 0.05,
    says: Callable[[], str] = str,
) -> Any:
    """Wait until the condition gives something true, and give that; `says` has more words for a failure."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {timeout:g} s: {what}\n{says()}"
        time.sleep(every)
    return found


class Namespace:
    """A network namespace, and the processes that the test started in it."""

    def __init__(self, label: str) -> None:
        self.name = f"npe{os.getpid()}-{next(SERIAL)}{label}"
        self.processes: list[subprocess.Popen[bytes]] = []
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.run("ip", "link", "set", "lo", "up")
        for setting in ("all", "default"):
            self.sysctl(setting)

    def sysctl(self, interface: str) -> None:
        """No packet but those of the test: no address detection, no router discovery."""
        for item in QUIET:
            self.run("sysctl", "-qw", f"net.ipv6.conf.{interface}.{item}")

    def command(self, *command: str | Path) -> list[str]:
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def run(
        self, *command: str | Path, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        options = {"capture_output": True, "text": True, "timeout": 120, **options}
        done = subprocess.run(self.command(*command), check=False, **options)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def start(self, *command: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        """Start a process that ends with the namespace at the latest."""
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            **options,
        }
        process = subprocess.Popen(self.command(*command), **options)
        self.processes.append(process)
        return process

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in this namespace: sockets made now belong to it for good."""
        with Path("/proc/self/ns/net").open() as home, Path(f"/run/netns/{self.name}").open() as there:
            assert LIBC.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert LIBC.setns(home.fileno(), CLONE_NEWNET) == 0

    def connects(self, address: str, port: int) -> bool:
        """Tell whether somebody listens there."""
        with suppress(OSError), self.entered(), socket.create_connection((address, port), 1):
            return True
        return False

    def get(self, port: int, path: str, timeout: float = 10.0, address: str = "127.0.0.1") -> str:
        """Ask an HTTP server from this namespace."""
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
        with self.entered():
            connection.connect()
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            body = reply.read().decode()
        finally:
            connection.close()
        assert reply.status == http.client.OK, f"{path}: {reply.status} {body[:200]}"
        return body

    def statistics(self, interface: str) -> dict[str, int]:
        """Read the kernel's own counters of an interface."""
        said = self.run("cat", "/proc/net/dev").stdout
        row = re.search(rf"^ *{interface}:(.*)$", said, re.MULTILINE)
        assert row, said
        n = [int(x) for x in row[1].split()]
        return {
            "bytes": n[0] + n[8],
            "packets": n[1] + n[9],
            "rx_packets": n[1],
            "rx_bytes": n[0],
            "dropped": n[2] + n[3] + n[10] + n[11],
        }

    def close(self) -> None:
        """End what runs in here, then take the namespace away."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(3)
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            process.wait(10)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        subprocess.run(["ip", "netns", "del", self.name], check=True)

    def pids(self) -> list[int]:
        """All processes in this namespace; nobody but the test can have started them."""
        said = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True)
        return [int(pid) for pid in said.stdout.split()]


class Pair:
    """Two namespaces joined by a veth pair: `here`, where the exporter runs, and `there`, its peer."""

    interface = "veth0"
    here4, there4 = "192.0.2.1", "192.0.2.2"
    here6, there6 = "2001:db8:1::1", "2001:db8:1::2"

    def __init__(self) -> None:
        self.here = Namespace("a")
        try:
            self.there = Namespace("b")
        except BaseException:
            self.here.close()
            raise
        try:
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self) -> None:
        ends = ((self.here, self.here4, self.here6), (self.there, self.there4, self.there6))
        self.here.run(
            *("ip", "link", "add", self.interface, "type", "veth", "peer", "name", self.interface),
            *("netns", self.there.name),
        )
        for namespace, v4, v6 in ends:
            namespace.sysctl(self.interface)
            namespace.run("ip", "address", "add", f"{v4}/24", "dev", self.interface)
            namespace.run("ip", "address", "add", f"{v6}/64", "dev", self.interface, "nodad")
            namespace.run("ip", "link", "set", self.interface, "up")
        self._learn_neighbours(ends)

    def _learn_neighbours(self, ends: tuple[tuple[Namespace, str, str], ...]) -> None:
        """IPv6 neighbours for good, so that silence stays silent; IPv4's by ARP, which must be accounted for too."""
        for (namespace, _, _), (other, _, v6) in zip(ends, reversed(ends), strict=True):
            mac = self.mac(other)
            namespace.run(
                "ip", "-6", "neigh", "replace", v6, "lladdr", mac, "dev", self.interface, "nud", "permanent"
            )

    def mac(self, namespace: Namespace) -> str:
        """Read the link address of an end."""
        return namespace.run("cat", f"/sys/class/net/{self.interface}/address").stdout.strip()

    def addresses(self) -> set[str]:
        """Read the near end's addresses, its link-local one too."""
        said = self.here.run("ip", "-o", "address", "show", "dev", self.interface).stdout
        return {line.split()[3].split("/")[0] for line in said.splitlines()}

    def close(self) -> None:
        try:
            self.there.close()
        finally:
            self.here.close()
