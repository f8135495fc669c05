"""Requests and their responses of one connection: pairs, latencies, and what was never answered.

A response belongs to the request with the same `match`; without one, to the oldest (first in, first out). The number
of requests that wait is bounded: the oldest counts as unanswered when the cap is reached.
"""

from collections.abc import Hashable
from typing import NamedTuple

from exporter.model import Kind, Message

__all__ = ["UNANSWERED", "Exchange", "Outcome"]

UNANSWERED = "unanswered"
"""The status of a request that got no response."""

MAX_PENDING = 256


class Outcome(NamedTuple):
    """A request with its end. `duration` is None where it was not answered; `side` is the requester's."""

    side: int
    op: str
    status: str
    error: bool
    duration: float | None
    began: float
    request: Message
    response: Message | None


class Exchange:
    """The requests of one connection that wait for their response."""

    __slots__ = ("_pending", "_serial")

    def __init__(self) -> None:
        """Wait for nothing yet."""
        self._pending: dict[Hashable, tuple[float, int, Message]] = {}
        self._serial = 0

    def __len__(self) -> int:
        """Give the number of requests that wait."""
        return len(self._pending)

    def add(self, now: float, side: int, message: Message) -> list[Outcome]:
        """Take a message of `side`; give the requests that it settles."""
        if message.kind is Kind.REQUEST:
            return self._request(now, side, message)
        if message.kind is Kind.RESPONSE:
            return self._response(now, side, message)
        return []

    def expire(self, before: float) -> list[Outcome]:
        """Give up requests that began before this time."""
        late = [key for key, (began, _, _) in self._pending.items() if began < before]
        return [_unanswered(*self._pending.pop(key)) for key in late]

    def close(self) -> list[Outcome]:
        """Give up all: the connection has ended."""
        return self.expire(float("inf"))

    def _request(self, now: float, side: int, message: Message) -> list[Outcome]:
        out: list[Outcome] = []
        key: Hashable
        if message.match is None:
            self._serial += 1
            key = (side, self._serial)
        else:
            key = (side, "match", message.match)
            if (
                key in self._pending
            ):  # sent again (UDP): the first one's time counts, as its user has waited since then
                return out
        if len(self._pending) >= MAX_PENDING:
            out.append(_unanswered(*self._pending.pop(next(iter(self._pending)))))
        self._pending[key] = (now, side, message)
        return out

    def _response(self, now: float, side: int, message: Message) -> list[Outcome]:
        key: Hashable
        if message.match is None:
            key = None
            for waiting, (_, requester, request) in self._pending.items():
                if requester != side and request.match is None:
                    key = waiting
                    break
        else:
            key = (1 - side, "match", message.match)
        found = self._pending.pop(key, None)
        if found is None:  # its request was not seen
            return []
        began, requester, request = found
        error = message.error or request.error
        duration = max(0.0, now - began)
        return [Outcome(requester, request.op, message.status, error, duration, began, request, message)]


def _unanswered(began: float, side: int, request: Message) -> Outcome:
    return Outcome(side, request.op, UNANSWERED, request.error, None, began, request, None)
