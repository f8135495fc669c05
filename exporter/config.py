"""The configuration, declared once: flags, environment variables, YAML keys, defaults and documentation derive from it.

A field `snaplen` of the section `capture` is the flag `--capture.snaplen`, the variable `NETPROC_CAPTURE_SNAPLEN` and
the YAML key `capture: {snaplen: ...}`; an underscore in a field is a hyphen in the flag. Times are seconds, sizes
bytes. This module declares; `configload.py` reads. `title` of a Meta is what error messages call the expected value.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

__all__ = ["Capture", "Config", "GroupRule", "dump", "load"]

Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
Count = Annotated[int, Meta(ge=1, le=100_000_000)]
Entries = Annotated[int, Meta(ge=64, le=4_194_304)]
Address = Annotated[
    str,
    Meta(
        pattern=r"^(\[[0-9A-Fa-f:.]+(%[\w.-]+)?\]|[^\[\]:/\s]*):[0-9]{1,5}$",
        title=":port, host:port or [IPv6]:port",
    ),
]

Label = Annotated[
    str,
    Meta(pattern=r"^server_address(:top=[1-9][0-9]{0,3})?$", title="server_address or server_address:top=N"),
]
Network = Annotated[str, Meta(pattern=r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$", title="ADDRESS/LENGTH")]


class Capture(Struct, forbid_unknown_fields=True, frozen=True):
    """Where packets come from. All but source and count_as is for packets that are captured (pcap)."""

    source: Annotated[
        Literal["auto", "ebpf", "pcap"],
        Meta(
            description="how traffic is seen: counted in the kernel for each socket, or captured on interfaces"
        ),
    ] = "auto"
    interface: Annotated[
        tuple[str, ...], Meta(description="interface to capture on, glob allowed; default: all that are up")
    ] = ()
    exclude_interface: Annotated[
        tuple[str, ...], Meta(description="interface to leave out, glob allowed")
    ] = ()
    loopback: Annotated[bool, Meta(description="capture on the loopback interface too")] = True
    filter: Annotated[str, Meta(description="BPF filter expression (pcap-filter syntax)")] = ""
    local_network: Annotated[
        tuple[Network, ...],
        Meta(description="network whose addresses count as ours, beside those of the interfaces"),
    ] = ()
    snaplen: Annotated[int, Meta(ge=128, le=262_144, description="bytes kept of a packet")] = 16_384
    buffer_size: Annotated[
        int,
        Meta(
            ge=262_144, le=2_147_483_648, description="ring memory of a worker, divided over its interfaces"
        ),
    ] = 33_554_432
    offload: Annotated[
        Literal["auto", "off"],
        Meta(
            description="count in the kernel what need not be read of captured packets, where it can; not with a filter"
        ),
    ] = "auto"
    count_as: Annotated[
        Literal["wire", "stack"],
        Meta(
            description="count segmentation-offloaded packets as on the wire, or as the stack hands them over"
        ),
    ] = "wire"


class Ebpf(Struct, forbid_unknown_fields=True, frozen=True):
    """Memory in the kernel where it counts (capture.source ebpf); locked, and there from the start."""

    flows: Annotated[
        Entries, Meta(description="connections of a worker that may move at a time; 496 bytes each")
    ] = 32_768
    overflow: Annotated[
        Count,
        Meta(description="processes of a worker whose further ones are counted together; 496 bytes each"),
    ] = 4096
    ring_size: Annotated[
        int,
        Meta(
            ge=65_536,
            le=1_073_741_824,
            description="bytes of a worker's ring of packets to inspect; made a power of two",
        ),
    ] = 8_388_608
    budgets: Annotated[
        Entries,
        Meta(
            description="connections of all workers of which is known how much was inspected; 128 bytes each"
        ),
    ] = 65_536


class Decode(Struct, forbid_unknown_fields=True, frozen=True):
    """How packets are read."""

    tunnels: Annotated[
        Literal["auto", "always", "never"],
        Meta(description="follow connections inside of tunnels; auto: only in replayed files"),
    ] = "auto"
    fragments: Annotated[Count, Meta(description="fragmented datagrams held at a time")] = 1024


class Timeouts(Struct, forbid_unknown_fields=True, frozen=True):
    """After how many idle seconds a connection ends whose socket is gone or cannot be seen."""

    protocol: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[a-z0-9_]+=[0-9]+(\.[0-9]+)?$", title="PROTOCOL=SECONDS")], ...],
        Meta(description="idle timeout of an application protocol, `ssh=1800`, instead of its own"),
    ] = ()
    tcp_active: Annotated[Seconds, Meta(description="established and active in the last minute")] = 600
    tcp_idle: Seconds = 300
    tcp_opening: Seconds = 60
    tcp_closing: Seconds = 60
    tcp_time_wait: Seconds = 30
    tcp_closed: Seconds = 5
    udp: Seconds = 60
    quic_active: Seconds = 600
    quic_idle: Seconds = 300
    quic_opening: Seconds = 60
    quic_draining: Seconds = 10
    quic_closed: Seconds = 1
    icmp: Seconds = 60
    other: Seconds = 60
    tombstone: Annotated[
        Seconds, Meta(description="how long late segments of an ended connection open no new one")
    ] = 30
    request: Annotated[Seconds, Meta(description="after which a request counts as unanswered")] = 30


class Flow(Struct, forbid_unknown_fields=True, frozen=True):
    """The connection table."""

    limit: Annotated[Count, Meta(description="connections of all workers together")] = 65_536
    publish_interval: Seconds = 1
    sweep_interval: Seconds = 5
    rate_window: Annotated[Seconds, Meta(description="time constant of the decaying rates")] = 10
    settle: Annotated[Seconds, Meta(description="how long counts wait for their owner and protocol")] = 1
    timeouts: Timeouts = field(default_factory=Timeouts)


class Dpi(Struct, forbid_unknown_fields=True, frozen=True):
    """Reading of application protocols."""

    enabled: Annotated[bool, Meta(description="inspect payloads at all")] = True
    protocols: Annotated[
        tuple[str, ...],
        Meta(description="protocols to inspect; with a leading -, all but these; default: all"),
    ] = ()
    packets: Annotated[
        Count, Meta(description="payload packets looked at until a connection counts as unknown")
    ] = 32
    bytes: Annotated[Count, Meta(description="payload bytes of a side kept for reassembly and probing")] = (
        65_536
    )
    time: Annotated[
        Seconds, Meta(description="after its first payload, until a connection counts as unknown")
    ] = 60


class GroupRule(Struct, forbid_unknown_fields=True, frozen=True):
    """Renames processes: the first rule whose given patterns all match decides. `{0}` ... are the groups matched."""

    name: str
    executable: str = ""
    command: str = ""
    unit: str = ""


class Identity(Struct, forbid_unknown_fields=True, frozen=True):
    """Who owns a socket."""

    method: Annotated[
        Literal["auto", "ebpf", "netlink", "procfs", "psutil"],
        Meta(description="how owners are found; auto: the best there is"),
    ] = "auto"
    interval: Annotated[Seconds, Meta(description="how often unresolved owners are asked for again")] = 2
    namespaces: Annotated[bool, Meta(description="look into other network namespaces too")] = True
    groups: Annotated[tuple[GroupRule, ...], Meta(description="rules that group processes (YAML only)")] = ()
    proc: Annotated[str, Meta(description="where procfs is mounted")] = "/proc"


class Metrics(Struct, forbid_unknown_fields=True, frozen=True):
    """What is exported."""

    series_limit: Annotated[Count, Meta(description="series in all")] = 20_000
    family_limit: Annotated[Count, Meta(description="series of one family")] = 5_000
    expiry: Annotated[
        Seconds, Meta(description="idle time after which a series without connections is dropped")
    ] = 3600
    rates: Annotated[bool, Meta(description="export the decaying byte rates")] = True
    packets: Annotated[bool, Meta(description="export packet counters per process too")] = False
    created: Annotated[bool, Meta(description="export _created series in OpenMetrics")] = False


class Own(Struct, forbid_unknown_fields=True, frozen=True):
    """The exporter's own traffic (section `self`)."""

    traffic: Annotated[bool, Meta(description="inspect our own traffic as any other")] = False


class Web(Struct, forbid_unknown_fields=True, frozen=True):
    """The HTTP server; names as in exporter-toolkit."""

    listen_address: Annotated[
        tuple[Address, ...],
        Meta(min_length=1, description="address to listen on: `:port`, `host:port` or `[v6]:port`"),
    ] = (":10187",)
    telemetry_path: Annotated[
        str,
        Meta(pattern=r"^/[\x21-\x7e]+$", title="a path such as /metrics", description="path of the metrics"),
    ] = "/metrics"
    config_file: Annotated[
        str, Meta(description="TLS and authentication, in exporter-toolkit's web.config format")
    ] = ""
    max_requests: Annotated[Count, Meta(description="scrapes served at the same time")] = 40


class Log(Struct, forbid_unknown_fields=True, frozen=True):
    """Log lines on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least important lines to write")
    ] = "info"
    format: Annotated[Literal["auto", "console", "json"], Meta(description="auto: console on a terminal")] = (
        "auto"
    )


class Process(Struct, forbid_unknown_fields=True, frozen=True):
    """How our own processes run (section `process`)."""

    user: Annotated[str, Meta(description="user of the unprivileged processes: a name or a number")] = (
        "nobody"
    )
    sandbox: Annotated[
        Literal["auto", "off", "strict"],
        Meta(description="auto: as much as works; strict: all of it, or do not start"),
    ] = "auto"


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """All settings."""

    workers: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | Literal["auto"],
        Meta(description="packet workers; auto: min(4, cores)"),
    ] = 1
    attributes: Annotated[
        tuple[str, ...],
        Meta(
            description="attributes of messages to keep: names, safe or all; with a leading -, not it; "
            "default: safe, those that can hold no secret; in replay all (netproc-exporter attributes lists them)"
        ),
    ] = ()
    labels: Annotated[
        tuple[Label, ...],
        Meta(
            description="label to add to netproc_peer_*: server_address, the name of the server that a process talks "
            "to, `server_address:top=50` for at most so many names; further ones are `other`"
        ),
    ] = ()
    capture: Capture = field(default_factory=Capture)
    ebpf: Ebpf = field(default_factory=Ebpf)
    decode: Decode = field(default_factory=Decode)
    flow: Flow = field(default_factory=Flow)
    dpi: Dpi = field(default_factory=Dpi)
    identity: Identity = field(default_factory=Identity)
    metrics: Metrics = field(default_factory=Metrics)
    own: Own = field(default_factory=Own, name="self")
    web: Web = field(default_factory=Web)
    log: Log = field(default_factory=Log)
    process: Process = field(default_factory=Process)


def dump(config: Config) -> bytes:
    """Give the configuration as JSON, as the supervisor hands it to its children."""
    return msgspec.json.encode(config)


def load(data: bytes) -> Config:
    """Read what `dump` wrote."""
    return msgspec.json.decode(data, type=Config)
