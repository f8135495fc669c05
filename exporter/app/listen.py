"""The listening sockets: bound by the supervisor, so that children need no privilege and a restart refuses nobody."""

import contextlib
import errno
import os
import socket
from collections.abc import Sequence

from exporter.errors import ConfigError, UserError

__all__ = ["bind_all", "split_address", "urls"]

BACKLOG = 128
REASONS = {
    errno.EADDRINUSE: "stop the program that listens there (ss -ltnp names it) or choose another --web.listen-address",
    errno.EACCES: "ports below 1024 need root; choose another --web.listen-address",
    errno.EADDRNOTAVAIL: "this machine does not have that address; choose another --web.listen-address",
}


def split_address(address: str) -> tuple[str, int]:
    """Read `:port`, `host:port` or `[v6]:port`; the host of `:port` is empty."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    valid = colon and port.isascii() and port.isdigit() and int(port) < 1 << 16
    if not valid or (bracketed and not host) or (":" in host and not bracketed):
        raise ConfigError(f"--web.listen-address: expected :port, host:port or [IPv6]:port, not {address!r}")
    return host, int(port)


def _listen(family: int, address: object, *, dual: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        listener.bind(address)  # type: ignore[arg-type]  # what getaddrinfo gave
        listener.listen(BACKLOG)
        listener.setblocking(False)  # noqa: FBT003  (the standard library's own interface)
    except OSError:
        listener.close()
        raise
    return listener


def _everywhere(port: int) -> list[socket.socket]:
    """One socket for both protocols; where there is no IPv6, IPv4."""
    try:
        return [_listen(socket.AF_INET6, ("::", port), dual=True)]
    except OSError as error:
        if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENOPROTOOPT}:
            raise
    return [_listen(socket.AF_INET, ("0.0.0.0", port), dual=False)]  # noqa: S104  (what `:port` asks for)


def _bind(address: str) -> list[socket.socket]:
    host, port = split_address(address)
    if not host:
        return _everywhere(port)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    ends = dict.fromkeys((family, where) for family, _, _, _, where in found)
    bound: list[socket.socket] = []
    with contextlib.ExitStack() as undo:
        for family, where in ends:
            bound.append(_listen(family, where, dual=False))
            undo.callback(bound[-1].close)
        undo.pop_all()
    return bound


def bind_all(addresses: Sequence[str]) -> list[socket.socket]:
    """Bind and listen on every address, or say in one line which one cannot be had and what to do."""
    bound: list[socket.socket] = []
    for address in addresses:
        try:
            bound += _bind(address)
        except OSError as error:
            for listener in bound:
                listener.close()
            unknown = isinstance(error, socket.gaierror)
            why = str(error.strerror) if unknown else os.strerror(error.errno or 0)
            hint = REASONS.get(error.errno or 0, "choose another --web.listen-address")
            raise UserError(f"cannot listen on {address}: {why.lower()}; {hint}") from None
    return bound


def urls(listeners: Sequence[socket.socket], path: str, scheme: str) -> list[str]:
    """Say where to look, in words that can be clicked on: `[::]` stands for IPv4 too."""
    found = []
    for listener in listeners:
        host, port = listener.getsockname()[:2]
        shown = "0.0.0.0" if host == "::" else f"[{host}]" if ":" in host else host  # noqa: S104  (text)
        found.append(f"{scheme}://{shown}:{port}{path}")
    return found
