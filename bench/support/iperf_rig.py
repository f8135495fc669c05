"""Throughput through a veth pair with and without the exporter, in turn. Prints JSON: a list of [without, with].

Each pair is of two runs one after the other, and each number the median of a run's tenths of a second, in bits a
second. Both ends are this machine's, and both are counted.
"""

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from statistics import median

from bench.support.exporter import SOCKETS, Exporter
from bench.support.far import HERE, Far

PORT = "5201"


def _throughput(far: Far, seconds: int) -> list[float]:
    server = subprocess.Popen(["iperf3", "-s", "-1", "-A", "1", "-p", PORT], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        command = far.command(
            "iperf3", "-J", "-A", "0", "-c", HERE, "-p", PORT, "-O", "1", "-i", "0.1", "-t", str(seconds)
        )
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    finally:
        server.kill()
        server.wait()
    parts = [part["sum"] for part in json.loads(said)["intervals"]]
    return [float(part["bits_per_second"]) for part in parts if not part["omitted"]]


def _run(far: Far, seconds: int, *, counted: bool) -> list[float]:
    with ExitStack() as stack:
        if counted:
            stack.enter_context(Exporter(SOCKETS))
            time.sleep(2)  # what it does at its start is over
        return _throughput(far, seconds)


def main() -> None:
    short = sys.argv[1] == "short"
    rounds, seconds = (5, 2) if short else (15, 3)
    far = Far("iperf0")
    found = [[0.0, 0.0] for _ in range(rounds)]
    try:
        _throughput(far, 1)
        for number in range(rounds):
            order = (False, True) if number % 2 else (True, False)  # so that a drift disturbs both alike
            for counted in order:
                rate = found[number][counted] = median(_run(far, seconds, counted=counted))
                print(f"    {rate / 1e9:.2f} Gbit/s {'counted' if counted else ''}", file=sys.stderr)
    finally:
        far.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
