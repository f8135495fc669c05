"""Pure decisions: which of several holders uses a socket, and whether a process can be the owner at all."""

from collections.abc import Sequence

from exporter.model import Owner

__all__ = ["TOLERANCE", "choose", "late"]

MANAGERS = frozenset({"systemd", "init"})
"""They hold sockets for those whom they start (socket activation)."""
TOLERANCE = 0.1
"""Seconds by which a start time (told in hundredths, from boot) may seem later than it was."""


def choose(owners: Sequence[Owner]) -> Owner | None:
    """Choose who uses a socket that these processes hold; None if nobody can say.

    A service manager holds it for others. Else it is the one that all others inherited it from (pre-fork workers, and
    children that a server starts without closing its sockets). Several without a common parent among them must at
    least have one name; then it is the one that started first.
    """
    users = [o for o in owners if o.pid != 1 and not (o.process in MANAGERS and o.ppid <= 1)] or list(owners)
    roots = [user for user in users if not any(descends(user, other) for other in users)]
    first = min(roots, key=lambda owner: (owner.start, owner.pid), default=None)
    return first if first and all(root.process == first.process for root in roots) else None


def descends(owner: Owner, other: Owner) -> bool:
    """Tell whether a process comes of another: one that has an ancestor's number, and started no later.

    Numbers come again, and a child's may be smaller than its parent's.
    """
    if other.pid == owner.pid or other.start > owner.start + TOLERANCE:
        return False
    return other.pid == owner.ppid or any(pid == other.pid for pid, _ in owner.ancestors)


def late(owner: Owner, since: float) -> bool:
    """Tell whether a process started after the first packet, so that it cannot have opened the socket."""
    return owner.start > since + TOLERANCE
