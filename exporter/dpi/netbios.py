"""NetBIOS over UDP: name service and datagram service, RFC 1001 and RFC 1002. What datagrams carry is not read.

The name service has DNS's header; names of 32 letters from A to P tell them apart, on any port. What is asked of all
nodes (the B flag) is a notice: whoever has the name answers from an address of its own.
"""

from collections.abc import Iterable

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.netbios_messages import NameMessage, begins, datagram, name_message
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_OPCODES = {
    0: "query",
    5: "registration",
    6: "release",
    7: "wait",
    8: "refresh",
    9: "refresh",
    15: "multihomed_registration",
}
_NBSTAT = 0x21
_STATUSES = {
    0: "ok",
    1: "format_error",
    2: "server_failure",
    3: "name_not_found",
    4: "unsupported",
    5: "refused",
    6: "active",
    7: "conflict",
}
"""RFC 1002 sections 4.2.6, 4.2.11 and 4.2.14."""
_DATAGRAMS = {
    0x10: "datagram_unique",
    0x11: "datagram_group",
    0x12: "datagram_broadcast",
    0x13: "datagram_error",
    0x14: "datagram_query",
    0x15: "datagram_query",
    0x16: "datagram_query",
}
_ERRORS = {0x82: "name_not_found", 0x83: "format_error", 0x84: "format_error"}


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return YES if begins(data) else NO


class _Netbios(Parser):
    """Keeps nothing: either service's messages say what they are."""

    __slots__ = ()

    def __init__(self, ends: Ends) -> None:
        pass

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        try:
            return [_name(name_message(data))]
        except ParseError:
            return [_datagram(data)]

    def gap(self, side: int) -> bool:
        return True

    def idle(self) -> bool:
        return True


def _name(found: NameMessage) -> Message:
    opcode = found.flags >> 11 & 15
    op = "status" if found.kind == _NBSTAT and not opcode else _OPCODES[opcode]
    attrs: dict[str, str | tuple[str, ...]] = {
        "netbios.name": (found.name, *found.names) if found.names else found.name
    }
    if not found.flags & 0x8000:
        kind = Kind.NOTICE if found.flags & 0x10 else Kind.REQUEST
        return Message(kind=kind, op=op, match=found.serial, attrs=attrs)
    code = found.flags & 15
    return Message(
        kind=Kind.NOTICE if op == "wait" else Kind.RESPONSE,
        op=op,
        status=_STATUSES[code],
        error=code not in (0, 3),
        match=found.serial,
        attrs=attrs,
        names=tuple([(address, found.name.partition("<")[0], 0) for address in found.addresses]),
    )


def _datagram(data: bytes) -> Message:
    found = datagram(data)
    op = _DATAGRAMS[found.kind]
    attrs: dict[str, str | tuple[str, ...]] = {"netbios.name": found.names} if found.names else {}
    if found.kind < 0x13:
        return Message(kind=Kind.NOTICE, op=op, attrs=attrs)
    if found.kind == 0x13:
        status = _ERRORS.get(found.code, "other")
        return Message(kind=Kind.NOTICE, op=op, status=status, error=True)
    if found.kind == 0x14:
        return Message(kind=Kind.REQUEST, op=op, match=found.names, attrs=attrs)
    status = "ok" if found.kind == 0x15 else "name_not_found"
    return Message(kind=Kind.RESPONSE, op=op, status=status, match=found.names, attrs=attrs)


DISSECTOR = Dissector(
    name="netbios",
    transports=frozenset({"udp"}),
    ports=frozenset({137, 138}),
    operations=frozenset(_OPCODES.values()) | frozenset(_DATAGRAMS.values()) | {"status"},
    statuses=frozenset(_STATUSES.values()),
    probe=_probe,
    parser=_Netbios,
    reads="name service: operation, name, status, a node's names, address-to-name facts; datagram service: both names",
    specification="RFC 1001, 1002",
)
