"""What the engine's parts share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from exporter.config import Config
from exporter.engine.accounts import Accounts
from exporter.engine.owners import Owners
from exporter.engine.places import Places
from exporter.flow.connection import View
from exporter.flow.expected import Expected
from exporter.flow.inspection import Inspection
from exporter.flow.names import Names
from exporter.flow.quic import Routes
from exporter.flow.socket import Socket
from exporter.flow.table import Table
from exporter.flow.timeouts import Clock
from exporter.ledger import Ledger
from exporter.ports import Sink

__all__ = ["Context"]


@dataclass(slots=True)
class Context:
    """One worker's state: settings, ledger, table, owners, addresses, dissectors, and who is told."""

    config: Config
    ledger: Ledger
    accounts: Accounts
    table: Table
    owners: Owners
    places: Places
    inspection: Inspection
    clock: Clock
    sink: Sink | None
    names: Names | None = None
    """What addresses were looked up by; None: nobody asks."""
    sockets: dict[bytes, Socket] = field(default_factory=dict)
    """What the kernel counts, by what it knows it by; until the last trace of its connection is gone."""
    routes: Routes = field(default_factory=Routes)
    """QUIC's connection ids, by which a connection is known on other ends."""
    changed: Callable[[], bool] = lambda: True
    """Tells, once for each tick, whether a connection's numbers or state may have changed since the last."""
    view: type[View] = View
    """What listed connections have: the ends that the source knows."""
    expected: Expected = field(default_factory=Expected)
