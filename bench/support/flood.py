"""UDP datagrams to nobody, from real sockets, as fast as they go or at a rate: `flood.c`, built when it is needed."""

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from bench.support.space import pin

__all__ = ["SIZE", "Flood", "Load", "sink"]

SOURCE = Path(__file__).with_name("flood.c")
NAME = "npb-flood"
"""What the exporter calls it; nobody else on the machine has this name."""
PAYLOAD = 64
SIZE = 20 + 8 + PAYLOAD
"""IP bytes of each datagram."""
TO = "198.18.0.1"


class Load(NamedTuple):
    """What to send."""

    packets: int
    rate: int = 0
    """A second; 0: at full speed."""
    sockets: int = 0
    """Connected ones; 0: one that is not."""
    tuples: int = 0
    """How many ends the one sends to; 0: as many as datagrams."""


def sink() -> None:
    """Make a pair of interfaces, and route the datagrams to a link address that nobody has."""
    for command in (
        "ip link add flood0 type veth peer name flood1",
        "ip address add 192.0.2.1/24 dev flood0",
        "ip link set flood0 up",
        "ip link set flood1 up",
        "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:99 dev flood0",
        "ip route add 198.18.0.0/15 via 192.0.2.9",
    ):
        subprocess.run(command.split(), check=True)


class Flood:
    """The program, kept for as long as it is used."""

    label = f'process="{NAME}"'

    def __init__(self) -> None:
        """Build it."""
        self._folder = tempfile.TemporaryDirectory()
        self._program = Path(self._folder.name) / NAME
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", self._program, SOURCE], check=True)

    def begin(self, load: Load, to: str = TO) -> "subprocess.Popen[str]":
        """Start to send."""
        numbers = (PAYLOAD, load.sockets, load.packets, load.rate, load.tuples)
        return subprocess.Popen(
            [self._program, to, *map(str, numbers)],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: pin(0),  # noqa: PLW1509 - no threads here
        )

    @staticmethod
    def end(process: "subprocess.Popen[str]") -> tuple[int, float]:
        """Wait until all is sent; give how many the kernel took, and a second."""
        said, _ = process.communicate(timeout=300)
        count, rate = said.split()
        return int(count), float(rate)

    def send(self, load: Load, to: str = TO) -> tuple[int, float]:
        return self.end(self.begin(load, to))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()
