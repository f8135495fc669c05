"""Open connections with nothing moving, held by pairs of processes on loopback addresses.

python -m bench.support.sockets serve ADDRESS COUNT
python -m bench.support.sockets connect ADDRESS COUNT RATE

Each says "ready" when it has them all, and holds them until its standard input ends.
"""

import resource
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

__all__ = ["Held"]

PORT = 8000
MOST = 14_000
"""Descriptors of a process; the hard limit may be 20,000."""
RATE = 4_000


class Held:
    """So many connections, all closed at the end."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        self.count = 0

    def grow(self, count: int) -> None:
        """Open connections until there are so many."""
        while self.count < count:
            part = min(MOST, count - self.count)
            address = f"127.0.1.{len(self._processes) + 1}"
            server = self._start("serve", address, str(part))
            assert server.stdout is not None
            server.stdout.readline()
            client = self._start("connect", address, str(part), str(RATE))
            for process in (client, server):
                assert process.stdout is not None
                if process.stdout.readline() != "ready\n":
                    raise RuntimeError("a process that holds connections has ended")
            self.count += part

    def _start(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "bench.support.sockets", *words]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def _serve(address: str, count: str) -> None:
    with socket.create_server((address, PORT), backlog=4096) as listener:
        print("listening", flush=True)
        ends = [listener.accept()[0] for _ in range(int(count))]
        _hold(ends)


def _connect(address: str, count: str, rate: str) -> None:
    start = time.monotonic()
    ends = []
    for number in range(int(count)):
        time.sleep(max(0.0, start + number / int(rate) - time.monotonic()))
        ends.append(socket.create_connection((address, PORT), 10))
    _hold(ends)


def _hold(ends: list[socket.socket]) -> None:
    print("ready", flush=True)
    sys.stdin.read()
    for end in ends:
        end.close()


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.argv[1] == "serve":
        _serve(*sys.argv[2:])
    else:
        _connect(*sys.argv[2:])
