"""Live capture: one handle per interface, opened and closed as interfaces come and go.

The worker waits for `fileno()` beside its own descriptors, or calls `poll`; and calls `refresh` a few times a second.
`buffer_size` is the ring memory of all interfaces together: hosts' own interfaces get four parts, veths of pods one,
and none less than a MiB; with many pods it is exceeded rather than that.
"""

import os
import select
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from exporter.capture.handle import Attach, Deal, Detach, GoneError, Handle, Opening, Stats, require_privilege
from exporter.capture.interfaces import Selection, choose, is_glob, require_named
from exporter.capture.links import SYSFS, UP, Link, is_up, read_links, uplinks
from exporter.capture.offload import Table
from exporter.capture.tap import Tap
from exporter.config import Capture
from exporter.errors import CaptureError
from exporter.model import Interface

__all__ = ["PcapSource", "ring_size"]

BLOCK = 256 << 10
"""libpcap's unit of ring memory."""
LEAST = 1 << 20
WEIGHT = {"pod": 1, "host": 4}
SOON, LOOK = 1.0, 10.0
"""Seconds until everything is read again: after interfaces came or went, and when nothing seems to have changed."""
GLIMPSES = 100
"""First packets that are read at once, between two calls of `refresh`."""
REMEMBER = 3600.0
"""Seconds for which a vanished interface's totals are kept."""


def ring_size(budget: int, interface: Interface, chosen: Iterable[Interface]) -> int:
    """Give an interface's part of the ring memory."""
    whole = sum(WEIGHT.get(one.role, 1) for one in chosen)
    part = budget * WEIGHT.get(interface.role, 1) // max(1, whole)
    return max(LEAST, part // BLOCK * BLOCK)


class PcapSource:
    """All captures of a worker."""

    def __init__(
        self,
        settings: Capture,
        attach: Attach,
        deal: Deal | None = None,
        detach: Detach | None = None,
        sysfs: Path = SYSFS,
    ) -> None:
        """Open nothing yet.

        `attach` is asked for a callback for each interface, again when it has changed; `detach` is told the name of
        one that is captured no longer.
        """
        self.selection = Selection((), {})
        self.failed: dict[str, str] = {}
        """Interfaces that should be captured and cannot be, and why."""
        self._settings = settings
        self._attach = attach
        self._detach = detach
        self.glimpse: Attach | None = None
        """Asked for a callback for first packets, which then come a second time in the other one; None: never."""
        self.offload: Table | None = None
        """Has each interface count in the kernel; to be set before `open`. Not with a filter of the user's."""
        self._taps: dict[str, Tap] = {}
        self._tapping = True
        self._glimpsed = 0
        self._deal = deal or Deal()
        self._sysfs = sysfs
        self._handles: dict[str, Handle] = {}
        self._by_fd: dict[int, Handle] = {}
        self._totals: dict[str, Stats] = {}
        self._vanished: dict[str, float] = {}
        self._names: frozenset[str] = frozenset()
        self._look_at = 0.0
        self._epoll = select.epoll()

    # -- which interfaces ------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open all captures. What the user asked for by name must work; of the rest, something must."""
        require_privilege()
        links = read_links(self._sysfs)
        require_named(links, self._settings)
        self._reconcile(links)
        named = [name for name in self._settings.interface if name in self.failed]
        if named or (self.failed and not self._handles):
            self.close()
            raise CaptureError(self.failed[named[0] if named else min(self.failed)])

    def refresh(self, now: float) -> None:
        """Follow the machine's interfaces; cheap while none has changed. `now` is a monotonic time."""
        self._set_taps(on=True)
        for handle in self._handles.values():
            handle.settle()
        names = frozenset(os.listdir(self._sysfs))  # noqa: PTH208  (several times a second)
        if names == self._names and now < self._look_at and not self._risen():
            return
        self._look_at = now + (SOON if names != self._names else LOOK)
        self._names = names
        self._reconcile(read_links(self._sysfs))
        self._forget(now)

    def _risen(self) -> bool:
        """Tell whether an interface that was down is up now."""
        down = [name for name, why in self.selection.left_out.items() if why == "down"]
        return any(is_up(name, self._sysfs) for name in down)

    def _reconcile(self, links: Mapping[str, Link]) -> None:
        """Close what is gone or seen elsewhere, and open what is new. A handle stays while its interface is down."""
        self.selection = choose(links, self._settings, uplinks())
        chosen = {interface.name: interface for interface in self.selection.chosen}
        for name, handle in list(self._handles.items()):
            link = links.get(name)
            stays = name in chosen or self.selection.left_out.get(name) == "down"
            if link is None or link.number != handle.number or not stays:
                self._drop(handle)
            else:
                handle.up = bool(link.flags & UP)
        self.failed = {}
        for name, interface in chosen.items():
            try:
                self._take(interface, links[name].number)
            except CaptureError as error:
                self.failed[name] = str(error)

    def _take(self, interface: Interface, number: int) -> None:
        """Open an interface, or tell the engine what has changed about an open one."""
        handle = self._handles.get(interface.name)
        if handle is None:
            size = ring_size(self._settings.buffer_size, interface, self.selection.chosen)
            opening = Opening(size, self._deal, offload=self.offload)
            handle = Handle(interface, number, self._settings, opening)
            self._handles[handle.name] = self._by_fd[handle.fd] = handle
            self._epoll.register(handle.fd, select.EPOLLIN)
            self._tap(interface, number)
        elif handle.interface == interface._replace(link=handle.interface.link):
            return
        handle.interface = interface._replace(link=handle.interface.link)
        self.renew(handle.name)

    def _tap(self, interface: Interface, number: int) -> None:
        """Take first packets at once where processes of the host begin their connections; it works without, later."""
        if self.glimpse is None or interface.role != "host":
            return
        with suppress(CaptureError):
            tap = self._taps[interface.name] = Tap(interface, number, self._settings, self._deal)
            if self._tapping:
                self._epoll.register(tap.fd, select.EPOLLIN)

    def renew(self, name: str) -> None:
        """Ask for a new callback, because what is known of the interface has changed."""
        if (handle := self._handles.get(name)) is not None:
            handle.attach(self._attach(handle.interface))
        if self.glimpse is not None and name in self._taps:
            self._taps[name].renew(self.glimpse)

    def _drop(self, handle: Handle) -> None:
        self._count(handle)
        self._epoll.unregister(handle.fd)
        del self._handles[handle.name], self._by_fd[handle.fd]
        handle.close()
        if (tap := self._taps.pop(handle.name, None)) is not None:
            if self._tapping:
                self._epoll.unregister(tap.fd)
            tap.close()
        if self._detach is not None:
            self._detach(handle.name)

    def close(self) -> None:
        for handle in list(self._handles.values()):
            self._drop(handle)

    # -- packets ---------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Give a descriptor that is readable while any interface has packets."""
        return self._epoll.fileno()

    def filenos(self) -> list[int]:
        """Give the interfaces' descriptors, for who waits for them himself and calls `dispatch`."""
        return list(self._by_fd)

    def poll(self, timeout: float = 0) -> int:
        """Wait for packets and deliver some of each interface's; give how many. 0: nothing is left for now."""
        count = 0
        ready = self._epoll.poll(timeout)
        self._glimpse({fd for fd, _ in ready})
        for fd, event in ready:
            if fd not in self._by_fd:
                continue
            if event & select.EPOLLERR:
                self._look_at = 0  # it is down, or gone
            count += self.dispatch(fd)
        return count

    def _glimpse(self, ready: set[int]) -> None:
        """Read the taps, as long as first packets are few: each wakes us, and a thousand a second say nothing new."""
        for tap in self._taps.values():
            if tap.fd in ready:
                self._glimpsed += tap.dispatch()
        if self._glimpsed > GLIMPSES:
            self._set_taps(on=False)

    def _set_taps(self, *, on: bool) -> None:
        self._glimpsed = 0
        if on == self._tapping:
            return
        self._tapping = on
        for tap in self._taps.values():
            if on:
                tap.drain()
                self._epoll.register(tap.fd, select.EPOLLIN)
            else:
                self._epoll.unregister(tap.fd)

    def dispatch(self, fd: int) -> int:
        """Deliver packets of one interface; give how many."""
        handle = self._by_fd[fd]
        try:
            return handle.dispatch()
        except GoneError as error:
            self._drop(handle)
            self.failed[handle.name] = str(error)
            self._look_at = 0
            return 0

    # -- how it goes -----------------------------------------------------------------------------------------------

    def up(self) -> dict[str, bool]:
        """Tell for each interface that is or should be captured whether its packets can be seen."""
        named = [name for name in self._settings.interface if not is_glob(name)]
        return dict.fromkeys([*named, *self.failed], False) | {
            name: one.up for name, one in self._handles.items()
        }

    def stats(self) -> dict[str, Stats]:
        """Give the totals of all interfaces, vanished ones for an hour. To be called once an hour at the least."""
        for handle in self._handles.values():
            self._count(handle)
        return dict(self._totals)

    def _count(self, handle: Handle) -> None:
        self._totals[handle.name] = self._totals.get(handle.name, Stats()).plus(handle.stats())

    def _forget(self, now: float) -> None:
        for name in list(self._totals):
            if name in self._handles:
                self._vanished.pop(name, None)
            elif now - self._vanished.setdefault(name, now) > REMEMBER:
                del self._totals[name], self._vanished[name]
