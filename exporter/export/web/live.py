"""The web configuration as it is now: the files are looked at again, so that nothing needs a restart."""

import ssl
from pathlib import Path

from exporter import log
from exporter.errors import ConfigError
from exporter.export.web import tls
from exporter.export.web.config import WebConfig, load

__all__ = ["Live"]

Stamp = tuple[tuple[int, int, int], ...]


class Live:
    """`config` and `context` (None: no TLS) of the last good state of the files."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp: Stamp = ()
        self.config = WebConfig()
        self.context: ssl.SSLContext | None = None
        self._load()
        self._stamp = self._look()

    def files(self) -> list[str]:
        """Give all files that are read."""
        secure = self.config.tls_server_config
        more = (secure.cert_file, secure.key_file, secure.client_ca_file) if secure else ()
        return [name for name in (self._path, *more) if name]

    def places(self) -> list[str]:
        """Give the directories of all files: what is replaced by a rename must stay readable."""
        return sorted({str(Path(name).resolve().parent) for name in self.files()})

    def check(self) -> None:
        """Read again what has changed. What is wrong is logged, and the last good state stays."""
        if not self._path:
            return
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._load()
        except ConfigError as error:
            log.get().error("web configuration not taken over, the last one stays", reason=str(error))
            return
        self._stamp = self._look()
        log.get().info("web configuration read again")

    def _load(self) -> None:
        config = load(self._path)
        secure = config.tls_server_config
        context = tls.context(secure) if secure else None
        self.config, self.context = config, context

    def _look(self) -> Stamp:
        return tuple(_stamp(name) for name in self.files())


def _stamp(name: str) -> tuple[int, int, int]:
    try:
        found = Path(name).stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)
