"""Environment variables: `NETPROC_CAPTURE_SNAPLEN=128`, lists with commas."""

import re
from collections.abc import Mapping

from msgspec import inspect

from exporter.configload.settings import PREFIX, settings
from exporter.configload.words import suggest
from exporter.errors import ConfigError

__all__ = ["FILE_VARIABLE", "Found", "from_environment"]

FILE_VARIABLE = "NETPROC_CONFIG_FILE"
FOREIGN = re.compile(
    r"NETPROC_(EXPORTER_.*|BPF|CORPUS|SHORT|(.*_)?(SERVICE_HOST|SERVICE_PORT.*|PORT(_\d+_(TCP|UDP|SCTP).*)?))"
)
"""Set by Kubernetes for a Service whose name begins as ours does, or by our build or our tests."""

Found = dict[str, tuple[object, str]]
"""Key → value, place."""


def from_environment(environ: Mapping[str, str]) -> Found:
    by_variable = {setting.variable: setting for setting in settings().values() if setting.plain}
    found: Found = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name == FILE_VARIABLE or FOREIGN.fullmatch(name):
            continue
        if name not in by_variable:
            raise ConfigError(f"environment {name}: unknown variable{suggest(name, by_variable)}")
        setting = by_variable[name]
        several = isinstance(setting.kind, inspect.VarTupleType)
        value = [part.strip() for part in text.split(",") if part.strip()] if several else text
        found[setting.key] = (value, f"environment {name}")
    return found
