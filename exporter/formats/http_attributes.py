"""What an HTTP request says of itself, as attributes. Query strings, cookies and credentials are left out."""

import re
from collections.abc import Mapping

from exporter.formats.head import Fields
from exporter.formats.text import clean, host_name

__all__ = ["request_attributes"]

_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?([^/?#@]*)")
_AUTHORITY = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s]*))(?::([0-9]{1,5}))?")
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def request_attributes(method: str, target: bytes, fields: Fields) -> Mapping[str, str | tuple[str, ...]]:
    """Read the target in each of its forms (RFC 9112 section 3.2), the host, the user agent and the trace context."""
    attrs: dict[str, str | tuple[str, ...]] = {"http.request.method": method}
    authority = fields.get(b"host", b"")
    if method == "CONNECT":
        authority = target
    elif target[:1] != b"/" and (absolute := _ABSOLUTE.match(target)):
        authority = absolute[1] or authority
        target = target[absolute.end() :] or b"/"
    if authority:
        _add_server(attrs, authority)
    if method != "CONNECT":
        attrs["url.path"] = clean(target.partition(b"?")[0].partition(b"#")[0], 1024)
    if agent := fields.get(b"user-agent"):
        attrs["user_agent.original"] = clean(agent, 512)
    trace = fields.get(b"traceparent")
    if trace and _TRACE.fullmatch(trace):
        attrs["traceparent"] = trace.decode("ascii")
    return attrs


def _add_server(attrs: dict[str, str | tuple[str, ...]], authority: bytes) -> None:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        attrs["server.address"] = clean(authority, 253)
        return
    literal, name, port = match.groups()
    raw = literal or name
    if raw:
        attrs["server.address"] = host_name(raw) or clean(raw, 253)
    if port:
        attrs["server.port"] = port.decode("ascii")
