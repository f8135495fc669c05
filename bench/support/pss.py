"""How much memory processes take: their proportional set sizes (PSS), and apart from them mapped BPF maps and rings."""

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["measure"]

MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)$")
BPF = "anon_inode:bpf"
"""How smaps names what is mapped of a map or a ring (`anon_inode:bpf-map`)."""


def measure(pids: Iterable[int]) -> tuple[int, int]:
    """Give the bytes of these processes without BPF's, and those of BPF maps and rings (each page once, shared out)."""
    own = bpf = 0
    for pid in pids:
        name = ""
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            if line.startswith("Pss:"):
                size = 1024 * int(line.split()[1])
                if name.startswith(BPF):
                    bpf += size
                else:
                    own += size
            elif mapping := MAPPING.match(line):
                name = mapping[1]
    return own, bpf
