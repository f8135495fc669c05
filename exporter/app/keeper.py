"""Starts, watches, restarts and ends the children."""

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable

from exporter.app import channels, children
from exporter.app.children import Child
from exporter.app.handover import Handover

__all__ = ["Keeper", "Say"]

GRACE = 1.5
"""Seconds between SIGTERM and SIGKILL; a stop is over within two."""
SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


Say = Callable[..., None]
"""`say(level, event, key=value)`."""


class Keeper:
    """The children and what they hang on. `on_up` is called once, when all workers capture."""

    def __init__(self, handover: Handover, say: Say) -> None:
        self._handover = handover
        self._held = handover.held
        self._programs = handover.programs
        self._say = say
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._waiting: dict[int, Child] = {}
        """Read ends of ready pipes → workers that do not capture yet."""
        self._restarts: dict[str, dict[str, int]] = {}
        self._stop = False
        self._status = 0
        self._up = False
        self.on_up: Callable[[], None] = lambda: None
        self.degraded: list[tuple[str, str]] = []
        """What the supervisor itself lacks, and why."""

    # ------------------------------------------------------------ starting

    def prepare(self, program: children.Program) -> None:
        """Worker 0 goes before the other workers: what one of them refuses, all would, and the user reads it once."""
        now = time.monotonic()
        for role, count in (("identity", 1), ("exporter", 1), ("worker", len(self._held.ledgers))):
            for index in range(count):
                child = Child(role, index, program(role))
                child.due = now if index == 0 else None
                self._children.append(child)
        self._publish()

    def _start(self, child: Child) -> None:
        handed = self._handover.prepare(child)
        if handed.ready >= 0:
            self._waiting[handed.ready] = child
            self._selector.register(handed.ready, selectors.EVENT_READ)
        try:
            child.start(handed.launch)
        finally:
            for fd in handed.ours:
                os.close(fd)
        if self._programs:
            self._programs.started(child.pid)
            if child.role == "identity" and self._restarts.get("identity"):
                self._programs.tell_again()
        self._say("debug", "started", child=child.name, pid=child.pid)

    def _ready(self, read: int) -> None:
        """A worker captures (one byte), or has ended before it did (none)."""
        child = self._waiting.pop(read)
        self._selector.unregister(read)
        captures = bool(os.read(read, 1))
        os.close(read)
        if not captures:
            return
        if child.index == 0 and not self._up:
            for other in self._children:
                if not other.pid and other.due is None:
                    other.due = time.monotonic()
        if not self._up and not self._waiting and all(c.pid for c in self._children):
            self._up = True
            self.on_up()

    # ------------------------------------------------------------ running

    def watch(self) -> int:
        """Run until told to stop; give the exit status."""
        ours, wakeup = socket.socketpair()
        for end in (ours, wakeup):
            end.setblocking(False)  # noqa: FBT003  (the standard library's own interface)
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)  # the number comes by the wake-up socket
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._selector.register(ours, selectors.EVENT_READ)
        while not self._stop:
            self._start_due()
            self._wait(ours, self._next_due())
        self._end_all(ours)
        return self._status

    def _start_due(self) -> None:
        for child in self._children:
            if child.due is None or child.due > time.monotonic():
                continue
            try:
                self._start(child)
            except OSError as error:  # no memory, no process, no descriptor: perhaps later
                child.ended(1)
                self._say("error", f"{child.name} cannot be started: {error}")

    def _next_due(self) -> float | None:
        due = [child.due for child in self._children if child.due is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _wait(self, wakeup: socket.socket, timeout: float | None) -> None:
        """Sleep until something happens, and answer it."""
        signals: set[int] = set()
        for key, _ in self._selector.select(timeout):
            if key.fileobj is wakeup:
                signals |= set(wakeup.recv(4096))
            else:
                self._ready(key.fd)
        if signal.SIGHUP in signals:
            self._hang_up()
        if signals & {signal.SIGTERM, signal.SIGINT}:
            if self._stop:
                self._signal_all(signal.SIGKILL)
            self._stop = True
        if signal.SIGCHLD in signals:
            self._reap()

    def _hang_up(self) -> None:
        """A terminal that goes takes us along; from anybody else the signal means nothing."""
        if os.isatty(sys.stderr.fileno()):
            self._stop = True
        else:
            self._say("warning", "SIGHUP is ignored: restart to read the configuration anew")

    def _reap(self) -> None:
        """Wait for all that ended; as process 1 of a container we also inherit strangers."""
        by_pid = {child.pid: child for child in self._children if child.pid}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in by_pid:
                if self._programs:
                    self._programs.ended(pid)
                self._lost(by_pid[pid], os.waitstatus_to_exitcode(status))

    def _lost(self, child: Child, code: int) -> None:
        """Count an end that nobody asked for. A child that refuses stops us all, but only before we are up.

        Later its reason may go away (an interface that comes back), and what the others count is worth keeping.
        """
        end = child.ended(code)
        if self._stop:
            return
        if code in {children.REFUSED, children.MISUSED} and not self._up:
            self._stop, self._status = True, 1 if code == children.REFUSED else 2
            return
        reasons = self._restarts.setdefault(child.role, {})
        reasons[end.reason] = reasons.get(end.reason, 0) + 1
        self._publish()
        wait = round((child.due or 0) - time.monotonic(), 1)
        self._say("warning", f"{child.name} {end.words}; it starts again in {wait} s")

    def _publish(self) -> None:
        status = {"restarts": self._restarts, "workers": len(self._held.ledgers), "degraded": self.degraded}
        channels.write_status(self._held.status, status)

    # ------------------------------------------------------------ stopping

    def _signal_all(self, number: signal.Signals) -> None:
        try:
            for child in self._children:
                child.signal(number)
        except PermissionError:  # no KILL: let go of the lifeline, which all children watch
            with contextlib.suppress(OSError):
                os.close(self._held.lifeline_write)

    def _end_all(self, wakeup: socket.socket) -> None:
        """SIGTERM, and SIGKILL for what is still there after a while."""
        self._signal_all(signal.SIGTERM)
        self._reap()
        deadline = time.monotonic() + GRACE
        killed = False
        while any(child.pid for child in self._children):
            left = deadline - time.monotonic()
            if left <= 0:
                if killed:
                    return
                killed, deadline = True, deadline + 0.3
                self._signal_all(signal.SIGKILL)
            self._wait(wakeup, max(0.0, left))
