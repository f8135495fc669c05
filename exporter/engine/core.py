"""The engine: frames in, ledger and messages out. Pure: the time is an argument, and so is everything that is known.

A source calls the function that `attach` gives for each frame of an interface (`Engine.frame` for files), or hands to
`sockets` what the kernel counted. Whoever drives calls `tick` each second, `reap` four times a second, and hands over
what the identity process says. The slow path below is right for every packet; `fastpath` is a short cut through it.
"""

from collections.abc import Callable, Iterable
from struct import Struct

from exporter import metrics as m
from exporter.attributes import select
from exporter.config import Config
from exporter.decode.frame import Decoder
from exporter.dissector import Dissector, known_attributes
from exporter.engine import fastpath
from exporter.engine.accounts import Accounts
from exporter.engine.context import Context
from exporter.engine.kernel import Sockets
from exporter.engine.kernel_lives import Lives
from exporter.engine.kernel_reading import Inspect, Reading
from exporter.engine.labels import Top, wanted
from exporter.engine.lifecycle import Lifecycle
from exporter.engine.messages import Messages
from exporter.engine.migration import QUIC, Migration
from exporter.engine.offloaded import Kernel, Offloaded
from exporter.engine.owners import Owners
from exporter.engine.places import Places
from exporter.engine.port import ETHERNET, RAW, Port
from exporter.engine.segments import Segments
from exporter.engine.settlement import Settlement
from exporter.engine.sweep import Sweep
from exporter.errors import UndecodableError
from exporter.flow.connection import EVERYTHING, Connection, Half
from exporter.flow.inspection import Budget, Inspection
from exporter.flow.names import Names
from exporter.flow.table import Table, shrink
from exporter.flow.timeouts import Clock
from exporter.ledger import Ledger
from exporter.model import Answer, Frame, Interface, Listing, Packet
from exporter.ports import Sink

__all__ = ["Engine"]

PORTS = Struct(">HH").pack
MID_STREAM = 5.0
"""For so many seconds after the start, what is found in mid-stream began before us."""


class Engine:
    """One shard: its connections, its ledger."""

    def __init__(
        self,
        config: Config,
        dissectors: Iterable[Dissector],
        ledger: Ledger,
        sink: Sink | None,
        *,
        share: int = 1,
    ) -> None:
        """Count into `ledger`; tell `sink`, if there is one, of every message and ended connection.

        `share`: of how many workers this is one; each has its part of the table.
        """
        known = tuple(dissectors)
        keep = select(config.attributes, known_attributes(known)) if sink is not None else None
        budget = Budget(config.dpi.packets, config.dpi.bytes, config.dpi.time)
        self._faults = m.DISSECTOR_FAULTS
        top = wanted(config, "server_address")
        servers = Top(max(1, top // share), config.metrics.expiry) if top else None
        accounts = Accounts(ledger, packets=config.metrics.packets, servers=servers)
        self.context = context = Context(
            config=config,
            ledger=ledger,
            accounts=accounts,
            table=Table(max(1, config.flow.limit // share)),
            owners=Owners(0, enabled=False),
            places=Places(config.capture.local_network),
            inspection=Inspection(known, budget, self._fault, keep),
            clock=Clock(config.flow.timeouts),
            sink=sink,
            names=Names() if sink is not None or accounts.servers is not None else None,
        )
        self.settlement = settlement = Settlement(context)
        self._messages = messages = Messages(context, settlement)
        self.lifecycle = lifecycle = Lifecycle(context, settlement, messages)
        self._migration = Migration(context, settlement, lifecycle)
        self._segments = Segments(context, messages, lifecycle)
        self._sweep = Sweep(context, settlement, lifecycle, messages)
        self._sockets: Sockets | None = None
        self._ports: dict[str, Port] = {}
        self._offloaded: Offloaded | None = None

    def offload(self, kernel: Kernel) -> None:
        """Have the kernel count what is only to be counted; before anything is attached."""
        self._offloaded = Offloaded(self.context, self.lifecycle, self._ports, kernel)

    # -- frames ----------------------------------------------------------------------------------------------------

    def attach(self, interface: Interface) -> fastpath.Frame:
        """Give the function that takes each frame (time, bytes) of a live interface, for the one given before."""
        self.detach(interface.name)
        port = self._port(interface, tunnels=self.context.config.decode.tunnels == "always")
        link, mac = interface.link, interface.mac
        seen_as = ETHERNET if link in RAW else link

        def slow(now: float, data: bytes) -> None:
            leaving = bool(mac) and data[6:12] == mac
            self._frame(port, Frame(now, seen_as, data, len(data), ""), leaving=leaving)

        if seen_as != ETHERNET:
            return slow
        segment: Callable[[Half, float, Packet], None] = self._segments.segment
        if self._offloaded is not None:
            segment = self._offloaded.segment(segment)
        frame = fastpath.ethernet(port, (segment, self._count, slow))
        return fastpath.raw(frame) if link in RAW else frame

    def glimpse(self, interface: Interface) -> fastpath.Frame:
        """Give the function that takes first packets early; they open connections and are counted when they come again.

        Only what is wholly unknown is opened: the last packets of an earlier connection may still be on their way.
        """
        port = self._ports[interface.name]
        seen_as = ETHERNET if interface.link in RAW else interface.link
        decoder = Decoder(tunnels=False, fragments=1)

        def first(now: float, data: bytes) -> None:
            try:
                packets = decoder.decode(now, seen_as, data, len(data))
            except UndecodableError:
                return
            for packet in packets:
                packet.leaving = bool(interface.mac) and data[6:12] == interface.mac
                key = packet.src + packet.dst + PORTS(packet.sport, packet.dport)
                self.lifecycle.early(port, key, now, packet)

        return first

    def detach(self, name: str) -> None:
        """Forget an interface's look-up tables; its connections stay."""
        port = self._ports.pop(name, None)
        if port is None:
            return
        self._orphan(port, float("inf"))
        if self._offloaded is not None:
            self._offloaded.leave(port)
        for table in port.tables.values():
            for half in table.values():
                half.table = None
            for conn in {half.conn for half in table.values() if half.conn.extra}:
                if conn.settled:
                    self.settlement.flush(conn)
                conn.extra = [
                    half for half in conn.extra or () if half.table is not None or half.packets
                ] or None
            table.clear()

    def frame(self, frame: Frame) -> None:
        """Take a frame of a file."""
        name = f"{frame.interface}/{frame.link}"
        port = self._ports.get(name)
        if port is None:
            interface = Interface(frame.interface, frame.link, role="file", mtu=EVERYTHING)
            tunnels = self.context.config.decode.tunnels != "never"
            port = self._port(interface, tunnels=tunnels, name=name)
        self._frame(port, frame, leaving=False)

    def _port(self, interface: Interface, *, tunnels: bool, name: str = "") -> Port:
        decoder = Decoder(tunnels=tunnels, fragments=self.context.config.decode.fragments)
        port = self._ports[name or interface.name] = Port(interface, self.context.ledger, decoder)
        return port

    def _frame(self, port: Port, frame: Frame, *, leaving: bool) -> None:
        now = frame.timestamp
        try:
            packets = port.decoder.decode(now, frame.link, frame.data, frame.wire)
        except UndecodableError as error:
            port.ignore(error.reason, 1, max(frame.wire, len(frame.data)) - port.invented)
            return
        for packet in packets:
            packet.leaving = leaving
            self._packet(port, now, packet)

    def _packet(self, port: Port, now: float, packet: Packet) -> None:
        """Count a packet for its connection, and follow what it says."""
        if packet.pad:
            port.ignore("padding", 0, packet.pad)
        more = packet.link - port.invented - port.header
        if more > 0 and not packet.tunnel:
            port.ignore("encapsulation", 0, more)
        self._count(port, packet.src + packet.dst + PORTS(packet.sport, packet.dport), now, packet)
        if packet.inner is not None:
            self._packet(port, now, packet.inner)

    def _count(self, port: Port, key: bytes, now: float, packet: Packet) -> None:
        if self._offloaded is not None:
            self._offloaded.arrives(port, key, packet)
        half = self.lifecycle.direction(port, key, now, packet)
        if half is not None:
            half.packets += 1
            half.last = now
            if packet.transport == "arp":
                port.ignore("arp", 1, packet.size + port.header)
            else:
                half.bytes += packet.size
            self._follow(half, now, packet)

    def _follow(self, half: Half, now: float, packet: Packet) -> None:
        if packet.transport == "tcp":
            if not packet.fragment:
                self._segments.segment(half, now, packet)
        elif packet.transport == "udp":
            if half.skip <= 0 and packet.payload:
                self._datagram(half, now, packet)
        elif packet.quoted is not None:
            self._sweep.unreachable(half, packet)

    def _datagram(self, half: Half, now: float, packet: Packet) -> None:
        conn = half.conn
        if not conn.protocol and self.context.routes:
            self._migration.follow(half, now, packet.payload)
        if conn.fresh:
            self.lifecycle.inspect(conn)
        inspector = conn.inspector
        if inspector is None:
            self._unread(conn)
            return
        if (
            len(packet.payload) < packet.length
        ):  # cut off by the snap length: half a datagram would only mislead
            inspector.lost(half.side)
        else:
            self._messages.take(conn, now, inspector.feed(half.side, packet.payload))
            inspector.skip(half.side)
            self.lifecycle.rest(conn)
        if conn.protocol == QUIC and packet.payload[0] & 0x80:
            self._migration.learn(conn, half.side, packet.payload)
        self._unread(conn)

    @staticmethod
    def _unread(conn: Connection) -> None:
        if not conn.fresh and (conn.inspector is None or not conn.inspector.active):
            for half in conn.halves():
                half.skip = EVERYTHING
            if conn.inspector is not None and conn.inspector.exchange is None:  # nobody waits for an answer
                conn.inspector = None

    def _fault(self, protocol: str) -> None:
        ledger = self.context.ledger
        ledger.values[ledger.slot(self._faults, None, (protocol,))] += 1

    # -- sockets ---------------------------------------------------------------------------------------------------

    def sockets(self, inspect: Inspect, defect: Callable[[], None]) -> Sockets:
        """Give what takes tallies and sights.

        `inspect` tells the kernel which packets shall come up; `defect` is called, in the exception, when one failed.
        """
        if self._sockets is None:
            lives = Lives(self.context, self.settlement, self.lifecycle, self._messages)
            reading = Reading(lives, self._segments, self._datagram, inspect)
            self._sockets = Sockets(self.context, lives, reading, defect)
        return self._sockets

    # -- time ------------------------------------------------------------------------------------------------------

    def begin(self, now: float, *, resumed: bool, first_serial: int) -> None:
        """Start live: ask for owners, numbering from `first_serial`; `resumed`: a worker before us counted."""
        self.lifecycle.counts_from = now + MID_STREAM
        self.lifecycle.resumed = resumed
        self.context.owners = Owners(first_serial, enabled=True)

    def reap(self, now: float) -> None:
        """Settle and end what is due; four times a second."""
        if self._sockets is not None and self._sockets.processes.awaited:
            return  # what they hold may be the other ends of these
        self.settlement.due(now)
        self.lifecycle.finish(now)

    def tick(self, now: float) -> None:
        """Bring the ledger up to date; each second, before it is published."""
        if self._offloaded is not None:
            self._offloaded.turn()
        self._sweep.tick(now)

    def sweep(self, now: float) -> None:
        """End what timed out, and see how stale the rest is; every few seconds."""
        self._orphans(now)
        if self._offloaded is not None:
            self._offloaded.catch_up()
        self._sweep.sweep(now)
        if self._sockets is not None:
            self._sockets.sweep(now)
        if self.context.names is not None:
            self.context.names.sweep(now)
        self.context.table.shrink()
        self.context.owners.shrink()
        self.context.expected.expire(now)
        for entries in (self.settlement.waiting, self.lifecycle.ended):
            shrink(entries)
        for port in self._ports.values():
            for table in port.tables.values():
                shrink(table)

    def close(self, now: float) -> None:
        """End everything: a file's last frame was read."""
        self._orphans(float("inf"))
        self._sweep.close(now)

    def _orphans(self, now: float) -> None:
        """Count the fragments whose first one never came."""
        for port in self._ports.values():
            self._orphan(port, now)

    @staticmethod
    def _orphan(port: Port, now: float) -> None:
        packets, size = port.decoder.expire(now)
        if packets:
            port.ignore("fragment", packets, size - packets * port.invented)

    # -- identity --------------------------------------------------------------------------------------------------

    def answer(self, answer: Answer, now: float) -> None:
        """Take an answer of the identity process."""
        if self._sockets is not None and self._sockets.answer(answer):
            return
        watched = self.context.owners.watched(answer)
        if watched is not None:
            self._sweep.watched(watched, answer, now)
        else:
            self.settlement.answer(answer)

    def listing(self, listing: Listing, now: float) -> None:
        """Take sockets that the kernel lists: connections, though nothing was heard of them."""
        for row in listing.rows:
            self._sweep.listed(row, now)
        if self._sockets is not None:
            self._sockets.touched = True

    def repeat(self) -> None:
        """Ask everything anew: the identity process has just started and knows nothing."""
        self.context.owners.repeat()
        if self._sockets is not None:
            self._sockets.processes.repeat()
