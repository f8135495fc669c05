"""What of the kernel's side `run` would use here: it is loaded as `run` does, and unloaded at once."""

import json
import platform
from typing import NamedTuple

from exporter.app import policy, programs, source
from exporter.app.launch import require_consistent
from exporter.config import Config, dump
from exporter.errors import UserError

__all__ = ["Trial", "attempt"]


class Trial(NamedTuple):
    """How it went."""

    counts: bool
    """The kernel counts; else packets are captured."""
    tells: bool
    """The kernel tells owners."""
    lacking: list[policy.Degraded]
    captured_for: list[str]
    """Settings that only captured packets can follow, so that `auto` does not count in the kernel."""
    refused: str = ""
    """Why `run` would not start."""

    @property
    def text(self) -> str:
        kernel = f"(kernel {platform.release()})"
        if self.counts:
            return f"the kernel counts for each socket, and tells its owner {kernel}"
        if self.tells:
            return f"the kernel tells the owners of sockets {kernel}"
        return f"{policy.explain(self.lacking)} {kernel}" if self.lacking else "not asked for"

    @property
    def advice(self) -> str:
        asks = f"{' and '.join(self.captured_for)}: packets are captured" if self.captured_for else ""
        lacks = policy.explain(self.lacking) if self.tells else ""
        return "; ".join(filter(None, [asks, lacks]))


def attempt(config: Config) -> Trial:
    whole = json.loads(dump(config))
    wish = source.kernel_wish(whole)
    asks = source.pcap_only(whole) if config.capture.source == "auto" else []
    try:
        require_consistent(config)
        loaded = programs.load(wish)
    except UserError as error:
        return Trial(counts=False, tells=False, lacking=[], captured_for=asks, refused=str(error))
    found = Trial(loaded.counts, loaded.programs is not None, loaded.lacking, asks)
    loaded.close()
    return found
