"""Series of a typical node: a ledger is filled through the engine's accounts from the mix below, and rendered."""

import mmap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, cycle

from bench.support.value import Value
from exporter import metrics
from exporter.config import Config
from exporter.engine.accounts import Accounts
from exporter.export.names import ShortNames
from exporter.export.negotiate import Wish
from exporter.export.prometheus import Renderer
from exporter.flow.connection import Connection, View
from exporter.ledger import Ledger
from exporter.model import IdentityKey

__all__ = ["fill", "identities", "run"]

BUDGET = 10_000

MIX = ((240, 1), (50, 3), (10, 8))
"""So many identities speak so many protocols."""
PODS = 100
"""In which these are (DESIGN section 5: 100 pods, 300 processes): histograms go by pod, not by process. Without
Kubernetes they go by the process' name, so that 100 names stand for it; 300 different names are counted too."""
PROTOCOLS = ("tls", "http", "dns", "postgresql", "redis", "ssh", "mysql", "unknown")
"""In this order. An identity with one protocol speaks one of the first three, in turn."""
ONE = 3
STATES = ("established", "time_wait")
REASONS = ("fin", "timeout")
OPERATIONS, STATUSES = ("GET", "POST", "PUT"), ("2xx", "4xx")
"""Of an HTTP identity; 4xx is an error."""
VERSIONS = {"tls": "1.3", "http": "1.1"}
FAR = {1: ("10.0.0.2",), 3: ("10.0.0.2", "192.0.2.1"), 8: ("10.0.0.2", "192.0.2.1")}
"""Other ends by number of protocols: private, and the Internet for who speaks several."""
LOCAL = bytes((10, 0, 0, 1))


def identities(names: int = PODS) -> Iterator[tuple[IdentityKey, tuple[str, ...]]]:
    """Give the mix: who, and his protocols. So many different process names; each has a container of its own."""
    turn = cycle(PROTOCOLS[:ONE])
    number = count()
    for many, protocols in MIX:
        for _ in range(many):
            at = next(number)
            who = IdentityKey(f"process-{at % names}", f"{at:012x}{0:052x}")
            yield who, (next(turn),) if protocols == 1 else PROTOCOLS[:protocols]


def _view(who: IdentityKey, protocol: str, far: str) -> tuple[View, Connection]:
    remote = bytes(map(int, far.split(".")))
    transport = "udp" if protocol == "dns" else "tcp"
    conn = Connection(0, transport, LOCAL + remote + b"\x9c\x40\x00\x50", 0.0)
    conn.protocol = "" if protocol == "unknown" else protocol
    conn.initiator = 0
    view = View(0)
    view.identity = who
    conn.views = (view,)
    return view, conn


def _requests(accounts: Accounts, view: View, protocol: str) -> None:
    for operation in OPERATIONS:
        for status in STATUSES:
            accounts.outcome(view, (protocol, operation, status), (0, status == "4xx", 0.0123))


def _speak(accounts: Accounts, who: IdentityKey, protocol: str, far: str) -> None:
    """Count what connections of one protocol to one other end bring, from their beginning to their end."""
    view, conn = _view(who, protocol, far)
    view.rows = accounts.flow(view, conn)
    view.peer = accounts.peer(view, conn)
    accounts.opened(view, conn)
    for state in STATES if conn.transport == "tcp" else ("active",):
        view.state = state
        accounts.show(view, conn)
    accounts.add(view, (7, 700), (9, 9_000))
    for reason in REASONS if conn.transport == "tcp" else ("timeout",):
        conn.reason = reason
        accounts.closed(view, conn)
    if conn.transport == "tcp":
        accounts.handshake(view, "tcp", 0.0123)
        accounts.retransmitted(view)
    if protocol == "tls":
        accounts.handshake(view, "tls", 0.0345)
    if protocol == "http":
        _requests(accounts, view, protocol)
    if protocol in VERSIONS:
        accounts.version(view, protocol, VERSIONS[protocol])


def fill(accounts: Accounts, who: IdentityKey, protocols: Sequence[str]) -> None:
    """Count what one of them does."""
    for protocol in protocols:
        for far in FAR[len(protocols)]:
            _speak(accounts, who, protocol, far)


def run(short: bool) -> dict[str, Value]:
    return {
        "series_typical_node": Value(_count(PODS), "series", BUDGET),
        "series_300_names": Value(_count(300), "series"),
    }


def _count(names: int) -> int:
    config = Config()
    ledger = Ledger(config.metrics, now=1.0)
    accounts = Accounts(ledger, packets=config.metrics.packets, servers=None)
    for who, protocols in identities(names):
        fill(accounts, who, protocols)
    ledger.rates(1.0)
    buffers = [memoryview(mmap.mmap(-1, 64 << 20)) for _ in range(2)]
    assert ledger.publish(buffers[0])
    text = Renderer(config, buffers, ShortNames()).render(Wish()).decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    overflow = sum(ledger.values[r.slot] for r in ledger.rows.values() if r.key[0] is metrics.SERIES_OVERFLOW)
    assert not overflow, f"{overflow} label sets went to `other`"
    for family, number in Counter(_family(line) for line in lines).most_common(4):
        print(f"    {family}: {number}")
    return len(lines)


def _family(line: str) -> str:
    name = line.partition("{")[0].partition(" ")[0]
    for suffix in ("_bucket", "_count", "_sum"):
        name = name.removesuffix(suffix)
    return name
