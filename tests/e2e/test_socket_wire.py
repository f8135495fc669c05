"""Counted in the kernel as on the wire: whether or not large packets are cut on the way, the numbers are the same."""

from itertools import product

import pytest

from tests.e2e.conftest import Start
from tests.e2e.containers import Container, still
from tests.e2e.netns import Namespace, Pair, wait_for
from tests.e2e.scrape import ETHERNET

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.bpf]

FEATURES = ("tso", "gso", "gro")
ALL = list(product(("off", "on"), repeat=len(FEATURES)))
PORT = 9000
MTU = 1500
AMOUNT = 64_000_000
NEAR_ENOUGH = 0.001
HEADERS = {Pair.here4: 52, Pair.here6: 72}
"""IP and TCP with time stamps."""
ALONG = {"receive": 0, "transmit": 1}
"""In which of the cells, here and there, the stream is received and transmitted."""


def segments(namespace: Namespace) -> tuple[int, int]:
    """Segments that TCP has sent, as on the wire, and those sent again (RFC 4022), by the kernel's own count."""
    head, values = (
        line.split()
        for line in namespace.run("cat", "/proc/net/snmp").stdout.splitlines()
        if line.startswith("Tcp:")
    )
    count = dict(zip(head, values, strict=True))
    return int(count["OutSegs"]), int(count["RetransSegs"])


def test_offloads_change_no_number(
    *,
    pair: Pair,
    cells: list[Container],
    of_sockets: Start,
    short: bool,
) -> None:
    here, there = cells
    for version, address in (("-4", Pair.here4), ("-6", Pair.here6)):
        here.start("nc", version, "-dlk", str(PORT))
        wait_for("nc listens", lambda address=address: here.connects(address, PORT))
    exporter = of_sockets(pair.here, "--capture.count-as", "wire")
    ends = [(pair.here, pair.interface), (pair.there, pair.interface)]
    for states in [ALL[0], ALL[-1]] if short else ALL:
        for namespace, interface in ends:
            flags = [word for pair_ in zip(FEATURES, states, strict=True) for word in pair_]
            namespace.run("ethtool", "-K", interface, *flags)
        before, base = still(exporter, ends)
        truth = 0
        for address, headers in HEADERS.items():
            earlier = segments(pair.there)
            there.run("sh", "-c", f"head -c {AMOUNT} /dev/zero | nc -N {address} {PORT}")
            sent, again = (now - was for now, was in zip(segments(pair.there), earlier, strict=True))
            truth += AMOUNT + sent * headers + again * MTU
        after, scrape = still(exporter, ends, base)
        counted = [
            scrape.sum(f"netproc_{way}_bytes_total", process="nc.openbsd", container=cells[at].label)
            for way, at in ALONG.items()
        ]
        wire = [
            now["rx_bytes"] - was["rx_bytes"] - ETHERNET * (now["rx_packets"] - was["rx_packets"])
            for was, now in zip(before, after, strict=True)
        ]
        print(
            dict(zip(FEATURES, states, strict=True)),
            "received, transmitted:",
            counted,
            "interfaces:",
            wire,
            "segments say:",
            truth,
        )
        assert counted == pytest.approx([truth] * 2, rel=NEAR_ENOUGH)
        if "on" not in states:  # then the interface sees what the wire would
            assert counted[0] == pytest.approx(wire[0], rel=NEAR_ENOUGH)
