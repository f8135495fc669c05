"""New connections between real ends, and what each costs all of the exporter's processes. Prints JSON.

The servers stand in the exporter's namespace, the clients behind a veth pair, and all of them on one core. Where the
kernel counts, both ends are counted: as two connections, one in each namespace, each at half of the cost.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench.support.exporter import SOCKETS, Exporter
from bench.support.far import HERE, Far
from bench.support.space import pin
from bench.support.tls import certificate

HTTP_RATE, MANY_RATE = 2000, 5000
NAME = "npb-http"
"""What the exporter calls the HTTP server and client; nobody else on the machine has this name."""
LABEL = f'process="{NAME}"'
TLS = (("tls13", 500, "443"), ("tls12", 500, "8443"), ("tls_seldom", 50, "9443"))
"""Name, rate and port. One by one, each connection wakes all processes for itself and finds cold caches."""
INTERFACE = "traffic1"
SOURCES = {"pcap": (INTERFACE, 1), "ebpf": (SOCKETS, 2)}
"""Where the exporter counts, and how many times it counts each connection."""
FLAGS = (
    *("--no-identity.namespaces",),  # the far end is on another machine, as far as we know
    *("--flow.timeouts.tombstone", "1", "--flow.sweep-interval", "1"),  # what an end costs falls into the run
)
AFTER = 4.0
"""Seconds until the last tombstone has weathered."""
BASELINE = 4.0
PATIENCE = 20.0
"""Seconds to wait for a worker that others keep from its core."""


class Load(NamedTuple):
    """A server and a client."""

    name: str
    serve: Sequence[str]
    get: Sequence[str]


def _idle(exporter: Exporter) -> dict[str, float]:
    """Give the processor time a second while nothing happens."""
    before, start = exporter.spent(), time.monotonic()
    time.sleep(BASELINE)
    after, took = exporter.spent(), time.monotonic() - start
    return {role: (spent - before[role]) / took for role, spent in after.items()}


def _opened(exporter: Exporter, before: Counter[str]) -> float:
    family = "netproc_connections_opened_total"
    return exporter.sums()[family] - before[family]


def _measure(
    exporter: Exporter, far: Far, load: Load, idle: dict[str, float], times: int
) -> dict[str, float]:
    server = subprocess.Popen(load.serve, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: pin(0))  # noqa: PLW1509
    try:
        assert server.stdout is not None
        server.stdout.readline()
        time.sleep(1)
        sums, own = exporter.sums(), exporter.sums(LABEL)
        before, start = exporter.spent(), time.monotonic()
        said = subprocess.run(
            far.command(*load.get), stdout=subprocess.PIPE, text=True, check=True, preexec_fn=lambda: pin(0)
        ).stdout
        done, failed, seconds = (float(word) for word in said.split())
        time.sleep(AFTER)
        with suppress(RuntimeError):  # the sums below say what is missing
            exporter.wait("all are counted", lambda: _opened(exporter, sums) >= times * done, PATIENCE)
        after, took = exporter.spent(), time.monotonic() - start
    finally:
        server.kill()
        server.wait()
    assert not failed, f"{load.name}: {failed:.0f} connections failed"
    gained, said_of = exporter.sums(), exporter.sums(LABEL)
    gained.subtract(sums)
    said_of.subtract(own)
    opened = gained["netproc_connections_opened_total"]
    assert opened >= times * done or gained["netproc_lost_packets_total"], (
        f"{opened:.0f} of {times * done:.0f} counted"
    )
    found = {role: (spent - before[role] - idle[role] * took) / done / times for role, spent in after.items()}
    print(
        f"    {load.name}: { {role: round(1e6 * cost) for role, cost in found.items()} } µs", file=sys.stderr
    )
    return {
        "us": 1e6 * sum(found.values()),
        **{f"{role}_us": 1e6 * cost for role, cost in found.items()},
        "rate": done / seconds,
        "lost": gained["netproc_lost_packets_total"],
        "missing": abs(times * done - said_of["netproc_connections_opened_total"])
        if NAME in load.get[0]
        else 0,
    }


def _loads(folder: str, seconds: int) -> list[Load]:
    program = str(Path(folder) / NAME)
    source = Path(__file__).with_name("http.c")
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)
    tls = (sys.executable, "-m", "bench.support.tls")
    pem = str(certificate(folder))

    def get(first: Sequence[str], port: str, rate: int) -> list[str]:
        return [*first, "get", HERE, port, str(rate), str(rate * seconds)]

    loads = [
        Load(name, (program, "serve", "80"), get((program,), "80", rate))
        for name, rate in (("http", HTTP_RATE), ("http_5000", MANY_RATE))
    ]
    for name, rate, port in TLS:
        serve = (*tls, "serve", port, "1.2" if name == "tls12" else "1.3", pem)
        loads.append(Load(name, serve, get(tls, port, rate)))
    return loads


def main() -> None:
    short, (where, times) = sys.argv[1] == "short", SOURCES[sys.argv[2]]
    far = Far(INTERFACE)
    with tempfile.TemporaryDirectory() as folder, Exporter(where, *FLAGS) as exporter:
        idle = _idle(exporter)
        loads = [load for load in _loads(folder, 4 if short else 15) if load.name in sys.argv[3:]]
        found = {load.name: _measure(exporter, far, load, idle, times) for load in loads}
        print(json.dumps(found))
    far.close()


if __name__ == "__main__":
    main()
