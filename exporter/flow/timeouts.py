"""After how many idle seconds a connection ends, and how stale it is on the way there."""

from exporter.config import Timeouts
from exporter.flow import tcp

__all__ = ["CRITICAL", "FRESH", "STALE", "STALENESS", "Clock"]

FRESH, STALE, CRITICAL = 0, 1, 2
STALENESS = ("fresh", "stale", "critical")
"""Label values; white, yellow and red on the live page."""

STALE_FROM, CRITICAL_FROM = 0.75, 0.90
"""Shares of the timeout from which a connection is called stale and critical."""

ACTIVE = 60.0
"""An established connection that moved within so many seconds has the longer timeout."""


class Clock:
    """The configured timeouts, by transport, state and protocol."""

    def __init__(self, timeouts: Timeouts) -> None:
        """Arrange the settings by state name."""
        t = timeouts
        self._tcp = dict.fromkeys(tcp.OPENING, t.tcp_opening)
        self._tcp |= dict.fromkeys(
            ("fin_wait_1", "fin_wait_2", "close_wait", "closing", "last_ack"), t.tcp_closing
        )
        self._tcp |= {tcp.TIME_WAIT: t.tcp_time_wait, tcp.CLOSED: t.tcp_closed}
        self._quic = dict.fromkeys(("initial", "handshaking", "unknown"), t.quic_opening)
        self._quic |= {"draining": t.quic_draining, "closed": t.quic_closed}
        self._t = t
        self._own = {
            name: float(seconds) for name, _, seconds in (text.partition("=") for text in t.protocol)
        }

    def idle(self, protocol: str, default: float | None) -> float | None:
        """Give the idle timeout of an application protocol: as configured, else its own."""
        return self._own.get(protocol, default)

    def timeout(self, transport: str, state: str, idle: float | None, age: float) -> float:
        """Give the idle time allowed. `idle`: the protocol's own, if it has one; `age`: since the last packet."""
        t = self._t
        if transport == "tcp":
            fixed = self._tcp.get(state)
            if fixed is not None:
                return fixed
            return idle if idle is not None else t.tcp_active if age < ACTIVE else t.tcp_idle
        if state in self._quic and state != "unknown":
            return self._quic[state]
        if state == "connected":
            return idle if idle is not None else t.quic_active if age < ACTIVE else t.quic_idle
        if transport == "udp":
            return idle if idle is not None else t.udp
        return t.icmp if transport in ("icmp", "icmpv6") else t.other


def staleness(age: float, timeout: float) -> int:
    """Give `FRESH`, `STALE` or `CRITICAL` for an idle age."""
    if age < STALE_FROM * timeout:
        return FRESH
    return STALE if age < CRITICAL_FROM * timeout else CRITICAL
