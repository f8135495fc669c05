"""The parent: keeps the privileges, sockets and memory files, starts and restarts children. Standard library only.

It reads no packet and no request, and sleeps unless a child ends or a signal comes. It is started by `netproc-exporter
run` with the checked configuration in a memory file:

    python -m exporter.app.supervisor --config-fd N [--ledger-size BYTES]
"""

import contextlib
import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from exporter.app import channels, children, kernel, listen, policy, programs, sandbox, source
from exporter.app.handover import Handover
from exporter.app.keeper import Keeper, Say
from exporter.errors import UserError
from exporter.log import lines

__all__ = ["main", "run"]

AF_PACKET = 17

Settings = dict[str, Any]


def speaker(settings: Settings) -> Say:
    """Give the supervisor's whole logger: `say(level, event, key=value)`."""
    form = lines.choose(settings["format"], sys.stderr)
    least = lines.LEVELS[settings["level"]]

    def say(level: str, event: str, **keys: object) -> None:
        if lines.LEVELS[level] < least:
            return
        fields = {"timestamp": lines.now(), "level": level, "component": "supervisor", "event": event, **keys}
        with contextlib.suppress(OSError, ValueError):  # a terminal that is gone must not end us
            print(form(fields), file=sys.stderr, flush=True)  # noqa: T201  (a log line)

    return say


def read_settings(config: bytes) -> Settings:
    """Take what the supervisor itself needs from the configuration, which `run` has checked and completed."""
    whole = json.loads(config)
    web, process = whole["web"], whole["process"]
    return {
        "workers": source.worker_count(whole["workers"]),
        "listen": web["listen_address"],
        "path": web["telemetry_path"],
        "web_config": web["config_file"],
        "sandbox": process["sandbox"],
        "user": process["user"],
        "kernel": source.kernel_wish(whole),
        "captured_for": source.pcap_only(whole) if whole["capture"]["source"] == "auto" else [],
        **whole["log"],
    }


def scheme(web_config: str) -> str:
    """`https` if the file of exporter-toolkit's format has a TLS section; it is read properly elsewhere."""
    with contextlib.suppress(OSError):
        text = Path(web_config).read_text(encoding="utf-8", errors="replace") if web_config else ""
        return "https" if re.search(r"^tls_server_config\s*:", text, re.MULTILINE) else "http"
    return "http"


def check_privilege() -> None:
    """Try what workers will do: the answer of seccomp, namespaces and capabilities together."""
    try:
        socket.socket(AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        raise UserError(policy.NO_PRIVILEGE) from None
    except OSError as error:
        raise UserError(f"this kernel has no packet sockets (AF_PACKET): {error.strerror}") from None


def check_sandbox(mode: str, name: str, say: Say) -> None:
    """Refuse or warn, once for all children; each also exports what it lacks as netproc_degraded_info."""
    if mode != "off" and (lacking := sandbox.missing(name)):
        if mode == "strict":
            raise UserError(f"process.sandbox is strict, but {policy.explain(lacking)}")
        say("warning", f"the sandbox is weaker here; {policy.explain(lacking)}")
    if lost := policy.ROLES["identity"].capabilities - kernel.held():
        say("warning", f"owners of other users' sockets stay unknown: grant {' and '.join(sorted(lost))}")


def say_source(loaded: programs.Loaded, asks: list[str], say: Say) -> None:
    """Say once how packets and their owners are seen where it is not the best way, and why."""
    if asks:
        say("info", f"packets are captured, as {' and '.join(asks)} asks; the kernel counts for no interface")
    if not loaded.lacking:
        return
    missing = {component for component, _ in loaded.lacking}
    if "ebpf" in missing:
        instead = "packets are captured, and owners are looked up in the socket tables"
    elif "ebpf_flows" in missing:
        instead = "packets are captured; the kernel tells their owners"
    elif missing == {"offload"}:
        instead = "all captured packets are read"
    else:
        instead = "less is known of who uses a socket"
    say("info", f"{instead}; {policy.explain(loaded.lacking)}")


def notify(state: str) -> None:
    """Tell systemd, if it asked (sd_notify)."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if where.startswith(("/", "@")):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(state.encode(), "\0" + where[1:] if where[0] == "@" else where)


def run(config: bytes, ledger_size: int = 0, program: children.Program = children.program) -> int:
    """Open everything, drop what is not needed, run the children; give the exit status."""
    settings = read_settings(config)
    say = speaker(settings)
    listeners = listen.bind_all(settings["listen"])
    loaded = programs.load(settings["kernel"])
    if not loaded.counts:
        check_privilege()
    check_sandbox(settings["sandbox"], settings["user"], say)
    held = channels.hold(settings["workers"], ledger_size)
    if settings["sandbox"] != "off":
        sandbox.restrict_supervisor(loaded.role)
    keeper = Keeper(Handover(config, held, listeners, loaded), say)

    def up() -> None:
        say_source(loaded, settings["captured_for"], say)
        for url in listen.urls(listeners, settings["path"], scheme(settings["web_config"])):
            say("info", f"listening on {url}")
        notify("READY=1")

    keeper.on_up = up
    keeper.degraded = loaded.lacking
    keeper.prepare(program)
    status = keeper.watch()
    notify("STOPPING=1")
    return status


def main(arguments: list[str]) -> NoReturn:
    """Read the flags that `netproc-exporter run` sets; nobody types them."""
    flags = dict(zip(arguments[::2], arguments[1::2], strict=True))
    with open(int(flags["--config-fd"]), "rb") as file:  # noqa: PTH123  (a descriptor)
        config = file.read()
    try:
        status = run(config, int(flags.get("--ledger-size", 0)))
    except UserError as error:
        print(f"netproc-exporter: {error}", file=sys.stderr)  # noqa: T201  (what a command says)
        status = error.status
    sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
