"""Data connections as FTP announces them: RFC 959 sections 4.1.2 and 4.2, RFC 2428 (EPRT, EPSV)."""

import re

from exporter.dissector import Ends
from exporter.model import Expectation

__all__ = ["announced_by_client", "announced_by_server"]

_LIFETIME = 60.0
"""Seconds in which it has to come."""
_SIX = re.compile(rb"([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3})")
_EXTENDED = re.compile(rb"([|!#$%&/])[0-9]?\1[0-9A-Fa-f:.]{0,45}\1([0-9]{1,5})\1")


def announced_by_server(code: bytes, text: bytes, server: int, ends: Ends) -> tuple[Expectation, ...]:
    """Read the reply to PASV (227) or EPSV (229): the server waits at this port."""
    return _expect(_port(code == b"227", text), server, ends)


def announced_by_client(verb: str, line: bytes, server: int, ends: Ends) -> tuple[Expectation, ...]:
    """Read PORT or EPRT: the client waits at this port."""
    return _expect(_port(verb == "PORT", line), 1 - server, ends)


def _port(six: bool, text: bytes) -> int:  # noqa: FBT001 - which of two notations
    if six:
        match = _SIX.search(text)
        high, low = (int(match[5]), int(match[6])) if match else (0, 0)
        return high << 8 | low if high < 256 and low < 256 else 0
    extended = _EXTENDED.search(text)
    return int(extended[2]) if extended else 0


def _expect(port: int, side: int, ends: Ends) -> tuple[Expectation, ...]:
    """Expect it between the hosts of the control connection, whatever address is told.

    Behind a translation the address told is another; a third host is what servers refuse (RFC 2577 section 3).
    """
    if not 0 < port < 65536:
        return ()
    waits, comes = (ends.address1, ends.address0) if side else (ends.address0, ends.address1)
    return (Expectation("tcp", waits, port, "ftp_data", _LIFETIME, comes),)
