"""What a worker's loop asks of a source, whichever it is."""

from typing import Protocol

from exporter.model import SocketRow

__all__ = ["Part"]


class Part(Protocol):
    """A source, and what is special about reading it."""

    role: str
    """The sandbox's."""

    def fileno(self) -> int:
        """Give what becomes readable when packets come."""
        ...

    def poll(self) -> int:
        """Read packets; give how many. 0: nothing is left for now."""
        ...

    def ready(self, now: float) -> bool:
        """Tell whether what the last turn brought is in the ledger, or has waited for long enough and is now."""
        ...

    def turn(self, now: float) -> None:
        """Take what is told once for each time that the ledger is published."""
        ...

    def complete(self) -> bool:
        """Tell whether the ledger may be published."""
        ...

    def meter(self) -> None:
        """Bring the source's own numbers up to date."""
        ...

    def published(self) -> None:
        """The ledger is where a crash cannot lose it."""
        ...

    def rescope(self, scopes: dict[str, int]) -> None:
        """Learn which interfaces lead into another namespace."""
        ...

    def mine(self, row: SocketRow) -> bool:
        """Tell whether a socket's packets come to this worker."""
        ...
