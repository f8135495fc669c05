"""Memory of all of the exporter's processes (PSS) with open HTTP connections, and after a flood. Prints JSON."""

import json
import sys
import time

from bench.support.exporter import Exporter
from bench.support.packets import Packets, interfaces

COUNTS = (10_000, 100_000)
RATE = 5_000
FLOOD = 1_000_000
FLAGS = (
    *("--no-identity.namespaces", "--identity.interval", "0.5"),  # who does not exist is asked for five times
    *("--flow.timeouts.udp", "5", "--flow.sweep-interval", "2"),
)
SPARE = ("--flow.limit", "100100")
"""The pair's own IGMP and the like are connections too."""


def _settled(exporter: Exporter, least: int) -> None:
    def settled() -> bool:
        sums = exporter.sums()
        return sums["netproc_table_connections"] >= least and not sums["netproc_identity_pending"]

    exporter.wait(f"{least} connections, and no owner asked for", settled, 120)
    time.sleep(3)


def _connections(interface: str) -> dict[str, int]:
    found = {}
    with Exporter(interface, *FLAGS, *SPARE) as exporter, Packets() as packets:
        time.sleep(3)
        found["0"] = exporter.memory()
        for count in COUNTS:
            packets.send("http", count, RATE)  # those that are there get their packets again
            _settled(exporter, count)
            found[str(count)] = exporter.memory()
            print(f"    {count}: {exporter.shares()}", file=sys.stderr)
        lost = exporter.sums()["netproc_lost_packets_total"]
        if lost:
            print(f"    {lost:.0f} packets were lost", file=sys.stderr)
    return found


def _flood(interface: str) -> dict[str, int]:
    with Exporter(interface, *FLAGS) as exporter, Packets() as packets:
        time.sleep(3)
        packets.begin("flood", FLOOD, 0)
        most, until = 0, time.monotonic() + 5
        while time.monotonic() < until:
            most = max(most, exporter.memory())
            time.sleep(0.2)
        packets.end()
        exporter.wait("an empty table", lambda: exporter.sums()["netproc_table_connections"] < 10, 120)
        _settled(exporter, 0)
        print(f"    after: {exporter.shares()}", file=sys.stderr)
        return {"most": most, "after": exporter.memory()}


def main() -> None:
    interface = interfaces()
    print(json.dumps(_connections(interface) | _flood(interface)))


if __name__ == "__main__":
    main()
