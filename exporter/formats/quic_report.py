"""What QUIC's Initial packets say, as messages: hellos with transport parameters, and the reason of a close."""

from collections.abc import Mapping

from exporter.errors import ParseError
from exporter.formats.quic_frames import Close
from exporter.formats.quic_versions import Version
from exporter.formats.text import clean
from exporter.formats.tls_hello import ClientHello
from exporter.formats.tls_report import OPERATIONS as TLS_OPERATIONS
from exporter.formats.tls_report import client_hello
from exporter.model import Kind, Message
from exporter.wire import Reader

__all__ = ["OPERATIONS", "STATUSES", "close", "hello", "notice"]

OPERATIONS = (TLS_OPERATIONS - {"certificate", "alert"}) | {
    "initial",
    "handshake",
    "short",
    "close",
    "retry",
    "rejection",
    "version_negotiation",
}

_ERRORS = (
    "no_error",
    "internal_error",
    "connection_refused",
    "flow_control_error",
    "stream_limit_error",
    "stream_state_error",
    "final_size_error",
    "frame_encoding_error",
    "transport_parameter_error",
    "connection_id_limit_error",
    "protocol_violation",
    "invalid_token",
    "application_error",
    "crypto_buffer_exceeded",
    "key_update_error",
    "aead_limit_reached",
    "no_viable_path",
    "version_negotiation_error",
)
"""RFC 9000 section 20.1, RFC 9368 section 8."""
STATUSES = frozenset(_ERRORS) | {"crypto_error"}

_PARAMETERS, _PARAMETERS_DRAFT = 0x39, 0xFFA5
_IDLE_TIMEOUT, _USER_AGENT = 0x01, 0x3129
_MAX_PARAMETERS = 64

Attrs = Mapping[str, str | tuple[str, ...]]


def notice(op: str, attrs: Attrs, version: str = "") -> Message:
    """Say what happened; the states of a connection follow from `op`."""
    return Message(kind=Kind.NOTICE, op=op, version=version, attrs=attrs)


def hello(said: ClientHello, version: Version) -> Message:
    """Say what a client asks for: as in TLS, and its idle timeout in milliseconds."""
    attrs = dict(client_hello(said, "q").attrs)
    try:
        found = _parameters(said, version.draft)
        if raw := found.get(_IDLE_TIMEOUT):
            attrs["quic.max_idle_timeout"] = str(Reader(raw).varint())
        if agent := found.get(_USER_AGENT):
            attrs["user_agent.original"] = clean(agent)
    except ParseError:  # the server will close it; what was asked for is told all the same
        pass
    return notice("client_hello", attrs)


def _parameters(said: ClientHello, draft: int) -> dict[int, bytes]:
    """Read the transport parameters (RFC 9000 section 18); up to draft 26 their numbers and sizes have two bytes."""
    raw = said.extensions.get(_PARAMETERS) or said.extensions.get(_PARAMETERS_DRAFT) or b""
    found: dict[int, bytes] = {}
    reader = Reader(raw)
    if draft < 27 and raw:
        reader = reader.sub(reader.u16())
    while len(reader) and len(found) < _MAX_PARAMETERS:
        kind = reader.u16() if draft < 27 else reader.varint()
        found[kind] = reader.take(reader.u16() if draft < 27 else reader.varint())
    return found


def close(said: Close) -> Message:
    """Say why a side gives up before the handshake is done."""
    status = "crypto_error" if 0x100 <= said.code < 0x200 else ""
    if said.application:
        status = "application_error"
    elif not status:
        status = _ERRORS[said.code] if said.code < len(_ERRORS) else "other"
    attrs = {"quic.close.error_code": str(said.code)}
    return Message(
        kind=Kind.NOTICE, op="close", status=status, error=said.application or said.code != 0, attrs=attrs
    )
