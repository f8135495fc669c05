"""Datagrams for many: what is asked of everybody is answered, if at all, by a connection of its own."""

from exporter.dissector import Ends
from exporter.model import Kind

__all__ = ["kind_of", "to_many"]

_EVERYBODY = b"\xff\xff\xff\xff"


def to_many(side: int, ends: Ends) -> bool:
    """Tell whether this side's datagrams go to a multicast group or to 255.255.255.255.

    RFC 5771, RFC 4291 section 2.7, RFC 919 section 7. A network's own broadcast address cannot be told from a host's.
    """
    address = ends.address0 if side else ends.address1
    if len(address) == 4:
        return address[0] >> 4 == 0xE or address == _EVERYBODY
    return address[:1] == b"\xff"


def kind_of(side: int, ends: Ends, *, response: bool) -> Kind:
    """Give a message's kind: to many it is a notice, as no exchange can come of it here."""
    if to_many(side, ends):
        return Kind.NOTICE
    return Kind.RESPONSE if response else Kind.REQUEST
