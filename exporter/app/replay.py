"""`netproc-exporter replay FILE`: the same engine on a file, by the file's own clock, in one process; deterministic."""

import json
import sys
from ipaddress import ip_address
from typing import Any, TextIO

import msgspec

from exporter import dpi
from exporter.app.summary import Summary
from exporter.capture.file import CaptureFile
from exporter.config import Config
from exporter.engine import Engine
from exporter.errors import FileFormatError
from exporter.flow.connection import Connection
from exporter.ledger import Ledger
from exporter.model import Frame, Message

__all__ = ["replay"]

PROGRESS = 20_000
"""Frames between two steps of the progress bar."""


def replay(path: str, output: str, config: Config) -> int:
    """Run a capture through the engine and print what it says; give the exit status.

    A capture that is damaged somewhere is read up to there: what was read is printed, then the error.
    """
    out = sys.stdout
    if not config.attributes:  # whoever has the file has all that it holds
        config = msgspec.structs.replace(config, attributes=("all",))
    sink = Printer(out) if output == "jsonl" else Summary()
    ledger = Ledger(config.metrics)
    engine = Engine(config, dpi.select(config.dpi.protocols), ledger, sink)
    engine.lifecycle.linger = config.flow.timeouts.tombstone
    damage: FileFormatError | None = None
    with CaptureFile(path) as capture:
        clock = FileClock(engine)
        bar = Bar(capture)
        try:
            for frame in capture:
                clock.advance(frame)
                engine.frame(frame)
                bar.step()
        except FileFormatError as error:
            damage = error
        finally:
            bar.end()
    clock.finish()
    if isinstance(sink, Summary):
        out.write(_prometheus(ledger, config) if output == "prometheus" else sink.text(ledger))
    if damage is not None:
        raise damage
    return 0


class FileClock:
    """Does by the frames' time what a worker does by the machine's."""

    def __init__(self, engine: Engine) -> None:
        """Start with the first frame."""
        self._engine = engine
        self._now = 0.0
        self._ticked = 0.0
        self._swept = 0.0

    def advance(self, frame: Frame) -> None:
        """Come to a frame's time; frames out of order do not turn the clock back."""
        now = frame.timestamp
        if not self._now:
            self._ticked = self._swept = now
        if now <= self._now:
            return
        self._now = now
        if now - self._ticked >= 1:
            self._ticked = now
            self._engine.reap(now)
            self._engine.tick(now)
        if now - self._swept >= SWEEP:
            self._swept = now
            self._engine.sweep(now)

    def finish(self) -> None:
        """Come to the end of the file."""
        self._engine.close(self._now)
        self._engine.tick(self._now)


SWEEP = 5.0


class Printer:
    """One JSON object a line: messages as they come, connections as they end."""

    def __init__(self, out: TextIO) -> None:
        """Write to `out`."""
        self._write = out.write

    def message(self, conn: Connection, now: float, side: int, message: Message) -> None:
        """Print a message; the ends are the connection's, whoever spoke."""
        line = {
            "type": "message",
            **_ends(conn),
            "protocol": conn.protocol,
            "kind": message.kind.value,
            "op": message.op,
            "status": message.status,
            "error": message.error,
            "timestamp": round(now, 6),
            "from": "local" if side == 0 else "remote",
            "attributes": {key: list(v) if isinstance(v, tuple) else v for key, v in message.attrs.items()},
        }
        self._write(json.dumps(line, ensure_ascii=False) + "\n")

    def ended(self, conn: Connection, now: float) -> None:  # noqa: ARG002 - the sink's interface
        """Print a connection."""
        totals = conn.totals
        line = {
            "type": "connection",
            **_ends(conn),
            "initiator": {0: "local", 1: "remote"}.get(conn.initiator, "unknown"),
            "protocol": conn.protocol or "unknown",
            "state": conn.views[0].state,
            "reason": conn.reason,
            "first_seen": round(conn.created, 6),
            "last_seen": round(conn.last, 6),
            "transmit": {"packets": totals[0], "bytes": totals[1]},
            "receive": {"packets": totals[2], "bytes": totals[3]},
            "attributes": conn.attrs or {},
        }
        self._write(json.dumps(line, ensure_ascii=False) + "\n")


def _ends(conn: Connection) -> dict[str, Any]:
    return {
        "transport": conn.transport,
        "local": _end(conn, 0),
        "remote": _end(conn, 1),
        "tunnel": conn.tunnel,
    }


def _end(conn: Connection, side: int) -> dict[str, str | int]:
    packed, port = conn.end(side)
    return {"address": str(ip_address(packed)) if packed else "", "port": port}


def _prometheus(ledger: Ledger, config: Config) -> str:
    from exporter import ledgerfile
    from exporter.export.names import ShortNames
    from exporter.export.negotiate import Wish
    from exporter.export.prometheus import Renderer

    buffer = memoryview(bytearray(ledgerfile.size(config.metrics)))
    ledger.publish(buffer)
    renderer = Renderer(config, [buffer], ShortNames())
    renderer.own = False
    return renderer.render(Wish()).decode()


class Bar:
    """A progress bar, where standard error is a terminal."""

    def __init__(self, capture: CaptureFile) -> None:
        """Follow a capture's reading."""
        self._capture = capture
        self._shown = sys.stderr.isatty() and capture.size > 0
        self._frames = 0

    def step(self) -> None:
        """Count a frame; redraw now and then."""
        self._frames += 1
        if self._shown and self._frames % PROGRESS == 0:
            share = self._capture.position / self._capture.size
            done = "#" * int(40 * share)
            sys.stderr.write(f"\r[{done:<40}] {share:4.0%} {self._frames:,} packets ")
            sys.stderr.flush()

    def end(self) -> None:
        """Wipe the bar away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
