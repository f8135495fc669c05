"""Which name an address was last looked up by: a passive, bounded map that DNS answers feed.

It serves for what tells no name of its own: where several names have one address, the last one asked for is a guess, so
SNI, Host and the like go before it. What is learnt holds for the record's time to live, within bounds: connections
begin shortly after the look-up, and applications keep addresses longer than they should. Each network namespace has
its own answers. Names are attacker-controlled: only what can be a host's name is kept, in lower case.
"""

import re

from exporter.flow import addresses

__all__ = ["Names", "host"]

LIMIT = 8192
"""Addresses at a time; of more, the ones learnt first go. 350 bytes each."""
SHORTEST, LONGEST = 60.0, 3600.0
"""Seconds for which an answer is remembered, whatever its time to live."""
MAX_NAME = 253

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"(?:.*\.)?[0-9]+")
"""No name of a host ends in a number (RFC 1123 section 2.1): it is an address."""


def host(name: str) -> str:
    """Give a host's name in lower case without its final dot; "" where it cannot be one, or is an address."""
    name = name.lower().removesuffix(".")
    valid = len(name) <= MAX_NAME and _HOST.fullmatch(name) and not _NUMBER.fullmatch(name)
    return name if valid else ""


class Names:
    """The map. Times are Unix seconds on the capture's clock."""

    __slots__ = ("_known", "_limit")

    def __init__(self, limit: int = LIMIT) -> None:
        """Know nothing yet, and never more than `limit` addresses."""
        self._limit = limit
        self._known: dict[tuple[int, bytes], tuple[str, float]] = {}

    def __len__(self) -> int:
        """Give the number of addresses."""
        return len(self._known)

    def learn(self, now: float, scope: int, facts: tuple[tuple[bytes, str, int], ...]) -> int:
        """Take the facts of an answer to a namespace's question; give how many others had to go for them."""
        evicted = 0
        known = self._known
        for address, name, ttl in facts:
            shown = host(name)
            if not shown or not _serves(address):
                continue
            key = scope, address
            known.pop(key, None)  # so that it becomes the newest
            if len(known) >= self._limit:
                del known[next(iter(known))]
                evicted += 1
            known[key] = shown, now + min(max(ttl, SHORTEST), LONGEST)
        return evicted

    def find(self, now: float, scope: int, address: bytes) -> str:
        """Give the name that an address was last looked up by in a namespace; "" where there is none."""
        name, until = self._known.get((scope, address), ("", 0.0))
        return name if now <= until else ""

    def sweep(self, now: float) -> None:
        """Forget what holds no longer."""
        for key in [key for key, (_, until) in self._known.items() if until < now]:
            del self._known[key]


def _serves(address: bytes) -> bool:
    """Tell whether an address says who is there: names that are to lead nowhere have 0.0.0.0 or a loopback address."""
    return any(address) and addresses.scope(address) not in (addresses.LOOPBACK, addresses.MULTICAST)
