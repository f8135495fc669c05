"""From `tls_server_config` to Python's TLS. Cipher suites and curves have Go's names there."""

import ssl
from collections.abc import Iterable, Mapping
from typing import Any

from exporter.errors import ConfigError
from exporter.export.web.config import Tls

__all__ = ["allowed", "context"]

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_VERIFY = {
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


def context(tls: Tls) -> ssl.SSLContext:
    """Make a context; `ConfigError` where a file or a name is wrong."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = _VERSIONS[tls.min_version]
    made.maximum_version = _VERSIONS[tls.max_version]
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if tls.prefer_server_cipher_suites:
        made.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(tls.cert_file, tls.key_file)
        if tls.client_ca_file:
            made.load_verify_locations(tls.client_ca_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(one for one in (tls.cert_file, tls.key_file, tls.client_ca_file) if one)
        raise ConfigError(f"tls_server_config: cannot use {files}: {error.strerror or error}") from None
    made.verify_mode = _VERIFY.get(tls.client_auth_type, ssl.CERT_NONE)
    _choose(made, tls)
    return made


def _choose(made: ssl.SSLContext, tls: Tls) -> None:
    """Set cipher suites and curve. Those of TLS 1.3 are all good and, as in Go, not chosen."""
    old = [name for name in map(_cipher, tls.cipher_suites) if name]
    try:
        if old:
            made.set_ciphers(":".join(old))
        if tls.curve_preferences:
            made.set_ecdh_curve(_CURVES[tls.curve_preferences[0]])
    except ssl.SSLError:
        raise ConfigError(f"tls_server_config.cipher_suites: none known of {', '.join(old)}") from None
    except (KeyError, ValueError):
        wrong = tls.curve_preferences[0]
        raise ConfigError(f"tls_server_config.curve_preferences: {wrong} is unknown") from None


def _cipher(name: str) -> str:
    """Give OpenSSL's name of a suite: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 is ECDHE-RSA-AES128-GCM-SHA256."""
    exchange, found, cipher = name.removeprefix("TLS_").partition("_WITH_")
    if not found:
        return ""
    if "CHACHA20" in cipher:
        cipher = "CHACHA20_POLY1305"
    exchange = "" if exchange == "RSA" else exchange + "-"
    words = cipher.replace("AES_", "AES").replace("_CBC_", "_").replace("3DES_EDE", "DES_CBC3")
    return (exchange + words).replace("_", "-")


def allowed(certificate: Mapping[str, Any] | None, sans: Iterable[str]) -> bool:
    """Tell whether a client's certificate carries one of the names that may come; no names: all may."""
    wanted = set(sans)
    if not wanted:
        return True
    names = (certificate or {}).get("subjectAltName", ())
    return any(value in wanted for _, value in names)
