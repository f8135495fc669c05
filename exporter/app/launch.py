"""From the command line to the supervisor: the same process, but a new and small image of it."""

import json
import os
import signal
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import NoReturn

import msgspec

import exporter
from exporter import config, ledgerfile
from exporter.app import channels, listen, source, user
from exporter.config import Config
from exporter.errors import ConfigError

__all__ = ["launch", "require_attributes", "require_consistent", "require_protocols"]

TUNING = ("snaplen", "buffer_size")
"""Of section `capture`: what changes how packets are captured, and not which."""


def require_protocols(settings: Config) -> None:
    """Refuse a name that no dissector has."""
    if not settings.dpi.protocols:
        return
    from exporter import dpi

    try:
        dpi.select(settings.dpi.protocols)
    except ValueError as error:
        raise ConfigError(f"dpi.protocols: {error}") from None


def require_attributes(settings: Config) -> None:
    """Refuse a name that no attribute has."""
    if not settings.attributes:
        return
    from exporter import attributes, dpi
    from exporter.dissector import known_attributes

    try:
        attributes.select(settings.attributes, known_attributes(dpi.load()))
    except ValueError as error:
        raise ConfigError(f"attributes: {error}") from None


def require_consistent(settings: Config) -> None:
    """Refuse `capture.source: ebpf` beside what it would ignore."""
    capture, usual = settings.capture, config.Capture()
    if capture.source != "ebpf":
        return
    named = source.pcap_only(json.loads(config.dump(settings)))
    named += [f"capture.{one}" for one in TUNING if getattr(capture, one) != getattr(usual, one)]
    if named:
        raise ConfigError(
            f"capture.source is ebpf, which has no {' and no '.join(named)}; leave that out, or take pcap"
        )


def require_networks(settings: Config) -> None:
    """Refuse a network that is none, as its pattern cannot."""
    for network in settings.capture.local_network:
        try:
            ip_network(network, strict=False)
        except ValueError as error:
            raise ConfigError(f"capture.local_network: {error}") from None


def resolved(settings: Config) -> Config:
    """Check what only this machine can tell, and make paths absolute."""
    require_consistent(settings)
    require_networks(settings)
    for address in settings.web.listen_address:
        listen.split_address(address)
    if settings.process.sandbox != "off":
        user.resolve_user(settings.process.user)
    if not settings.web.config_file:
        return settings
    path = str(Path(settings.web.config_file).absolute())
    from exporter.export.web.live import Live

    Live(path)
    return msgspec.structs.replace(settings, web=msgspec.structs.replace(settings.web, config_file=path))


def _make_importable() -> None:
    """Children search no current directory; if we were found there (`python -m exporter`), say where we are."""
    root = str(Path(exporter.__file__).parents[1])
    if not sys.flags.safe_path and sys.path[0] == root:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


def launch(settings: Config) -> NoReturn:
    """Become the supervisor. A signal that comes in between waits until it is there."""
    descriptor = channels.config_file(config.dump(resolved(settings)))
    os.set_inheritable(descriptor, True)  # noqa: FBT003  (the standard library's own interface)
    _make_importable()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    command = [sys.executable, "-P", "-m", "exporter.app.supervisor"]
    flags = ["--config-fd", str(descriptor), "--ledger-size", str(ledgerfile.size(settings.metrics))]
    sys.stdout.flush()
    os.execv(sys.executable, [*command, *flags])  # noqa: S606  (our own interpreter, without a shell)
