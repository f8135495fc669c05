"""The protocols between layers: what one side promises and the other relies on."""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from exporter.model import Message

__all__ = ["Sink"]


class Sink(Protocol):
    """Who is told of every connection and message as they come: replay's printer, later spans and events.

    `conn` is the engine's connection record, of which only what is documented as public may be read.
    """

    def message(self, conn: Any, now: float, side: int, message: "Message") -> None:  # noqa: ANN401 - a higher layer's
        """Take a message that side `side` of a connection said."""
        ...

    def ended(self, conn: Any, now: float) -> None:  # noqa: ANN401 - a higher layer's type
        """Take a connection that has ended, its totals complete."""
        ...
