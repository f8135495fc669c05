"""The kernel's side as the supervisor holds it: loaded where the machine allows it, and told why not where it does not.

Nothing but this process has descriptors of programs and links, so that all is unloaded when it ends.
"""

import contextlib

from exporter.app.policy import Degraded, explain
from exporter.ebpf.kernel import Kernel, open_owners
from exporter.errors import NetprocError, UserError

__all__ = ["METHODS", "Programs", "load"]

METHODS = frozenset({"auto", "ebpf"})
"""Of `identity.method`: those that want it."""


class Programs:
    """All that is loaded, and the ring by which it tells."""

    def __init__(self, kernel: Kernel) -> None:
        """Keep it for life."""
        self._kernel = kernel
        self.events = kernel.events
        self.size = kernel.sizes.events

    def tell_again(self) -> None:
        with contextlib.suppress(NetprocError, OSError):  # who asks then is told by other ways
            self._kernel.inventory()

    def close(self) -> None:
        self._kernel.close()


def load(method: str) -> tuple[Programs | None, list[Degraded]]:
    """Load what tells owners, if `identity.method` wants it; give also what is not there, and why.

    Only `ebpf` itself insists: UserError.
    """
    if method not in METHODS:
        return None, []
    try:
        kernel = open_owners()
    except OSError:  # no procfs
        lacking: list[Degraded] = [("ebpf", "system")]
        programs = None
    else:
        lacking = sorted(kernel.degraded.items())
        programs = Programs(kernel) if kernel.events >= 0 else None
    if programs is None and method == "ebpf":
        raise UserError(
            f"identity.method ebpf does not work here: {explain(lacking)}; `auto` takes what does"
        )
    return programs, lacking
