"""What counting in the kernel costs with known connections, and whether all is counted. Prints JSON.

Datagrams leave from real sockets of this namespace for a link address that nobody has: each connection has one socket.
The exporter counts the whole machine meanwhile, so that what else moves on it is in its costs, and never in the sums.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterable

from bench.support.exporter import SOCKETS, Exporter
from bench.support.flood import SIZE, Flood, Load, sink
from exporter.ebpf import libbpf

KNOWN, MANY = (1_000, 10_000), 100_000
"""Connections that move; MANY of them in the full form only."""
RATE = 120_000
ENDLESS = 1 << 40
OFTEN = 100_000
WARM, EACH = 4.0, 0.0005
"""Seconds until all connections are known, and none has packets left that inspection may see: in all, and for each."""
PATIENCE = 60.0
STEP = 0.2
"""Seconds between two looks at the page."""
ROOM = ("--ebpf.flows", "262144", "--ebpf.budgets", "262144", "--flow.limit", "262144")
SUMS = {
    "full_speed": ((), Load(4_000_000, 0, 1000)),
    "20ms_ticks": (("--flow.publish-interval", "0.02"), Load(4_000_000, 0, 1000)),
    "1000000_tuples": ((), Load(1_000_000)),
}
"""Flags of the exporter, and what is sent: known connections, or each datagram to another end."""
Figures = dict[str, float]


def _percent(exporter: Exporter, seconds: float) -> Figures:
    before, start = exporter.spent(), time.monotonic()
    time.sleep(seconds)
    after, took = exporter.spent(), time.monotonic() - start
    return {role: 100 * (spent - before[role]) / took for role, spent in after.items()}


def _settled(exporter: Exporter, flood: Flood, sent: int) -> Figures:
    """Wait until all that was sent is counted, or nothing is added any more: how late is the page?"""
    over = time.monotonic()
    while True:
        counted = exporter.sums(flood.label)["netproc_transmit_bytes_total"] / SIZE
        late = time.monotonic() - over
        if counted >= sent or late > PATIENCE:
            lost = exporter.sums()["netproc_lost_packets_total"]
            return {"sent": sent, "counted": counted, "lost": lost, "late": late}
        time.sleep(STEP)


def _moving(exporter: Exporter, flood: Flood, load: Load, form: tuple[float, float]) -> Figures:
    """Give the percent of a core that it takes all processes while this moves, for some seconds after warming up."""
    warm, seconds = form
    moving = flood.begin(load)
    time.sleep(warm)
    shares = _percent(exporter, seconds)
    moving.terminate()
    moving.communicate()
    there = exporter.sums()["netproc_table_connections"]
    if there < (load.sockets or load.tuples):
        raise RuntimeError(f"{load} and {there:.0f} in the table")
    print(f"    {load}: { {role: round(share, 2) for role, share in shares.items()} } %", file=sys.stderr)
    return {"all": sum(shares.values()), "worker": shares["worker"]}


def _known(flood: Flood, count: int, short: bool) -> Figures:
    """Let so many connections move, at full speed and at a rate."""
    found: Figures = {}
    sockets, tuples = (count, 0) if count < MANY else (0, count)
    form = (WARM + EACH * count, 5 if short else 15)
    with Exporter(SOCKETS, *(ROOM if count >= MANY else ())) as exporter:
        time.sleep(2)
        for name, rate in (("full_speed", 0), ("120kpps", RATE))[: 1 if short else 2]:
            load = Load(ENDLESS, rate, sockets, tuples)
            shares = _moving(exporter, flood, load, form)
            found |= {f"{name}_{who}": share for who, share in shares.items()}
        found["lost"] = exporter.sums()["netproc_lost_packets_total"]
    return found


def _gained(exporter: Exporter, seconds: float) -> list[float]:
    """Give nanoseconds a run of each program that ran often."""
    before = exporter.programs()
    time.sleep(seconds)
    after = exporter.programs()
    found = [(count - before[one][0], spent - before[one][1]) for one, (count, spent) in after.items()]
    return [spent / count for count, spent in found if count > OFTEN]


def _kernel(flood: Flood, counts: Iterable[int], seconds: float) -> dict[str, list[float]]:
    """Let the kernel measure what a packet of a known connection costs: one that leaves, one that arrives."""
    found: dict[str, list[float]] = {}
    statistics = libbpf.keep_statistics()
    try:
        with Exporter(SOCKETS) as exporter:
            for sockets in counts:
                ends = [_end(20_000 + number) for number in range(sockets)]
                moving = flood.begin(Load(ENDLESS, 0, sockets), "127.0.0.1")
                time.sleep(WARM + EACH * sockets)
                found[str(sockets)] = _gained(exporter, seconds)
                moving.terminate()
                moving.communicate()
                for end in ends:
                    end.close()
    finally:
        os.close(statistics)
    return found


def _end(port: int) -> socket.socket:
    """Make a socket at which packets arrive; what it has no room for is counted all the same."""
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    end.bind(("127.0.0.1", port))
    return end


def _sums(flood: Flood) -> dict[str, Figures]:
    found: dict[str, Figures] = {}
    for name, (flags, load) in SUMS.items():
        with Exporter(SOCKETS, *flags) as exporter:
            time.sleep(2)
            sent, rate = flood.send(load)
            found[name] = _settled(exporter, flood, sent) | {"rate": rate}
            print(f"    {name}: {found[name]}", file=sys.stderr)
    return found


def main() -> None:
    short = sys.argv[1] == "short"
    sink()
    with Flood() as flood:
        kernel = _kernel(flood, (1,) if short else (1, 10_000), 2 if short else 5)
        counts = KNOWN if short else (*KNOWN, MANY)
        known = {str(count): _known(flood, count, short) for count in counts}
        print(json.dumps({"kernel": kernel, "known": known, "sums": _sums(flood)}))


if __name__ == "__main__":
    main()
