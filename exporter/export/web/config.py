"""The file of `--web.config.file`, as exporter-toolkit defines it; a key that we do not know is an error."""

import re
from pathlib import Path
from typing import Literal

import msgspec
import yaml
from msgspec import Struct, field

from exporter.errors import ConfigError

__all__ = ["Headers", "RateLimit", "Tls", "WebConfig", "load"]

_BCRYPT = re.compile(r"\$2[abxy]?\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Tls(Struct, forbid_unknown_fields=True, frozen=True):
    """`tls_server_config`. Go's `RequestClientCert` asks and looks at nothing, so it is as `NoClientCert` here."""

    cert_file: str = ""
    key_file: str = ""
    client_auth_type: Literal[
        "", "NoClientCert", "RequestClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"
    ] = ""
    client_ca_file: str = ""
    client_allowed_sans: tuple[str, ...] = ()
    min_version: Literal["TLS13", "TLS12", "TLS11", "TLS10"] = "TLS12"
    max_version: Literal["TLS13", "TLS12", "TLS11", "TLS10"] = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    curve_preferences: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True


class Headers(Struct, forbid_unknown_fields=True, frozen=True, rename={"csp": "Content-Security-Policy"}):
    """`http_server_config.headers`: those that exporter-toolkit allows."""

    csp: str = ""
    sts: str = field(default="", name="Strict-Transport-Security")
    options: Literal["", "nosniff"] = field(default="", name="X-Content-Type-Options")
    frame: Literal["", "deny", "sameorigin"] = field(default="", name="X-Frame-Options")
    xss: str = field(default="", name="X-XSS-Protection")

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Give the headers that are set."""
        names = msgspec.structs.fields(self)
        found = ((one.encode_name, getattr(self, one.name)) for one in names)
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in found if value]


class Http(Struct, forbid_unknown_fields=True, frozen=True):
    """`http_server_config`. HTTP/2 may be asked for; we speak HTTP/1.1, which every client does too."""

    http2: bool = True
    headers: Headers = field(default_factory=Headers)


class RateLimit(Struct, forbid_unknown_fields=True, frozen=True):
    """`rate_limit`: one request per interval, after `burst` at once."""

    interval: str = "0s"
    burst: int = 1

    @property
    def seconds(self) -> float:
        return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(self.interval))


class WebConfig(Struct, forbid_unknown_fields=True, frozen=True):
    """The whole file."""

    tls_server_config: Tls | None = None
    http_server_config: Http = field(default_factory=Http)
    basic_auth_users: dict[str, str] = {}
    rate_limit: RateLimit = field(default_factory=RateLimit)


def load(path: str) -> WebConfig:
    """Read the file; no path is an empty file. Paths in it are relative to its directory."""
    if not path:
        return WebConfig()
    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"web.config.file: cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"web.config.file: {path}: {' '.join(str(error).split())}") from None
    try:
        config = msgspec.convert(content or {}, WebConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"web.config.file: {path}: {error}") from None
    problem = _problem(config)
    if problem:
        raise ConfigError(f"web.config.file: {path}: {problem}")
    return _located(config, Path(path).parent)


def _problem(config: WebConfig) -> str:
    """Tell what types cannot say."""
    for user, digest in config.basic_auth_users.items():
        if not _BCRYPT.fullmatch(digest):
            return f"basic_auth_users.{user}: not a bcrypt hash (htpasswd -nBC 10 {user} makes one)"
    if _DURATION.sub("", config.rate_limit.interval):
        return f"rate_limit.interval: {config.rate_limit.interval!r} is no duration such as 1s or 500ms"
    tls = config.tls_server_config
    if tls is None:
        return ""
    if not tls.cert_file or not tls.key_file:
        return "tls_server_config: cert_file and key_file are both needed"
    if "Verify" in tls.client_auth_type and not tls.client_ca_file:
        return f"tls_server_config: {tls.client_auth_type} needs client_ca_file"
    if tls.client_ca_file and "Verify" not in tls.client_auth_type:
        return "tls_server_config: client_ca_file needs client_auth_type RequireAndVerifyClientCert"
    return ""


def _located(config: WebConfig, place: Path) -> WebConfig:
    tls = config.tls_server_config
    if tls is None:
        return config
    files = {
        name: str(place / getattr(tls, name))
        for name in ("cert_file", "key_file", "client_ca_file")
        if getattr(tls, name)
    }
    return msgspec.structs.replace(config, tls_server_config=msgspec.structs.replace(tls, **files))
