"""The values that layers hand to each other. No behaviour, no I/O."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec

__all__ = [
    "Addresses",
    "Answer",
    "Ask",
    "Certificate",
    "End",
    "Expectation",
    "Frame",
    "Gone",
    "Hello",
    "IdentityKey",
    "Interface",
    "Kind",
    "Listing",
    "Message",
    "Owner",
    "Packet",
    "Record",
    "Scopes",
    "Sight",
    "SocketRow",
    "Tally",
    "Watch",
    "Whose",
]

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
"""TCP flags (RFC 9293 section 3.1)."""


class Kind(StrEnum):
    """What a message is."""

    REQUEST = "request"
    RESPONSE = "response"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server's certificate says, where it was sent in the clear (TLS up to 1.2)."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_after: float
    """Unix time in seconds."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A connection to come, announced by another (FTP data, TFTP, RTP from SIP). Packed addresses; None: any."""

    transport: str
    address: bytes
    port: int
    protocol: str
    lifetime: float
    peer: bytes | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What every dissector says: a request, a response or a notice. The same type for every protocol.

    `op` and `status` are of the dissector's declared sets and become labels. `match` pairs a response with its
    request (DNS id, stream id); None pairs first in, first out. `attrs` are of high cardinality and never become
    metric labels; a value may be a tuple of several. `switch` names the protocol that follows on this connection, or
    is "" to probe anew. `names` are address-to-name facts (DNS answers): a packed address, the name that was asked for,
    and for how many seconds that holds (0: it does not say). (A frozen dataclass takes 0.9 µs to make.)
    """

    kind: Kind
    op: str = ""
    status: str = ""
    error: bool = False
    match: Hashable = None
    version: str = ""
    certificate: Certificate | None = None
    attrs: Mapping[str, str | tuple[str, ...]] = {}
    expect: tuple[Expectation, ...] = ()
    switch: str | None = None
    names: tuple[tuple[bytes, str, int], ...] = ()


class Frame(NamedTuple):
    """Bytes with a time stamp, as a source read them."""

    timestamp: float
    """Unix time in seconds."""
    link: int
    """Link type (the LINKTYPE_ registry of pcap)."""
    data: bytes
    wire: int
    """Length on the wire; at least len(data)."""
    interface: str


class End(NamedTuple):
    """A socket's connection, as the socket sees it. A listener and an overflow entry have no remote end."""

    cookie: int
    transport: str
    local: bytes
    lport: int
    remote: bytes
    rport: int
    overflow: bool
    """Too much moved at once: this stands for all that found the kernel's table full, of one process."""
    key: bytes
    """What the kernel knows it by."""


class Tally(NamedTuple):
    """What one socket moved in one turn: counted in the kernel, not seen here. Sizes are IP bytes, as `count_as`."""

    end: End
    timestamp: float
    """Unix time of the last packet."""
    scope: int
    """The network namespace's inode, 0 for our own; below 0 where its inode is not known: another for each."""
    received: int
    received_size: int
    sent: int
    sent_size: int
    pid: int
    start: int
    """The process at that time, and its start as `/proc/<pid>/stat` has it. Both 0: the kernel's, or nobody's."""
    state: str
    """The state that it is in now; "" for other than TCP."""
    ended: str
    """Of a closed TCP socket: fin, reset, refused, timeout or unreachable."""
    established: bool
    """It was, in this turn, in a state that comes after a handshake."""
    initiator: int
    """1: the local end, 0: the remote one, -1: it began in another turn, or cannot be known."""
    retransmits: int
    quality: str
    """exact, listener (its listener's process, nobody has used it yet), kernel, none."""
    cgroup: int
    copy: bool
    """Received by a raw socket: of TCP and UDP another socket has counted it too."""


class Sight(NamedTuple):
    """A packet of a socket to be read, not counted: a `Tally` does that.

    The addresses in its bytes need not be the end's (translation); a listener's packet has both in its bytes only.
    """

    timestamp: float
    end: End
    scope: int
    sent: bool
    size: int
    """Of the whole packet."""
    data: bytes
    """From its network header on, as much as came up."""


class Interface(NamedTuple):
    """An open capture handle's circumstances.

    `scope` is the network namespace whose sockets talk here (0: our own). `role` is `host` (the host's own traffic),
    `pod` (the host's end of a veth, `scope` being the namespace behind it), or `file`.
    """

    name: str
    link: int
    scope: int = 0
    role: str = "host"
    mac: bytes = b""
    mtu: int = 1500


class Packet:
    """A decoded packet. Addresses are packed (4 or 16 bytes; 0 bytes where there is none).

    `size` are IP bytes (IPv4 total length, IPv6 payload length + 40; for ARP the frame without link header and
    padding). `payload` is what was captured of the transport's payload, `length` its true length. `extra` is the MSS
    option of a SYN (0: none) for TCP, type << 8 | code for ICMP and ICMPv6, the operation for ARP, the type for IGMP.
    `tunnel` names the encapsulation around this packet ("" for the outermost); `inner` is the packet inside. `quoted`
    is the packet that an ICMP error speaks of. `fragment`: this packet is a later fragment, its ports came from the
    cache. `pad` are bytes after the IP packet, `link` bytes before it. `leaving`: the frame's source is the capturing
    interface's own hardware address (the engine sets it).
    """

    __slots__ = (
        "ack",
        "dport",
        "dst",
        "extra",
        "flags",
        "fragment",
        "inner",
        "leaving",
        "length",
        "link",
        "pad",
        "payload",
        "quoted",
        "seq",
        "size",
        "sport",
        "src",
        "transport",
        "tunnel",
        "window",
    )

    transport: str
    src: bytes
    dst: bytes
    sport: int
    dport: int
    size: int
    payload: bytes
    length: int
    flags: int
    seq: int
    ack: int
    window: int
    extra: int
    tunnel: str
    inner: "Packet | None"
    quoted: "Packet | None"
    fragment: bool
    leaving: bool
    pad: int
    link: int

    def __init__(self, transport: str, src: bytes, dst: bytes, size: int) -> None:
        """Set what every packet has; the rest is 0, empty or None."""
        self.transport = transport
        self.src = src
        self.dst = dst
        self.size = size
        self.sport = self.dport = self.length = self.flags = self.seq = self.ack = 0
        self.window = self.extra = self.pad = self.link = 0
        self.payload = b""
        self.tunnel = ""
        self.inner = None
        self.quoted = None
        self.fragment = False
        self.leaving = False


class IdentityKey(NamedTuple):
    """What a ledger row knows of a process; pods get their names when the exporter renders."""

    process: str
    container: str = ""
    """The container's id: 64 hex digits, or what the runtime uses."""
    pod: str = ""
    """The pod's UID."""


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """The process that holds a socket."""

    process: str
    """The label: the executable's name, or the group that a rule gave."""
    pid: int = 0
    start: float = 0.0
    """When it started, Unix time in seconds; pid and start together name a process."""
    executable: str = ""
    command: tuple[str, ...] = ()
    uid: int = -1
    ppid: int = 0
    cgroup: str = ""
    unit: str = ""
    """The systemd unit, from the cgroup."""
    container: str = ""
    pod: str = ""
    ancestors: tuple[tuple[int, str], ...] = ()
    """(pid, name), parent first, at most four."""


# Between a worker and the identity process: MessagePack lists of the records below, one list a datagram, over a
# SOCK_SEQPACKET pair that the supervisor keeps open, so that it outlives either process.


class Ask(msgspec.Struct, array_like=True, tag="ask"):
    """Worker to identity: who owns this end? `serial` comes back in the answer.

    Identity looks at once, again at 250 ms and then every 2 s until it knows, the socket is gone, or `Gone` cancels it.
    """

    serial: int
    scope: int
    transport: str
    local: bytes
    lport: int
    remote: bytes
    rport: int
    since: float
    """Time of the end's first packet, Unix seconds: a process that started later is not the owner."""


class Hello(msgspec.Struct, array_like=True, tag="hello"):
    """Either side, first thing after its start: forget what my predecessor asked, and tell (or ask) all anew."""

    pid: int


class Watch(msgspec.Struct, array_like=True, tag="watch"):
    """Worker to identity: does the kernel still list this socket? The answer's `alive` says it; not asked again."""

    serial: int
    scope: int
    transport: str
    local: bytes
    lport: int
    remote: bytes
    rport: int


class Whose(msgspec.Struct, array_like=True, tag="whose"):
    """Worker to identity: which process is this? `serial` comes back in the answers; `Ask` has its serials of the same.

    Answered at once, and again whenever its name or place is another (exec), until the answer is final or `Gone` comes.
    """

    serial: int
    pid: int
    start: int
    """As `/proc/<pid>/stat` tells it: clock ticks from boot. Another process with this pid is not meant."""
    cgroup: int = 0
    """The id of its cgroup v2, 0 where it is not known: its place, if it is gone and nothing else tells that."""


class Gone(msgspec.Struct, array_like=True, tag="gone"):
    """Worker to identity: the connection or process behind this serial has ended; forget it."""

    serial: int


class Answer(msgspec.Struct, array_like=True, tag="answer"):
    """Identity to worker. An `Ask` or a `Whose` may be answered several times; the last one holds."""

    serial: int
    owner: Owner | None
    method: str = "none"
    """`netlink`, `procfs`, `psutil`, `ebpf` or `none`."""
    quality: str = "none"
    """`exact`, `listener`, `wildcard`, `shared` (several holders), `dead` (socket known, process gone) or `none`."""
    alive: bool = False
    """The kernel lists the socket."""
    final: bool = True
    """No better answer will come unless asked again."""


class Addresses(msgspec.Struct, array_like=True, tag="addresses"):
    """Identity to worker: a namespace's own addresses (packed) and its IPv4 broadcast addresses. Replaces the last."""

    scope: int
    local: tuple[bytes, ...]
    broadcast: tuple[bytes, ...] = ()


class Scopes(msgspec.Struct, array_like=True, tag="scopes"):
    """Identity to worker: which of our interfaces lead into another namespace. Replaces the last."""

    interfaces: tuple[tuple[str, int], ...]
    """(name, scope of what is behind it)."""


class SocketRow(msgspec.Struct, array_like=True):
    """One socket of the kernel's table: a connection that need not have sent anything yet."""

    scope: int
    transport: str
    local: bytes
    lport: int
    remote: bytes
    rport: int
    state: str
    """OpenTelemetry's state name (`established`, `close_wait` ...)."""
    owner: Owner | None
    method: str
    quality: str


class Listing(msgspec.Struct, array_like=True, tag="listing"):
    """Identity to worker: connected sockets found by a full dump (at the start, then seldom). `last` ends a dump."""

    rows: tuple[SocketRow, ...]
    last: bool


Record = Ask | Watch | Whose | Gone | Hello | Answer | Addresses | Scopes | Listing
"""All that travels between a worker and the identity process."""
