"""shared.h in Python, in its order; a test compares both with the compiled object's BTF."""

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

__all__ = [
    "CONTROL",
    "ENDS",
    "EVENT_CLOSE",
    "EVENT_ENDS",
    "EVENT_EXEC",
    "EVENT_PROCESS",
    "FIELDS",
    "FLOW",
    "FRAME",
    "HOLDER",
    "KEY",
    "MAX_WORKERS",
    "OWNER",
    "PROCESS",
    "SETTINGS",
    "SLOTS",
    "UNLIMITED",
    "Handles",
    "Health",
    "Key",
    "Origin",
    "Settings",
]

RECEIVE, TRANSMIT = 0, 1
EVENT_PROCESS, EVENT_EXEC, EVENT_CLOSE, EVENT_ENDS = 1, 2, 3, 4
SLOTS, MAX_WORKERS = 4, 64
UNLIMITED = 0xFFFFFFFF

KEY = Struct("=Q16s16sHHBBBx")
COUNT = Struct("=4Q")
BUDGET = Struct("=2I2I")
FLOW = Struct("=4Q4QQQQQII4IIHBBBBBBI")
OWNER = Struct("=QQQIIIBBBx")
FRAME = Struct("=Q48sQIIIHBx")
PROCESS = Struct("=IIQQQQII16s64s")
ENDS = Struct("=IIQQQ48sIB3x")
HOLDER = Struct("=48sQQQIIIIIBBBx16s")
CONTROL = Struct("@I4x")
SETTINGS = Struct("=IIII6HBB2x")


def _fields(names: str) -> tuple[str, ...]:
    return tuple(names.split())


FIELDS: dict[str, tuple[Struct, tuple[str, ...]]] = {
    "key": (KEY, _fields("cookie local remote lport rport transport family overflow pad")),
    "count": (COUNT, _fields("packets bytes more_packets more_bytes")),
    "budget": (BUDGET, _fields("packets bytes")),
    "flow": (
        FLOW,
        _fields(
            "way last netns start cgroup tgid uid left retransmits states state origin error raw quiet side space"
        ),
    ),
    "owner": (OWNER, _fields("netns start cgroup tgid uid space origin said changes pad")),
    "frame": (FRAME, _fields("time key netns tgid size captured segments way pad data")),
    "process": (PROCESS, _fields("kind tgid time start cgroup cookie ppid uid comm executable")),
    "ends": (ENDS, _fields("kind tgid time start lost key space origin pad")),
    "holder": (
        HOLDER,
        _fields("key netns start inode space tgid ppid uid fd state type kernel pad comm"),
    ),
    "control": (CONTROL, _fields("generation pad")),
    "settings": (SETTINGS, _fields("workers packets bytes listener ports netns_helper task_helpers pad")),
}
"""Each structure's members by name, for the test."""


class Origin(IntEnum):
    """How a socket's owner became known."""

    NONE = 0
    CREATED = 1
    LISTENER = 2
    USED = 3
    INVENTORY = 4
    KERNEL = 5
    ORPHAN = 6


class Health(IntEnum):
    """Rows of the map `health`: what was lost, and where."""

    LOST_FRAMES = 0
    LOST_EVENTS = 1
    OVERFLOWS = 2
    UNCOUNTED_PACKETS = 3
    UNCOUNTED_BYTES = 4


class Key(NamedTuple):
    """A socket's connection as it sees it; `packed` is what the maps know it by. Addresses are packed too."""

    cookie: int
    local: bytes
    lport: int
    remote: bytes
    rport: int
    transport: int
    """IPPROTO_."""
    overflow: bool
    packed: bytes

    @classmethod
    def read(cls, packed: bytes) -> "Key":
        cookie, local, remote, lport, rport, transport, family, overflow = KEY.unpack(packed)
        if family == 4:
            local, remote = local[:4], remote[:4]
        return cls(cookie, local, lport, remote, rport, transport, bool(overflow), packed)


class Settings(NamedTuple):
    """What the programs are told before they are loaded."""

    workers: int = 1
    packets: int = 24
    """A connection's budget for inspection, each way, in packets and in bytes."""
    size: int = 32768
    listener: int = 64
    """Packets that a listener may bring up each turn, each way."""
    ports: tuple[int, ...] = (53, 5353, 5355)
    """UDP ports whose packets always come up; at most six."""
    netns_helper: bool = True
    task_helpers: bool = True

    def pack(self) -> bytes:
        ports = (*self.ports, *(0,) * 6)[:6]
        return SETTINGS.pack(
            self.workers,
            self.packets,
            self.size,
            self.listener,
            *ports,
            self.netns_helper,
            self.task_helpers,
        )


class Handles(NamedTuple):
    """What a worker inherits: descriptors, and its ring's size."""

    flows: tuple[int, int]
    overflow: tuple[int, int]
    control: int
    ring: int
    budgets: int
    health: int
    ring_size: int

    def descriptors(self) -> tuple[int, ...]:
        return (*self.flows, *self.overflow, self.control, self.ring, self.budgets, self.health)

    def flag(self) -> str:
        """Write them as a child's flag: the descriptors, then the ring's size, with commas."""
        return ",".join(map(str, (*self.descriptors(), self.ring_size)))

    @classmethod
    def parse(cls, text: str) -> "Handles":
        """Read what `flag` wrote; ValueError else."""
        one, other, spill, more, control, ring, budgets, health, size = map(int, text.split(","))
        return cls((one, other), (spill, more), control, ring, budgets, health, size)
