"""What hellos, certificates and alerts say, as messages. Shared by tls, dtls and quic."""

from datetime import UTC, datetime
from functools import lru_cache

from exporter.formats.ja4 import ja4
from exporter.formats.tls_alerts import ALERTS
from exporter.formats.tls_ciphers import cipher_name
from exporter.formats.tls_hello import ClientHello, ServerHello, version_name
from exporter.formats.x509 import certificate
from exporter.model import Kind, Message
from exporter.wire import Reader

__all__ = [
    "OPERATIONS",
    "STATUSES",
    "alert",
    "certificates",
    "client_hello",
    "established",
    "one_certificate",
    "server_hello",
    "sslv2_server_hello",
    "versions",
]

OPERATIONS = frozenset(
    {"client_hello", "server_hello", "hello_retry_request", "certificate", "established", "alert"}
)
STATUSES = frozenset(ALERTS.values())

_MAX_SHOWN = 16


def client_hello(hello: ClientHello, transport: str = "t") -> Message:
    """Say what a client asks for; `transport` is JA4's letter.

    With `tls.client.ech` the server's name is the cover name, not the real one.
    """
    attrs: dict[str, str | tuple[str, ...]] = {}
    if name := hello.server_name:
        attrs["server.address"] = name
    if offered := hello.alpn:
        attrs["tls.client.alpn"] = offered[:_MAX_SHOWN]
    attrs["tls.client.supported_versions"] = tuple([version_name(v) for v in hello.versions[:_MAX_SHOWN]])
    if hello.ech:
        attrs["tls.client.ech"] = "outer"
    attrs["tls.client.ja4"] = ja4(hello, transport)
    return Message(kind=Kind.NOTICE, op="client_hello", attrs=attrs)


def server_hello(hello: ServerHello) -> Message:
    """Say what a server chose."""
    if hello.retry:
        return Message(
            kind=Kind.NOTICE, op="hello_retry_request", attrs={"tls.cipher": cipher_name(hello.cipher)}
        )
    attrs: dict[str, str | tuple[str, ...]] = versions(hello.version)
    attrs["tls.cipher"] = cipher_name(hello.cipher)
    if chosen := hello.alpn:
        attrs["tls.next_protocol"] = chosen
    return Message(kind=Kind.NOTICE, op="server_hello", version=version_name(hello.version), attrs=attrs)


def sslv2_server_hello() -> Message:
    """Say that a server answered in SSL 2.0, where the cipher is the client's choice."""
    return Message(kind=Kind.NOTICE, op="server_hello", version=version_name(2), attrs=versions(2))


def versions(code: int) -> dict[str, str | tuple[str, ...]]:
    """Name a negotiated version as OpenTelemetry does: `tls` and `1.2`, `ssl` and `3`."""
    name = version_name(code)
    if name.startswith("SSLv"):
        return {"tls.protocol.name": "ssl", "tls.protocol.version": name[4:]}
    return {"tls.protocol.name": "tls", "tls.protocol.version": name.removeprefix("DTLS ")}


def certificates(chain: bytes) -> Message:
    """Say what the first certificate of a Certificate message (TLS up to 1.2) says."""
    reader = Reader(chain)
    reader.skip(3)
    return one_certificate(reader.take(reader.u24()))


@lru_cache(maxsize=32)
def one_certificate(data: bytes) -> Message:
    """Say what a DER certificate says. A server shows the same one again and again."""
    found = certificate(data)
    attrs: dict[str, str | tuple[str, ...]] = {
        "tls.server.subject": found.subject,
        "tls.server.issuer": found.issuer,
        "tls.server.not_after": datetime.fromtimestamp(found.not_after, UTC).isoformat(),
    }
    if found.names:
        attrs["tls.server.names"] = found.names[:_MAX_SHOWN]
    return Message(kind=Kind.NOTICE, op="certificate", certificate=found, attrs=attrs)


def established(*, resumed: bool) -> Message:
    """Say that both sides encrypt from here on."""
    attrs = {"tls.established": "true", "tls.resumed": "true" if resumed else "false"}
    return Message(kind=Kind.NOTICE, op="established", attrs=attrs)


def alert(level: int, code: int) -> Message:
    """Say what one side tells the other before it hangs up; `close_notify` and warnings are no errors."""
    name = ALERTS.get(code, "other")
    attrs = {"tls.alert": name if name != "other" else str(code)}
    return Message(kind=Kind.NOTICE, op="alert", status=name, error=level == 2 and code != 0, attrs=attrs)
