"""Memory of all of the exporter's processes (PSS) with open HTTP connections, and after a flood. Prints JSON."""

import json
import sys
import time

from bench.support.exporter import Exporter
from bench.support.packets import Packets, interfaces
from bench.support.pss import measure

COUNTS = (10_000, 100_000)
RATE = 5_000
FLOOD = 1_000_000
FLAGS = (
    *("--no-identity.namespaces", "--identity.interval", "0.5"),  # who does not exist is asked for five times
    *("--flow.timeouts.udp", "5", "--flow.sweep-interval", "2"),
)
SPARE = ("--flow.limit", "100100")
"""The pair's own IGMP and the like are connections too."""


QUIET = 3
"""Seconds without a new connection: what was sent is read. And after the last answer: what is given back is given."""


def _settled(exporter: Exporter, least: int) -> int:
    """Wait until all that was sent and not lost is in the table and no owner is asked for; give the connections."""
    seen, since = -1.0, 0.0

    def settled() -> bool:
        nonlocal seen, since
        sums, now = exporter.sums(), time.monotonic()
        if sums["netproc_table_connections"] != seen:
            seen, since = sums["netproc_table_connections"], now
        lost = sums["netproc_lost_packets_total"]  # a lost packet costs a connection at most
        return now - since >= QUIET and seen + lost >= least and not sums["netproc_identity_pending"]

    exporter.wait(f"{least} connections or lost packets, and no owner asked for", settled, 120)
    time.sleep(QUIET)
    return int(seen)


def _told(exporter: Exporter, when: str) -> int:
    """Give the bytes of all processes, and print each one's share."""
    own, bpf = measure(exporter.pids())
    print(f"    {when}: {exporter.shares()}, BPF maps apart: {bpf / (1 << 20):.1f}", file=sys.stderr)
    return own


def _connections(interface: str) -> dict[str, int]:
    found = {}
    with Exporter(interface, *FLAGS, *SPARE) as exporter, Packets() as packets:
        time.sleep(3)
        found["0"] = _told(exporter, "at the start")
        for count in COUNTS:
            packets.send("http", count, RATE)  # those that are there get their packets again
            found["open"] = _settled(exporter, count)
            found[str(count)] = _told(exporter, f"{found['open']} connections")
        found["bpf"] = measure(exporter.pids())[1]
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
            most = max(most, measure(exporter.pids())[0])
            time.sleep(0.2)
        packets.end()
        exporter.wait("an empty table", lambda: exporter.sums()["netproc_table_connections"] < 10, 120)
        _settled(exporter, 0)
        return {"most": most, "after": _told(exporter, "after")}


def main() -> None:
    interface = interfaces()
    print(json.dumps(_connections(interface) | _flood(interface)))


if __name__ == "__main__":
    main()
