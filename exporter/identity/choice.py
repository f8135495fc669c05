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
    least have one name; then it is the oldest.
    """
    users = [o for o in owners if o.pid != 1 and not (o.process in MANAGERS and o.ppid <= 1)] or list(owners)
    pids = {owner.pid for owner in users}
    roots = [o for o in users if not any(pid in pids for pid, _ in o.ancestors) and o.ppid not in pids]
    if not roots:
        return None
    first = min(roots, key=lambda owner: (owner.start, owner.pid))
    return first if all(root.process == first.process for root in roots) else None


def late(owner: Owner, since: float) -> bool:
    """Tell whether a process started after the first packet, so that it cannot have opened the socket."""
    return owner.start > since + TOLERANCE
