"""What each child is handed: its flags, and the descriptors that they name."""

import os
import socket
from typing import NamedTuple

from exporter.app import channels
from exporter.app.children import Child, Launch
from exporter.app.programs import Loaded

__all__ = ["Handed", "Handover"]


class Handed(NamedTuple):
    """One start."""

    launch: Launch
    ours: tuple[int, ...]
    """Descriptors to close here once the child has them."""
    ready: int = -1
    """What a worker writes one byte to when it captures, and closes when it ends before."""


class Handover:
    """What all starts take from."""

    def __init__(
        self,
        config: bytes,
        held: channels.Held,
        listeners: list[socket.socket],
        loaded: Loaded,
    ) -> None:
        """Take what is open for life."""
        self.held = held
        self.programs = loaded.programs
        self._filters = loaded.filters
        self._config = config
        self._listeners = listeners

    def prepare(self, child: Child) -> Handed:
        """Open what this start needs of its own."""
        config = channels.config_file(self._config)
        ours = [config]
        named = {"config-fd": [config], "lifeline-fd": [self.held.lifeline]}
        words: list[str] = []
        extra: list[int] = []
        ready = -1
        if child.role == "identity":
            named |= self._identity()
            if self.programs:
                words = ["--events", f"{self.programs.events},{self.programs.size}"]
                extra = [self.programs.events]
        elif child.role == "exporter":
            own = self._exporter()
            ours += own["ledger-fds"] + own["status-fd"]
            named |= own
        else:
            ready, write = os.pipe2(os.O_CLOEXEC)
            ours.append(write)
            named |= self._worker(child.index) | {"ready-fd": [write]}
            words = ["--index", str(child.index), "--count", str(len(self.held.ledgers))]
            seen, extra = self._source(child.index)
            words += seen
        flags = [word for name, fds in named.items() for word in (f"--{name}", ",".join(map(str, fds)))]
        descriptors = [fd for fds in named.values() for fd in fds]
        return Handed(Launch((*flags, *words), (*descriptors, *extra)), tuple(ours), ready)

    def _identity(self) -> dict[str, list[int]]:
        return {
            "channels": [end.fileno() for end in self.held.identity_ends],
            "ledger-fd": [self.held.identity_ledger],
        }

    def _exporter(self) -> dict[str, list[int]]:
        ledgers = (*self.held.ledgers, self.held.identity_ledger)
        return {
            "listen-fds": [listener.fileno() for listener in self._listeners],
            "ledger-fds": [channels.read_only(fd) for fd in ledgers],
            "status-fd": [channels.read_only(self.held.status)],
        }

    def _worker(self, index: int) -> dict[str, list[int]]:
        return {
            "channel-fd": [self.held.worker_ends[index].fileno()],
            "ledger-fd": [self.held.ledgers[index]],
        }

    def _source(self, index: int) -> tuple[list[str], list[int]]:
        """Give a worker its part of what the kernel counts, or filters, and no other worker's."""
        if self._filters:
            shared = self._filters.handles[index]
            return ["--source", "pcap", "--offload", shared.flag()], list(shared.descriptors())
        if not self.programs or not self.programs.handles:
            return ["--source", "pcap"], []
        handles = self.programs.handles[index]
        words = ["--source", "ebpf", "--handles", handles.flag(), "--netns", str(self.programs.netns)]
        return words, list(handles.descriptors())
