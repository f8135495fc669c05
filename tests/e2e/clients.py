"""Real clients, run to their end; all but dig make connections that live longer than 300 ms."""

import subprocess
from pathlib import Path

from tests.e2e.netns import Namespace

LONG = "0.6"


class Clients:
    """Clients in one namespace, of servers at some address."""

    def __init__(self, namespace: Namespace, address: str) -> None:
        self.namespace = namespace
        self.address = address
        self.literal = f"[{address}]" if ":" in address else address
        self.started: list[subprocess.Popen[bytes]] = []

    def _start(self, *command: str | Path) -> None:
        self.started.append(self.namespace.start(*command, stderr=subprocess.PIPE))

    def wait(self, timeout: float = 60) -> None:
        """All must end well."""
        for process in self.started:
            _, error = process.communicate(timeout=timeout)
            assert process.returncode == 0, f"{process.args}: {process.returncode} {error.decode()}"
        self.started.clear()

    def curl(self, scheme: str, port: int) -> None:
        """Two pages over one connection, one of them slowly."""
        url = f"{scheme}://{self.literal}:{port}"
        command = ("curl", "-skf", "--http1.1", "--noproxy", "*")
        self._start(*command, f"{url}/slow", f"{url}/page", "-o", "/dev/null", "-o", "/dev/null")

    def ssh(self, port: int, key: Path) -> None:
        options = (
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "IdentityAgent=none",
        )
        flags = [flag for option in options for flag in ("-o", option)]
        command = ("ssh", "-F", "none", "-i", key, "-p", str(port), *flags)
        self._start(*command, f"root@{self.address}", f"head -c 50000 /dev/zero; sleep {LONG}")

    def psql(self, port: int) -> None:
        query = f"select pg_sleep({LONG}), repeat('x', 30000)"
        self._start("psql", "-h", self.address, "-p", str(port), "-U", "postgres", "-Atc", query)

    def dig(self, port: int, *flags: str, name: str = "www.example.test") -> None:
        """Ask once. Its socket lives for a millisecond or two."""
        self._start("dig", f"@{self.address}", "-p", str(port), "+tries=1", "+time=3", *flags, name)

    def iperf3(self, port: int, *flags: str) -> None:
        self._start("iperf3", "-c", self.address, "-p", str(port), *flags)
