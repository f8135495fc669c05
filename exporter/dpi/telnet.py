"""Telnet: RFC 854 (commands), 855 (options), 1143 (negotiation).

Read is which options both sides offer and refuse, at the connection's beginning. What is typed and shown is passed
over: it holds names and passwords, as do subnegotiations (RFC 1572).
"""

import re
from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends, Parser
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_VERBS = {0xFB: "will", 0xFC: "wont", 0xFD: "do", 0xFE: "dont"}
_OPTIONS = {
    0: "binary",
    1: "echo",
    3: "suppress_go_ahead",
    5: "status",
    6: "timing_mark",
    23: "send_location",
    24: "terminal_type",
    25: "end_of_record",
    31: "window_size",
    32: "terminal_speed",
    33: "remote_flow_control",
    34: "linemode",
    35: "x_display_location",
    36: "environment",
    37: "authentication",
    38: "encryption",
    39: "new_environment",
    40: "tn3270e",
    42: "charset",
    44: "com_port",
    46: "start_tls",
}
"""IANA's registry, as far as it is in use."""
_ONE = b"\xff[\xfb-\xfe][%s]" % re.escape(bytes(_OPTIONS))
_OPENING = re.compile(b"%s(?:%s|\xff[\xf1-\xfa\xff]|[\r\n -~\x1b]{3})" % (_ONE, _ONE))
_PREFIX = re.compile(
    b"(?:\xff(?:[\xfb-\xfe](?:[%s](?:\xff[\xfb-\xfe]?|[\r\n -~\x1b]{1,2})?)?)?)?" % re.escape(bytes(_OPTIONS))
)
_COMMAND = re.compile(
    b"\xff(?:([\xfb-\xfe])(.)|\xfa(?:[^\xff]|\xff[^\xf0])*\xff\xf0|[\xf0-\xf9\xff])", re.DOTALL
)
_MAX_HELD = 512
"""What a longer subnegotiation has beyond this is read as if it were none."""
_READ = 4096
"""So many bytes of a side are read: options are agreed on before that."""


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data[:1] != b"\xff":
        return NO if data else MORE
    if _OPENING.match(data):
        return YES
    return MORE if _PREFIX.fullmatch(data) else NO


class _Telnet(Parser):
    """A connection's beginning."""

    __slots__ = ("_held", "_left")

    def __init__(self, ends: Ends) -> None:
        self._held = [b"", b""]
        self._left = [_READ, _READ]

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        found: list[Message] = []
        data = self._held[side] + data[: max(0, self._left[side])]
        self._left[side] -= len(data) - len(self._held[side])
        at = data.find(b"\xff")
        while at >= 0:
            match = _COMMAND.match(data, at, at + _MAX_HELD)
            if match is None:
                if len(data) - at < _MAX_HELD:
                    break
                at = data.find(b"\xff", at + _MAX_HELD)
                continue
            if match[1]:
                option = _OPTIONS.get(match[2][0], "other")
                attrs = {"telnet.option": option}
                found.append(Message(kind=Kind.NOTICE, op=_VERBS[match[1][0]], attrs=attrs))
            at = data.find(b"\xff", match.end())
        self._held[side] = data[at:] if at >= 0 else b""
        return found

    def skip(self, side: int) -> int:
        return -1 if self._left[side] <= 0 else 0

    def gap(self, side: int) -> bool:
        self._held[side] = b""
        return True


DISSECTOR = Dissector(
    name="telnet",
    transports=frozenset({"tcp"}),
    ports=frozenset({23, 2323}),
    operations=frozenset(_VERBS.values()),
    statuses=frozenset(),
    probe=_probe,
    parser=_Telnet,
    reads="options offered, asked for and refused",
    specification="RFC 854, 855",
    idle=1800.0,
)
