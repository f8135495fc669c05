"""Packets by the hundred thousand, from the peer to the exporter's end."""

import subprocess
from pathlib import Path

from tests.e2e.netns import Pair

SOURCE = Path(__file__).with_name("packets.c")
IP_BYTES = 20 + 8 + 18
"""Of each packet."""


class Generator:
    """Sends from the far end of a pair. `folder` takes the program."""

    def __init__(self, pair: Pair, folder: Path) -> None:
        self.pair = pair
        self.program = folder / "packets"
        if not self.program.exists():
            subprocess.run(
                ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", self.program, SOURCE], check=True
            )

    def start(self, tuples: int, count: int, rate: int = 0) -> "subprocess.Popen[bytes]":
        """Begin to send `count` packets of so many different connections, `rate` a second (0: at full speed)."""
        arguments = (self.pair.interface, self.pair.mac(self.pair.here), self.pair.here4, tuples, count, rate)
        return self.pair.there.start(self.program, *map(str, arguments), stdout=subprocess.PIPE)

    @staticmethod
    def finish(process: "subprocess.Popen[bytes]", timeout: float = 120) -> int:
        """Wait for the end; give how many were sent."""
        said, _ = process.communicate(timeout=timeout)
        assert process.returncode == 0
        return int(said)

    def send(self, tuples: int, count: int, rate: int = 0) -> int:
        return self.finish(self.start(tuples, count, rate))
