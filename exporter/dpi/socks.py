"""SOCKS 5 (RFC 1928, 1929) and SOCKS 4 and 4a (Ying-Da Lee's memoranda, 1992 and 1994) over TCP.

Read are the command, where it leads and how it ends; user names and passwords are passed over. When the proxy has
granted it, somebody else speaks. The first byte's version is weak: a greeting counts together with what follows it.
"""

from collections.abc import Iterable

from exporter.dissector import NO, Dissector, Ends, Parser
from exporter.errors import ParseError, ShortError
from exporter.formats.socks_frames import (
    COMMANDS,
    REPLIES4,
    REPLIES5,
    Request,
    greeting,
    looks,
    read_address,
    request,
    request4,
)
from exporter.formats.stream import until
from exporter.model import Kind, Message
from exporter.wire import Reader

__all__ = ["DISSECTOR"]

_MAX_HELD = 65536
"""A request has 1,100 bytes at most; a client that does not wait for the reply may send more."""


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return looks(data)


class _Socks(Parser):
    """A negotiation. `_client`: the side that asks. `_steps`: what each side's next bytes are."""

    __slots__ = ("_client", "_held", "_hidden", "_over", "_steps")

    def __init__(self, ends: Ends) -> None:
        self._client = -1
        self._held = [b"", b""]
        self._steps: list[list[str]] = [[], []]
        self._over = self._hidden = False

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        found: list[Message] = []
        self._held[side] += data
        if self._client < 0:
            self._begin(side)
        try:
            self._read(side, found)
        except ParseError as error:
            return until(error, found)
        return found

    def skip(self, side: int) -> int:
        return -1 if self._hidden else 0

    def rest(self, side: int) -> bytes:
        held, self._held[side] = self._held[side], b""
        return held

    def _begin(self, side: int) -> None:
        first = self._held[side][:2]
        answers = first[:1] == b"\0" or (first[:1] == b"\x05" and looks(self._held[side], client=False) != NO)
        self._client = 1 - side if answers and looks(self._held[side], client=True) == NO else side
        old = first[:1] in (b"\x04", b"\0")
        self._steps[self._client] = ["request4"] if old else ["greeting", "request5"]
        self._steps[1 - self._client] = ["reply4"] if old else ["method", "reply5"]

    def _read(self, side: int, found: list[Message]) -> None:
        steps = self._steps[side]
        while steps and not self._over:
            reader = Reader(self._held[side])
            try:
                message = self._step(steps[0], reader)
            except ShortError:
                break
            del steps[0]
            self._held[side] = reader.rest()
            if message:
                found.append(message)
                self._over = message.switch is not None
        if len(self._held[side]) > _MAX_HELD and not self._over:
            raise ParseError("long")

    def _step(self, step: str, reader: Reader) -> Message | None:
        if step == "greeting":
            greeting(reader)
        elif step == "method":
            return self._method(reader)
        elif step == "verdict":
            return _verdict(reader)
        elif step == "request5":
            return _asked(request(reader))
        elif step == "request4":
            return _asked(request4(reader))
        elif step == "reply5":
            return _reply5(reader)
        else:
            return _reply4(reader)
        return None

    def _method(self, reader: Reader) -> Message | None:
        """Read the method that the proxy chose: 2 is a password, 255 none (section 3); GSSAPI hides what follows."""
        if reader.u8() != 5:
            raise ParseError("version")
        method = reader.u8()
        if method == 2:
            self._steps[1 - self._client].insert(1, "verdict")
        elif method == 255:
            return Message(kind=Kind.NOTICE, op="no_method", error=True)
        self._hidden = method not in (0, 2)
        return None


def _asked(request: Request) -> Message:
    return Message(kind=Kind.REQUEST, op=request.command, version=request.version, attrs=request.attributes)


def _verdict(reader: Reader) -> Message | None:
    reader.skip(1)
    return Message(kind=Kind.NOTICE, op="denied", error=True) if reader.u8() else None


def _reply5(reader: Reader) -> Message:
    if reader.u8() != 5:
        raise ParseError("version")
    status = REPLIES5.get(reader.u8(), "other")
    reader.skip(1)
    read_address(reader)
    granted = status == "succeeded"
    return Message(kind=Kind.RESPONSE, status=status, error=not granted, switch="" if granted else None)


def _reply4(reader: Reader) -> Message:
    if reader.u8():
        raise ParseError("version")
    status = REPLIES4.get(reader.u8(), "other")
    reader.skip(6)
    granted = status == "succeeded"
    return Message(kind=Kind.RESPONSE, status=status, error=not granted, switch="" if granted else None)


DISSECTOR = Dissector(
    name="socks",
    transports=frozenset({"tcp"}),
    ports=frozenset({1080, 9050, 9150}),
    operations=frozenset(COMMANDS.values()) | {"no_method", "denied"},
    statuses=frozenset(REPLIES5.values()) | frozenset(REPLIES4.values()),
    probe=_probe,
    parser=_Socks,
    reads="command, destination, reply; what is carried",
    specification="RFC 1928, 1929; SOCKS 4, 4a",
)
