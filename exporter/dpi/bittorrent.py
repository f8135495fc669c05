"""BitTorrent: peers over TCP (BEP 3) and uTP (BEP 29), DHT (BEP 5), UDP trackers (BEP 15), local discovery (BEP 14).

Read are handshakes with the client's kind, the DHT's queries and how they end, a tracker's actions. Info hashes say
what somebody downloads: they are not kept. After the handshake nothing more of a TCP connection is wanted.
"""

from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.bittorrent_datagrams import (
    DHT_ERRORS,
    DHT_QUERIES,
    LOCAL,
    TRACKER_ACTIONS,
    dht,
    is_tracker,
    is_utp,
    utp_opens,
)
from exporter.formats.framed import Framed
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_HANDSHAKE = b"\x13BitTorrent protocol"
_SIZE = 68
"""A handshake: its name, 8 bytes of flags, 20 of the torrent's hash, 20 of the peer's id."""
_MAX_WAITING = 256
_MAX_EXTENSION = 2


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if ends.transport == "tcp":
        if data[:20] != _HANDSHAKE[: len(data)]:
            return NO
        return MORE if len(data) < len(_HANDSHAKE) else YES
    if len(data) < 16:
        return NO
    first = data[0]
    if first == 0x64:
        return _probe_dht(data)
    if is_utp(data):
        if utp_opens(data):
            return YES
        return (
            MORE if data[1] <= _MAX_EXTENSION else NO
        )  # perhaps the middle of a connection, and DHT comes yet
    if first == 0x42:
        return YES if data.startswith(LOCAL) else NO
    return YES if not first and is_tracker(data) else NO


def _probe_dht(data: bytes) -> int:
    """A dictionary with a kind, a transaction and who sent it, or an error; reading all of it would cost too much."""
    if data[-1] != 0x65 or not 0x31 <= data[1] <= 0x39 or b"1:y1:" not in data or b"1:t" not in data:
        return NO
    return YES if b"2:id20:" in data or data.startswith(b"d1:eli") else NO


def _handshake(peer: bytes) -> Message:
    """Make a notice of a peer's handshake; its id begins with its client, by custom (BEP 20): -UT1610-."""
    named = len(peer) == 20 and peer[:1] == peer[7:8] == b"-" and peer[1:7].isalnum()
    attrs = {"bittorrent.client": clean(peer[1:7])} if named else {}
    return Message(kind=Kind.NOTICE, op="handshake", attrs=attrs)


class _Peers(Framed):
    """A TCP connection of two peers, until both have said who they are."""

    __slots__ = ("_greeted",)

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._greeted = [False, False]

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if self._greeted[side]:
            return len(data) - at, 1
        return _SIZE, _SIZE

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        if self._greeted[side]:
            return
        if not data.startswith(_HANDSHAKE):
            raise ParseError("handshake")
        self._greeted[side] = True
        found.append(_handshake(data[48:]))

    def skip(self, side: int) -> int:
        return -1 if self._greeted[side] else super().skip(side)


class _Datagrams(Parser):
    """A flow of datagrams: the DHT and uTP share a port. `_asked`: what waits for an answer, by side and number."""

    __slots__ = ("_asked", "_tracked")

    def __init__(self, ends: Ends) -> None:
        self._asked: dict[tuple[int, bytes], str] = {}
        self._tracked: int | None = None
        """The side that asks a tracker."""

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        first = data[:1]
        if first == b"d":
            return [self._dht(side, data)]
        if is_tracker(data):
            self._tracked = side
        if self._tracked is not None:
            return self._tracker(side, data)
        if is_utp(data):
            return self._utp(side, data)
        if data.startswith(LOCAL):
            return [Message(kind=Kind.NOTICE, op="local_discovery")]
        raise ParseError("datagram")

    def gap(self, side: int) -> bool:
        return True

    def _ask(self, side: int, serial: bytes, op: str) -> Message:
        if len(self._asked) >= _MAX_WAITING:
            del self._asked[next(iter(self._asked))]
        self._asked[side, serial] = op
        return Message(kind=Kind.REQUEST, op=op, match=(side, serial))

    def _answer(self, side: int, serial: bytes, status: str = "ok") -> Message:
        key = (1 - side, serial)
        op = self._asked.pop(key, "")
        return Message(kind=Kind.RESPONSE, op=op, status=status, error=status != "ok", match=key)

    def _dht(self, side: int, data: bytes) -> Message:
        message = dht(data)
        if message.kind == "q":
            return self._ask(side, message.serial, message.query)
        status = "ok" if message.kind == "r" else DHT_ERRORS.get(message.error, "other")
        return self._answer(side, message.serial, status)

    def _tracker(self, side: int, data: bytes) -> list[Message]:
        at = 8 if side == self._tracked else 0
        action = int.from_bytes(data[at : at + 4], "big")
        serial = data[at + 4 : at + 8]
        if len(serial) < 4 or action >= len(TRACKER_ACTIONS):
            raise ParseError("tracker")
        op = TRACKER_ACTIONS[action]
        if side == self._tracked:
            return [self._ask(side, serial, op)]
        return [self._answer(side, serial, "tracker_error" if op == "error" else "ok")]

    def _utp(self, side: int, data: bytes) -> list[Message]:
        opens = utp_opens(data)
        if opens == "utp":
            return [self._ask(side, data[2:4], "utp")]
        if opens:
            return [_handshake(data[68:88])]
        if data[0] == 0x21 and (1 - side, data[2:4]) in self._asked:  # the SYN's number comes back
            return [self._answer(side, data[2:4])]
        return []


def _parser(ends: Ends) -> Parser:
    return _Peers(ends) if ends.transport == "tcp" else _Datagrams(ends)


DISSECTOR = Dissector(
    name="bittorrent",
    transports=frozenset({"tcp", "udp"}),
    ports=frozenset(range(6881, 6890)) | {6969, 6771, 51413},
    operations=DHT_QUERIES | {"handshake", "utp", "local_discovery", "connect", "announce", "scrape"},
    statuses=frozenset({*DHT_ERRORS.values(), "ok", "tracker_error"}),
    probe=_probe,
    parser=_parser,
    reads="handshakes and clients, DHT queries and errors, uTP's openings, tracker actions; never an info hash",
    specification="BEP 3, 5, 14, 15, 20, 29, 44, 51",
)
