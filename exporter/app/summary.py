"""What `replay` prints for people: protocols, connections, states, and who talked most."""

from collections import Counter
from ipaddress import ip_address

from exporter import metrics as m
from exporter.flow.connection import Connection
from exporter.ledger import Ledger
from exporter.model import Message

__all__ = ["Summary"]

MOST = 10
UNITS = ("B", "kB", "MB", "GB", "TB")
STEP = 1000.0


def size(count: float) -> str:
    """Write bytes for people."""
    for unit in UNITS[:-1]:
        if count < STEP:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= STEP
    return f"{count:.1f} {UNITS[-1]}"


class Summary:
    """Counts connections and messages as they come."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._connections: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._states: Counter[str] = Counter()
        self._peers: Counter[str] = Counter()
        self._said: Counter[str] = Counter()
        self._packets = 0
        self._span = [float("inf"), float("-inf")]

    def message(self, conn: Connection, now: float, side: int, message: Message) -> None:  # noqa: ARG002
        """Count a request or response by its protocol, operation and status."""
        if message.kind != "notice":
            self._said[f"{conn.protocol} {message.kind} {message.op or message.status}"] += 1

    def ended(self, conn: Connection, now: float) -> None:  # noqa: ARG002 - the sink's interface
        """Count a connection."""
        protocol = f"{conn.transport} {conn.protocol or 'unknown'}"
        moved = conn.totals[1] + conn.totals[3]
        self._connections[protocol] += 1
        self._states[f"{conn.transport} {conn.views[0].state}"] += 1
        if not conn.tunnel:
            self._bytes[protocol] += moved
            self._packets += conn.totals[0] + conn.totals[2]
            self._peers[f"{_end(conn.end(0)[0])} > {_end(*conn.end(1))}"] += moved
        self._span = [min(self._span[0], conn.created), max(self._span[1], conn.last)]

    def text(self, ledger: Ledger) -> str:
        """Write it all down."""
        seconds = max(0.0, self._span[1] - self._span[0]) if self._connections else 0.0
        moved = sum(self._bytes.values())
        lines = [
            f"{self._packets:,} packets, {size(moved)} of IP, {seconds:.1f} s",
        ]
        lines += _table(
            "protocols", [(p, f"{n:,}", size(self._bytes[p])) for p, n in self._connections.most_common()]
        )
        lines += _table("states", [(s, f"{n:,}", "") for s, n in self._states.most_common()])
        lines += _table("most bytes", [(p, "", size(n)) for p, n in self._peers.most_common(MOST)])
        lines += _table(
            "requests and responses", [(s, f"{n:,}", "") for s, n in self._said.most_common(MOST)]
        )
        ignored = [
            (row.key[2][1], ledger.values[row.slot])
            for row in ledger.rows.values()
            if row.key[0] is m.IGNORED_PACKETS
        ]
        lines += _table("not counted", [(why, f"{n:,.0f}", "") for why, n in ignored if n])
        return "\n".join(lines) + "\n"


def _table(title: str, rows: list[tuple[str, str, str]]) -> list[str]:
    if not rows:
        return []
    width = max(len(row[0]) for row in rows)
    return [
        "",
        title,
        *(f"  {name:<{width}}  {count:>9}  {amount:>9}".rstrip() for name, count, amount in rows),
    ]


def _end(address: bytes, port: int = 0) -> str:
    if not address:
        return "?"
    text = str(ip_address(address))
    if not port:
        return text
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
