"""What an HTTP request says of itself, as attributes. Query strings, cookies and credentials are left out."""

import re

from exporter.formats.head import Fields
from exporter.formats.text import clean, host_name

__all__ = ["Attributes", "request_attributes", "server_attributes"]

Attributes = dict[str, str | tuple[str, ...]]

_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?([^/?#@]*)")
_AUTHORITY = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s]*))(?::([0-9]{1,5}))?")
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def request_attributes(method: str, target: bytes, fields: Fields) -> Attributes:
    """Read the target in each of its forms (RFC 9112 section 3.2), the host, the user agent and the trace context."""
    authority = fields.get(b"host", b"")
    if method == "CONNECT" and b"/" not in target:
        authority, target = target, b""
    elif target[:1] != b"/" and (absolute := _ABSOLUTE.match(target)):
        authority = absolute[1] or authority
        target = target[absolute.end() :] or b"/"
    attrs = server_attributes(authority)
    attrs["http.request.method"] = method
    if target:
        attrs["url.path"] = clean(target.partition(b"?")[0].partition(b"#")[0], 1024)
    if agent := fields.get(b"user-agent"):
        attrs["user_agent.original"] = clean(agent, 512)
    trace = fields.get(b"traceparent")
    if trace and _TRACE.fullmatch(trace):
        attrs["traceparent"] = trace.decode("ascii")
    return attrs


def server_attributes(authority: bytes) -> Attributes:
    """Read `host:port`, each where it is told; never a user and a password before it."""
    authority = authority.rpartition(b"@")[2]
    if not authority:
        return {}
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return {"server.address": clean(authority, 253)}
    literal, name, port = match.groups()
    attrs: Attributes = {}
    if raw := literal or name:
        attrs["server.address"] = host_name(raw) or clean(raw, 253)
    if port:
        attrs["server.port"] = port.decode("ascii")
    return attrs
