"""The table of every metric: each is defined here once.

Its Prometheus name, its documentation and its OpenTelemetry instrument derive from the line below. A family's labels
are those beside identity; which identity labels it carries is its `scope`.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product

__all__ = ["ALL", "BY_NAME", "OPEN_LABELS", "OPTIONAL_LABELS", "Family", "Kind", "Merge", "Origin", "Scope"]


class Kind(StrEnum):
    """What a family's values are."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Scope(StrEnum):
    """Which identity labels a family carries."""

    FULL = "full"
    """process, container; with Kubernetes' names also namespace, pod, workload."""
    COARSE = "coarse"
    """process on a host; namespace and workload in Kubernetes."""
    NONE = "none"


class Origin(StrEnum):
    """Which process of ours counts it."""

    WORKER = "worker"
    IDENTITY = "identity"
    EXPORTER = "exporter"


class Merge(StrEnum):
    """How the same label set of several shards becomes one value."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"


_UNITS = {"By": "bytes", "s": "seconds", "By/s": "bytes_per_second"}

OPEN_LABELS = frozenset({"interface", "server_name", "server_address", "peer_namespace", "peer_workload"})
"""Labels whose values the table does not bound: the limiter folds them into `other` beside the process."""
OPTIONAL_LABELS = frozenset({"server_address"})
"""Labels that are there only where they are asked for (`--labels`), and not where they would be empty."""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One metric family. `eq=False`: a family is itself and a cheap dictionary key."""

    otel: str
    """Name of the OpenTelemetry instrument."""
    unit: str
    """UCUM unit as OpenTelemetry writes it."""
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    scope: Scope = Scope.FULL
    buckets: tuple[float, ...] = ()
    origin: Origin = Origin.WORKER
    merge: Merge = Merge.SUM
    limit: int | None = None
    """The most rows of this family beside `other`, where that is less than the general limit."""
    closed: tuple[tuple[str, ...], ...] = ()
    """Label sets that exist at 0 from the start."""
    name: str = field(init=False)
    """Name of the Prometheus family (with `_total` or `_info`)."""
    width: int = field(init=False)
    """How many values a row takes."""
    series: int = field(init=False)
    """How many series a row is when exposed."""

    def __post_init__(self) -> None:
        """Derive what follows from the rest."""
        object.__setattr__(self, "name", _translate(self.otel, self.unit, self.kind))
        histogram = self.kind is Kind.HISTOGRAM
        object.__setattr__(self, "width", len(self.buckets) + 2 if histogram else 1)
        object.__setattr__(self, "series", len(self.buckets) + 3 if histogram else 1)

    @property
    def unit_name(self) -> str:
        """The unit as OpenMetrics writes it; empty where there is none."""
        return _UNITS.get(self.unit, "")


def _translate(otel: str, unit: str, kind: Kind) -> str:
    """Give the Prometheus name by OpenTelemetry's rules: dots, then the unit, then the suffix of the type."""
    name = otel.replace(".", "_")
    word = _UNITS.get(unit, "ratio" if unit == "1" and kind is Kind.GAUGE else "")
    if word and not name.endswith(word):
        name = f"{name}_{word}"
    suffix = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(kind, "")
    return name + suffix


_HANDSHAKE_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
_REQUEST_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 30.0)
_FLOW = ("protocol", "transport")

# What processes do ------------------------------------------------------------------------------------------------

RECEIVE_BYTES = Family(
    "netproc.receive", "By", Kind.COUNTER, "IP bytes that the process received, headers included.", _FLOW
)
TRANSMIT_BYTES = Family(
    "netproc.transmit", "By", Kind.COUNTER, "IP bytes that the process sent, headers included.", _FLOW
)
RECEIVE_PACKETS = Family(
    "netproc.receive.packets", "{packet}", Kind.COUNTER, "IP packets that the process received.", _FLOW
)
TRANSMIT_PACKETS = Family(
    "netproc.transmit.packets", "{packet}", Kind.COUNTER, "IP packets that the process sent.", _FLOW
)
RECEIVE_RATE = Family(
    "netproc.receive.bytes_per_second",
    "By/s",
    Kind.GAUGE,
    "Exponentially decaying average of received bytes a second, for people; the counters are the truth.",
    _FLOW,
)
TRANSMIT_RATE = Family(
    "netproc.transmit.bytes_per_second",
    "By/s",
    Kind.GAUGE,
    "Exponentially decaying average of sent bytes a second, for people; the counters are the truth.",
    _FLOW,
)
PEER_RECEIVE_BYTES = Family(
    "netproc.peer.receive",
    "By",
    Kind.COUNTER,
    "IP bytes that the process received, by where the other end is (unknown: a listener's, before there is one).",
    ("remote_scope", "server_address"),
)
PEER_TRANSMIT_BYTES = Family(
    "netproc.peer.transmit",
    "By",
    Kind.COUNTER,
    "IP bytes that the process sent, by where the other end is (unknown: a listener's, before there is one).",
    ("remote_scope", "server_address"),
)
CONNECTIONS = Family(
    "netproc.connections",
    "{connection}",
    Kind.GAUGE,
    "Connections that the process has now, by state.",
    ("protocol", "transport", "state"),
)
CONNECTIONS_BY_STALENESS = Family(
    "netproc.connections.by_staleness",
    "{connection}",
    Kind.GAUGE,
    "Connections by how near they are to their idle timeout: fresh, stale from 75 %, critical from 90 %.",
    ("transport", "staleness"),
)
CONNECTIONS_OPENED = Family(
    "netproc.connections.opened",
    "{connection}",
    Kind.COUNTER,
    "Connections whose beginning was seen, by the end that began.",
    ("protocol", "transport", "initiator"),
)
CONNECTIONS_CLOSED = Family(
    "netproc.connections.closed",
    "{connection}",
    Kind.COUNTER,
    "Connections that ended, by reason: fin, reset, timeout, replaced, evicted.",
    ("protocol", "transport", "reason"),
)
CONNECTIONS_FAILED = Family(
    "netproc.connections.failed",
    "{connection}",
    Kind.COUNTER,
    "Attempts that never became a connection, by reason: refused, timeout, unreachable.",
    ("transport", "reason"),
)
HANDSHAKE_DURATION = Family(
    "netproc.handshake.duration",
    "s",
    Kind.HISTOGRAM,
    "Time from a handshake's first packet to its last (tcp, tls, dtls, quic).",
    ("handshake",),
    Scope.COARSE,
    _HANDSHAKE_BUCKETS,
)
REQUESTS = Family(
    "netproc.requests",
    "{request}",
    Kind.COUNTER,
    "Requests seen to their end, by what was asked and what came of it.",
    ("protocol", "role", "operation", "status"),
)
REQUEST_ERRORS = Family(
    "netproc.request.errors",
    "{request}",
    Kind.COUNTER,
    "Requests that were answered with an error, as the protocol defines errors.",
    ("protocol", "role"),
)
UNANSWERED_REQUESTS = Family(
    "netproc.unanswered.requests",
    "{request}",
    Kind.COUNTER,
    "Requests without an answer when their time was up or their connection ended.",
    ("protocol", "role"),
)
REQUEST_DURATION = Family(
    "netproc.request.duration",
    "s",
    Kind.HISTOGRAM,
    "Time from a request's first byte to its response's first byte.",
    ("protocol", "role"),
    Scope.COARSE,
    _REQUEST_BUCKETS,
)
PROTOCOL_VERSIONS = Family(
    "netproc.protocol.versions",
    "{connection}",
    Kind.COUNTER,
    "Connections by the protocol version that their ends agreed on.",
    ("protocol", "version"),
)
CERTIFICATE_EXPIRY = Family(
    "netproc.certificate.expiry.timestamp",
    "s",
    Kind.GAUGE,
    "When the certificate that a server showed expires (TLS up to 1.2), Unix time.",
    ("server_name",),
    merge=Merge.MIN,
    limit=50,
)
RETRANSMITTED_SEGMENTS = Family(
    "netproc.retransmitted.segments",
    "{segment}",
    Kind.COUNTER,
    "TCP segments that carried bytes already sent.",
)

# What we see of ourselves -----------------------------------------------------------------------------------------

_NONE = Scope.NONE
_ONE: tuple[tuple[str, ...], ...] = ((),)

CAPTURE_UP = Family(
    "netproc.capture.up",
    "{capture}",
    Kind.GAUGE,
    "1 while packets can be seen on the interface.",
    ("interface", "source"),
    _NONE,
    merge=Merge.MIN,
)
CAPTURED_PACKETS = Family(
    "netproc.captured.packets",
    "{packet}",
    Kind.COUNTER,
    "IP packets seen on the interface.",
    ("interface", "direction"),
    _NONE,
)
CAPTURED_BYTES = Family(
    "netproc.captured",
    "By",
    Kind.COUNTER,
    "IP bytes seen on the interface; what the sums over processes are compared with.",
    ("interface", "direction"),
    _NONE,
)
LOST_PACKETS = Family(
    "netproc.lost.packets",
    "{packet}",
    Kind.COUNTER,
    "Packets that the kernel or the interface dropped before we saw them.",
    ("interface", "source"),
    _NONE,
)
LOST_EVENTS = Family(
    "netproc.lost.events",
    "{event}",
    Kind.COUNTER,
    "Our own messages that found a full queue, by queue.",
    ("source",),
    _NONE,
    closed=(("identity",), ("events",), ("ebpf",), ("unread",)),
)
IGNORED_PACKETS = Family(
    "netproc.ignored.packets",
    "{packet}",
    Kind.COUNTER,
    "Frames seen and not counted as IP packets, by reason.",
    ("interface", "reason"),
    _NONE,
)
IGNORED_BYTES = Family(
    "netproc.ignored",
    "By",
    Kind.COUNTER,
    "Bytes of ignored frames, and padding, with their link headers, by reason.",
    ("interface", "reason"),
    _NONE,
)
ESTIMATED_SEGMENTS = Family(
    "netproc.estimated.segments",
    "{segment}",
    Kind.COUNTER,
    "Segments on the wire that were estimated from a larger packet of segmentation offload.",
    (),
    _NONE,
    closed=_ONE,
)
INTERFACE_RECEIVE_BYTES = Family(
    "netproc.interface.receive",
    "By",
    Kind.COUNTER,
    "The kernel's own count of bytes that the interface received.",
    ("interface",),
    _NONE,
    merge=Merge.MAX,
)
INTERFACE_TRANSMIT_BYTES = Family(
    "netproc.interface.transmit",
    "By",
    Kind.COUNTER,
    "The kernel's own count of bytes that the interface sent.",
    ("interface",),
    _NONE,
    merge=Merge.MAX,
)
INTERFACE_RECEIVE_PACKETS = Family(
    "netproc.interface.receive.packets",
    "{packet}",
    Kind.COUNTER,
    "The kernel's own count of packets that the interface received.",
    ("interface",),
    _NONE,
    merge=Merge.MAX,
)
INTERFACE_TRANSMIT_PACKETS = Family(
    "netproc.interface.transmit.packets",
    "{packet}",
    Kind.COUNTER,
    "The kernel's own count of packets that the interface sent.",
    ("interface",),
    _NONE,
    merge=Merge.MAX,
)
TABLE_CONNECTIONS = Family(
    "netproc.table.connections",
    "{connection}",
    Kind.GAUGE,
    "Connections in the table, both ends of a local one as one.",
    (),
    _NONE,
    closed=_ONE,
)
TABLE_LIMIT = Family(
    "netproc.table.limit",
    "{connection}",
    Kind.GAUGE,
    "The most connections that the table holds.",
    (),
    _NONE,
    closed=_ONE,
)
EVICTIONS = Family(
    "netproc.evictions",
    "{entry}",
    Kind.COUNTER,
    "Entries given up before their time because a table was full, by table.",
    ("reason",),
    _NONE,
    closed=(
        ("table_full",),
        ("reassembly",),
        ("fragments",),
        ("requests",),
        ("expectations",),
        ("connection_ids",),
        ("tombstones",),
        ("kernel_table",),
        ("new_connections",),
        ("processes",),
        ("names",),
    ),
)
UNLISTED_TRANSITIONS = Family(
    "netproc.unlisted.transitions",
    "{transition}",
    Kind.COUNTER,
    "Packets for which the state machine lists no transition; the state stayed.",
    ("transport",),
    _NONE,
    closed=(("tcp",),),
)
ATTRIBUTIONS = Family(
    "netproc.attributions",
    "{connection}",
    Kind.COUNTER,
    "Connection ends by how, and how surely, their process was found: coverage by connections.",
    ("method", "quality"),
    _NONE,
    closed=(
        *product(
            ("netlink", "procfs", "psutil", "ebpf"), ("exact", "listener", "wildcard", "shared", "dead")
        ),
        ("none", "none"),
    ),
)
DISSECTOR_FAULTS = Family(
    "netproc.dissector.faults",
    "{connection}",
    Kind.COUNTER,
    "Connections whose inspection ended because their dissector failed or its input was not the protocol.",
    ("protocol",),
    _NONE,
)
WORKER_ERRORS = Family(
    "netproc.worker.errors",
    "{packet}",
    Kind.COUNTER,
    "Packets that could not be read because of a defect of ours; please report the worker's log line.",
    (),
    _NONE,
    closed=_ONE,
)
SERIES = Family(
    "netproc.series",
    "{series}",
    Kind.GAUGE,
    "Series that the workers' ledgers hold.",
    (),
    _NONE,
    closed=_ONE,
)
SERIES_LIMIT = Family(
    "netproc.series.limit",
    "{series}",
    Kind.GAUGE,
    "The most series that the workers' ledgers hold beside those of `other`.",
    (),
    _NONE,
    closed=_ONE,
)
IDENTITY_QUESTIONS = Family(
    "netproc.identity.questions",
    "{question}",
    Kind.COUNTER,
    "Owners that the workers asked for.",
    (),
    _NONE,
    origin=Origin.IDENTITY,
    closed=_ONE,
)
IDENTITY_PENDING = Family(
    "netproc.identity.pending",
    "{question}",
    Kind.GAUGE,
    "Owners that are asked for and not found yet.",
    (),
    _NONE,
    origin=Origin.IDENTITY,
    closed=_ONE,
)
IDENTITY_SOCKETS = Family(
    "netproc.identity.sockets",
    "{socket}",
    Kind.GAUGE,
    "Sockets in the last full listing.",
    (),
    _NONE,
    origin=Origin.IDENTITY,
    closed=_ONE,
)
IDENTITY_SCANS = Family(
    "netproc.identity.scans",
    "{scan}",
    Kind.COUNTER,
    "Readings of the kernel's lists: sockets or descriptors.",
    ("kind",),
    _NONE,
    origin=Origin.IDENTITY,
    closed=(("sockets",), ("descriptors",)),
)
IDENTITY_SCAN_SECONDS = Family(
    "netproc.identity.scan",
    "s",
    Kind.COUNTER,
    "Time spent reading the kernel's lists.",
    ("kind",),
    _NONE,
    origin=Origin.IDENTITY,
    closed=(("sockets",), ("descriptors",)),
)
IDENTITY_ERRORS = Family(
    "netproc.identity.errors",
    "{error}",
    Kind.COUNTER,
    "Readings that failed, by reason.",
    ("reason",),
    _NONE,
    origin=Origin.IDENTITY,
)
BUILD = Family(
    "netproc.build",
    "{build}",
    Kind.INFO,
    "What runs here.",
    ("version", "python_version"),
    _NONE,
    origin=Origin.EXPORTER,
)
WORKER_UP = Family(
    "netproc.worker.up",
    "{worker}",
    Kind.GAUGE,
    "1 while the worker publishes its ledger.",
    ("worker",),
    _NONE,
    origin=Origin.EXPORTER,
)
_RESTARTS = (("exit",), ("signal",))
WORKER_RESTARTS = Family(
    "netproc.worker.restarts",
    "{restart}",
    Kind.COUNTER,
    "Workers that ended and were started again.",
    ("reason",),
    _NONE,
    origin=Origin.EXPORTER,
    closed=_RESTARTS,
)
IDENTITY_RESTARTS = Family(
    "netproc.identity.restarts",
    "{restart}",
    Kind.COUNTER,
    "Identity processes that ended and were started again.",
    ("reason",),
    _NONE,
    origin=Origin.EXPORTER,
    closed=_RESTARTS,
)
EXPORTER_RESTARTS = Family(
    "netproc.exporter.restarts",
    "{restart}",
    Kind.COUNTER,
    "Exporter processes (which answer this request) that ended and were started again.",
    ("reason",),
    _NONE,
    origin=Origin.EXPORTER,
    closed=_RESTARTS,
)
DEGRADED = Family(
    "netproc.degraded",
    "{component}",
    Kind.INFO,
    "Something works less well than it could on this machine; the reason says why.",
    ("component", "reason"),
    _NONE,
    origin=Origin.EXPORTER,
    merge=Merge.MAX,
)
SCRAPE_DURATION = Family(
    "netproc.scrape.duration",
    "s",
    Kind.GAUGE,
    "Time that the last answer to a scrape took to make.",
    (),
    _NONE,
    origin=Origin.EXPORTER,
)

_ABOVE = tuple(value for value in tuple(globals().values()) if isinstance(value, Family))

SERIES_OVERFLOW = Family(
    "netproc.series.overflow",
    "{series}",
    Kind.COUNTER,
    'Times that a new label set found its family, or the ledger, full and was counted as process="other".',
    ("family",),
    _NONE,
    closed=tuple((one.name,) for one in _ABOVE if one.scope is not Scope.NONE),
)

ALL: tuple[Family, ...] = (*_ABOVE, SERIES_OVERFLOW)
"""Every family, in the order in which it is documented."""

BY_NAME: dict[str, Family] = {one.name: one for one in ALL}

RATES: dict[Family, Family] = {RECEIVE_BYTES: RECEIVE_RATE, TRANSMIT_BYTES: TRANSMIT_RATE}
"""The rate gauge that the ledger keeps beside a byte counter."""
