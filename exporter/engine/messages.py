"""What the engine does with what dissectors say: attributes, versions, certificates, requests and their answers."""

import msgspec

from exporter import metrics as m
from exporter.dissector import Dissector
from exporter.engine.context import Context
from exporter.engine.settlement import Settlement, account
from exporter.flow import quic
from exporter.flow.connection import ALL, Connection, Event
from exporter.flow.exchange import Exchange, Outcome
from exporter.flow.inspector import Inspector, Said
from exporter.model import Certificate, Kind, Message

__all__ = ["Messages"]

HANDSHAKES = frozenset({"tls", "dtls", "quic"})
ESTABLISHED = "established"
"""The notice by which a dissector of `HANDSHAKES` says that its handshake is done."""

LOOKUPS = frozenset({"dns"})
"""Protocols whose answers name addresses, and whose server is one that the host was told to trust."""
SERVER = "server.address"

MAX_ATTRIBUTES = 24
MAX_VALUES = 16


class Messages:
    """Take messages of connections; what needs an owner's name waits in `Connection.pending`."""

    def __init__(self, context: Context, settlement: Settlement) -> None:
        """Write through this context; `settlement` hears of protocols."""
        self._c = context
        self._settlement = settlement
        # Thousands of events may wait for a name: they share what can be shared, and keep no message.
        self._outcome, self._handshake = context.accounts.outcome, context.accounts.handshake
        self._versions: dict[tuple[str, str], Event] = {}
        self._labels: dict[tuple[str, str, str], tuple[str, str, str]] = {}

    def take(self, conn: Connection, now: float, said: list[Said]) -> None:
        """Take what was said: where one side's bytes told what the other's were before, by both sides."""
        inspector = conn.inspector
        if inspector is None or inspector.dissector is None:
            return
        if inspector.named and not conn.told and self._c.names is not None:
            self._settlement.told(conn, inspector.named)  # before the protocol's name, which may settle it
        for dissector, message, side in said:
            if dissector.name != conn.protocol:
                self._speaks(conn, inspector, dissector)
            if message.expect:
                self._expect(conn, now, message)
            self._one(conn, inspector, (side, now), message)
        if inspector.dissector.name != conn.protocol:
            self._speaks(conn, inspector, inspector.dissector)

    def _speaks(self, conn: Connection, inspector: Inspector, dissector: Dissector) -> None:
        """Note a new protocol; requests of the one before get no answers any more."""
        if conn.protocol and inspector.exchange is not None:
            self.outcomes(conn, inspector.exchange.close())
            inspector.exchange = None
        inspector.first = 0.0
        self._settlement.recognise(conn, dissector.name)

    def _one(self, conn: Connection, inspector: Inspector, at: tuple[int, float], message: Message) -> None:
        side, now = at
        if not inspector.first:
            inspector.first = now
        if message.attrs and self._c.sink is not None:  # nobody else reads them
            _merge(conn, message)
        if message.version:
            self._agreed(conn, (conn.protocol, message.version))
        if message.certificate is not None:
            self._certificate(conn, inspector.named, message.certificate)
        if message.kind is Kind.NOTICE:
            self._notice(conn, inspector, now, message)
        else:
            if inspector.exchange is None:
                inspector.exchange = Exchange()
            ended = inspector.exchange.add(now, side, message)
            if ended:
                self.outcomes(conn, ended)
                if message.names:
                    self._learn(conn, now, ended)
            if not inspector.exchange:
                inspector.exchange = None  # between two requests there is nothing to keep
        if self._c.sink is not None:
            self._c.sink.message(conn, now, side, self._addressed(conn, message))

    def _learn(self, conn: Connection, now: float, ended: list[Outcome]) -> None:
        """Note the names of addresses: only of answers to what an end of ours was seen to ask for."""
        names = self._c.names
        if names is None or conn.protocol not in LOOKUPS:
            return
        for outcome in ended:
            if outcome.response is not None and conn.local >> outcome.side & 1:
                evicted = names.learn(now, conn.scope, outcome.response.names)
                if evicted:
                    self._c.ledger.values[self._c.ledger.slot(m.EVICTIONS, None, ("names",))] += evicted

    def _addressed(self, conn: Connection, message: Message) -> Message:
        """Give a request with the server's name, where it tells none of its own and that is known otherwise."""
        if (
            message.kind is not Kind.REQUEST
            or SERVER in message.attrs
            or not self._c.inspection.keeps(SERVER)
        ):
            return message
        name = self._settlement.server(conn)
        return msgspec.structs.replace(message, attrs={**message.attrs, SERVER: name}) if name else message

    def close(self, conn: Connection) -> None:
        """Complete the attributes of a connection that ends."""
        if conn.server and self._c.sink is not None and self._c.inspection.keeps(SERVER):
            conn.attrs = conn.attrs or {}
            conn.attrs.setdefault(SERVER, conn.server)

    def outcomes(self, conn: Connection, outcomes: list[Outcome]) -> None:
        """Count requests that have come to their end."""
        dissector = self._c.inspection.by_name.get(conn.protocol)
        if dissector is None:
            return
        for outcome in outcomes:
            op = outcome.op if outcome.op in dissector.operations else "other"
            known = outcome.response is None or outcome.status in dissector.statuses
            labels = (dissector.name, op, outcome.status if known else "other")
            labels = self._labels.setdefault(labels, labels)
            self.later(conn, (self._outcome, ALL, (labels, (outcome.side, outcome.error, outcome.duration))))

    def _agreed(self, conn: Connection, version: tuple[str, str]) -> None:
        """Count a connection by its protocol's version, once: many protocols say it with every message."""
        event = self._versions.get(version)
        if event is None:
            event = (self._c.accounts.version, ALL, version)
            if len(self._versions) < MAX_VERSIONS:
                self._versions[version] = event
        if event != conn.version:
            conn.version = event
            self.later(conn, event)

    def later(self, conn: Connection, event: Event) -> None:
        """Account for something as soon as the views' names are known: now, if they are."""
        if conn.settled:
            account(conn, event)
        elif conn.pending is None:
            conn.pending = [event]
        elif len(conn.pending) < MAX_PENDING:
            conn.pending.append(event)
        else:
            self._c.ledger.values[self._c.ledger.slot(m.EVICTIONS, None, ("requests",))] += 1

    def _notice(self, conn: Connection, inspector: Inspector, now: float, message: Message) -> None:
        name = conn.protocol
        if message.op == ESTABLISHED and name in HANDSHAKES:
            self.later(conn, (self._handshake, ALL, (name, now - inspector.first)))
        if name == "quic":
            for view in conn.views:
                view.state = quic.step(view.state, message.op)

    def _expect(self, conn: Connection, now: float, message: Message) -> None:
        evicted = self._c.expected.announce(conn, now, message.expect)
        if evicted:
            self._c.ledger.values[self._c.ledger.slot(m.EVICTIONS, None, ("expectations",))] += evicted

    def _certificate(self, conn: Connection, asked: str, certificate: Certificate) -> None:
        name = asked or (certificate.names[0] if certificate.names else certificate.subject)
        self.later(conn, (self._c.accounts.certificate, ALL, (name, certificate.not_after)))


MAX_PENDING = 1024
MAX_VERSIONS = 256


def _merge(conn: Connection, message: Message) -> None:
    """Keep a connection's attributes: the first value, and bounded lists of further ones."""
    attrs = conn.attrs
    if attrs is None:
        attrs = conn.attrs = {}
    for key, said in message.attrs.items():
        for value in said if isinstance(said, tuple) else (said,):
            old = attrs.get(key)
            if old is None:
                if len(attrs) < MAX_ATTRIBUTES:
                    attrs[key] = value
            elif isinstance(old, list):
                if len(old) < MAX_VALUES and value not in old:
                    old.append(value)
            elif old != value:
                attrs[key] = [old, value]
