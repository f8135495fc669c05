"""XMPP over TCP: RFC 6120 (streams, TLS, SASL, stanzas), RFC 6121.

Read are the stream's opening, negotiation, and of stanzas their name, type and id; an IQ's result or error answers the
IQ of the same id (section 8.2.3). Neither addresses of people nor contents are kept. XML is read tag by tag: comments
and document types are not allowed here (section 11.1). After `proceed` it is TLS.
"""

import re
from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.stream import until
from exporter.formats.text import host_name
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_MAX_TAG = 16384
_MAX_DEPTH = 256
_TAG = re.compile(
    rb"""<(?:\?[^>]*|!\[CDATA\[(?s:.*?)\]\]|(/?)([A-Za-z_][^\s/><"'=]{0,127}+)((?:[^<>"']|"[^"<]*"|'[^'<]*')*))>"""
)
_ATTRIBUTE = re.compile(rb"""\s(type|id|to|from|version)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')""")
_DECLARATION = re.compile(rb"\s*<\?xml\s[^<>]{0,100}\?>\s*|\s*")
_DECLARES = re.compile(rb"\s*<\?xml(?:\s[^<>]{0,100})?")
_STREAM = re.compile(rb"<stream:stream\s[^<>]{0,1500}etherx\.jabber\.org/streams")
_OPEN = re.compile(rb"<(?:stream:stream|iq)\s[^<>]{0,1500}")
_STANZA = re.compile(
    rb"""<iq\s(?=[^<>]{0,1000}\bid=["'])[^<>]{0,1000}\btype=["'](?:get|set|result|error)["'][^<>]{0,1000}>"""
)
_STANZAS = {b"message": "message", b"presence": "presence"}
_NEGOTIATION = {
    b"starttls": "starttls",
    b"proceed": "proceed",
    b"auth": "auth",
    b"authenticate": "auth",
    b"success": "success",
    b"failure": "failure",
    b"stream:error": "stream_error",
    b"stream:features": "features",
}


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data[:1] not in (b"<", b" ", b"\n", b"\r", b""):
        return NO
    if data[:1] == b"<" and data[1:2] not in (b"?", b"s", b"i", b""):
        return NO
    declared = _DECLARATION.match(data)
    at = declared.end() if declared else 0
    if _STREAM.match(data, at) or _STANZA.match(data, at):
        return YES
    if len(data) >= 1700:
        return NO
    start = data[at : at + 16]
    if b"<stream:stream ".startswith(start) or b"<iq ".startswith(start) or b"<?xml ".startswith(start):
        return MORE
    return MORE if _OPEN.fullmatch(data, at) or _DECLARES.fullmatch(data) else NO


class _Side:
    """What has come of a tag, and how deep in the stream's tree it is. 1: between two stanzas."""

    __slots__ = ("depth", "held", "lost")

    def __init__(self) -> None:
        self.held = b""
        self.depth = 1
        self.lost = False


class _Xmpp(Parser):
    """A connection's two streams."""

    __slots__ = ("_over", "_sides", "_silent")

    def __init__(self, ends: Ends) -> None:
        self._sides = (_Side(), _Side())
        self._over = self._silent = False

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        found: list[Message] = []
        try:
            self._read(self._sides[side], data, found)
        except ParseError as error:
            return until(error, found)
        return found

    def skip(self, side: int) -> int:
        return -1 if self._silent else 0

    def rest(self, side: int) -> bytes:
        state = self._sides[side]
        held, state.held = state.held, b""
        return held

    def _read(self, state: _Side, data: bytes, found: list[Message]) -> None:
        data = state.held + data
        at = 0
        while not self._over:
            at = data.find(b"<", at)
            if at < 0:
                state.held = b""
                return
            match = _TAG.match(data, at)
            if match is None:
                break
            at = match.end()
            if match[2]:
                self._tag(state, match, found)
        if not self._over and len(data) - at > _MAX_TAG:
            raise ParseError("tag")
        if not self._over and data.find(b"<", at + 1) > 0 and not data.startswith(b"<![", at):
            raise ParseError("tag")
        state.held = data[at:]

    def _tag(self, state: _Side, match: re.Match[bytes], found: list[Message]) -> None:
        closes, name, attributes = match.groups()
        if name == b"stream:stream":
            state.depth = 1
            found.append(_stream(attributes, closes=bool(closes)))
            return
        if closes:
            state.depth = max(1, state.depth - 1)
            return
        if state.depth == 1 and (message := self._top(name, attributes)):
            found.append(message)
        if attributes[-1:] != b"/":
            state.depth += 1
            if state.depth > _MAX_DEPTH:
                raise ParseError("depth")

    def _top(self, name: bytes, attributes: bytes) -> Message | None:
        """Read what stands directly in the stream."""
        if name == b"iq":
            return _iq(_named(attributes))
        if op := _STANZAS.get(name):
            failed = _named(attributes).get(b"type") == b"error"
            return Message(kind=Kind.NOTICE, op=op, status="error" if failed else "", error=failed)
        op = _NEGOTIATION.get(name, "other")
        self._over = op == "proceed"
        self._silent = name == b"compressed"
        return Message(
            kind=Kind.NOTICE,
            op=op,
            error=op in ("failure", "stream_error"),
            switch="tls" if self._over else None,
        )


def _named(attributes: bytes) -> dict[bytes, bytes]:
    return {name: one or other for name, one, other in _ATTRIBUTE.findall(attributes)}


def _stream(attributes: bytes, *, closes: bool) -> Message:
    """Read a stream's opening: the client says to which host it talks (section 4.7.2)."""
    if closes:
        return Message(kind=Kind.NOTICE, op="stream_end")
    named = _named(attributes)
    host = host_name(named.get(b"to", b""))
    version = named.get(b"version", b"")
    return Message(
        kind=Kind.NOTICE,
        op="stream",
        version="1.0" if version == b"1.0" else "",
        attrs={"server.address": host} if host and "@" not in host else {},
    )


def _iq(named: dict[bytes, bytes]) -> Message:
    kind = named.get(b"type", b"")
    match = named.get(b"id", b"")[:128]
    if kind in (b"get", b"set"):
        return Message(kind=Kind.REQUEST, op="iq_get" if kind == b"get" else "iq_set", match=match)
    failed = kind == b"error"
    return Message(kind=Kind.RESPONSE, status="error" if failed else "result", error=failed, match=match)


DISSECTOR = Dissector(
    name="xmpp",
    transports=frozenset({"tcp"}),
    ports=frozenset({5222, 5269, 5280}),
    operations=frozenset(
        {"stream", "stream_end", "iq_get", "iq_set", *_STANZAS.values(), *_NEGOTIATION.values()}
    ),
    statuses=frozenset({"result", "error"}),
    probe=_probe,
    parser=_Xmpp,
    reads="stream's host, negotiation, kinds of stanzas; STARTTLS",
    specification="RFC 6120, 6121",
    idle=1800.0,
)
