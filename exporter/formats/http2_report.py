"""What HTTP/2's header fields say, as messages; and gRPC's, which come as a response's trailers.

RFC 9113 section 8; "gRPC over HTTP2" and "Status codes and their use in gRPC" (grpc/grpc, doc/).
"""

from exporter.formats.http2_frames import ERRORS
from exporter.formats.http2_headers import Fields
from exporter.formats.http_attributes import request_attributes
from exporter.formats.http_start import METHODS
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["OPERATIONS", "STATUSES", "goaway", "interim", "is_grpc", "request", "reset", "response"]

_GRPC = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_GRPC_ERRORS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""The server's own, as OpenTelemetry has it; the others are the client's."""
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")

OPERATIONS = METHODS | {"interim", "goaway", "reset"}
STATUSES = frozenset(_GRPC) | frozenset(_CLASSES) | {"reset"}


def is_grpc(fields: Fields) -> bool:
    return fields.get(b"content-type", b"").startswith(b"application/grpc")


def request(fields: Fields, stream: int) -> Message:
    """Say what is asked for; of gRPC the method too."""
    method = clean(fields[b":method"], 32)
    names = {b"host": fields[b":authority"], **fields} if b":authority" in fields else fields
    attrs = request_attributes(method, fields.get(b":path", b""), names)
    if is_grpc(fields):
        attrs["rpc.system.name"] = "grpc"
        attrs["rpc.method"] = attrs.get("url.path", "")[1:]
    op = method if method in METHODS else "other"
    return Message(kind=Kind.REQUEST, op=op, match=stream, version="2", attrs=attrs)


def response(fields: Fields, stream: int) -> Message:
    """Say how it went: by gRPC's status, where there is one, else by HTTP's."""
    attrs: dict[str, str | tuple[str, ...]] = {}
    code = fields.get(b":status", b"")
    status = ""
    if code.isdigit() and len(code) == 3:
        attrs["http.response.status_code"] = code.decode("ascii")
        status = _CLASSES[code[0] - 0x31] if b"100" <= code < b"600" else "other"
    error = status == "5xx"
    raw = fields.get(b"grpc-status", b"")
    if raw.isdigit():
        status = _GRPC[int(raw)] if len(raw) < 3 and int(raw) < len(_GRPC) else "other"
        error = status in _GRPC_ERRORS
        attrs["rpc.response.status_code"] = status
    return Message(kind=Kind.RESPONSE, status=status, error=error, match=stream, attrs=attrs)


def interim(fields: Fields) -> Message:
    """Say that the response is still to come."""
    attrs = {"http.response.status_code": clean(fields[b":status"], 3)}
    return Message(kind=Kind.NOTICE, op="interim", status="1xx", attrs=attrs)


def reset(code: int, stream: int | None) -> Message:
    """Say that a stream was given up: as the response of a request that waits for one, or else by the way."""
    kind = Kind.NOTICE if stream is None else Kind.RESPONSE
    op, status = ("reset", "") if stream is None else ("", "reset")
    error = stream is not None and code != 0
    return Message(kind=kind, op=op, status=status, error=error, match=stream, attrs=_type(code))


def goaway(code: int) -> Message:
    """Say that a side takes no more requests."""
    return Message(kind=Kind.NOTICE, op="goaway", error=code != 0, attrs=_type(code) if code else {})


def _type(code: int) -> dict[str, str]:
    return {"error.type": ERRORS[code] if code < len(ERRORS) else str(code)}
