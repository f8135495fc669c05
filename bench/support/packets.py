"""Many connections to 10.9.0.1 as packets alone: `packets.c`, built when it is needed."""

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.support.space import pin, veth

__all__ = ["Packets", "interfaces"]

SOURCE = Path(__file__).with_name("packets.c")


def interfaces() -> str:
    """Make a pair `packets0` and `packets1`, and 10.9.0.1 ours; give the name of the end where packets arrive."""
    veth("packets0", "packets1")
    subprocess.run(["ip", "address", "add", "10.9.0.1/32", "dev", "lo"], check=True)
    return "packets1"


class Packets:
    """The program. The kernel does not answer what it sends: the frames are for nobody's link address."""

    def __init__(self) -> None:
        """Build and start it."""
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "packets"
            subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", program, SOURCE], check=True)
            self._process = subprocess.Popen(
                [program, "packets0"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: pin(0),  # noqa: PLW1509 - no threads here
            )
            self.send("flood", 0, 0)

    def send(self, what: str, count: int, rate: int) -> tuple[int, float]:
        """Send `http` connections or a `flood`; give the packets and the seconds that it took."""
        self.begin(what, count, rate)
        return self.end()

    def begin(self, what: str, count: int, rate: int) -> None:
        assert self._process.stdin is not None
        print(what, count, rate, file=self._process.stdin, flush=True)

    def end(self) -> tuple[int, float]:
        assert self._process.stdout is not None
        sent, seconds = self._process.stdout.readline().split()
        return int(sent), float(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
