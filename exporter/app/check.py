"""`netproc-exporter check`: what this machine allows, what will be used, and why not better."""

import sys

import msgspec

from exporter.app import programs
from exporter.app.facts import NO_EBPF, Fact, gather
from exporter.app.source import worker_count
from exporter.app.tables import table
from exporter.config import Config

__all__ = ["check"]

MARKS = {"ok": "ok", "weak": "less", "no": "NO"}


def used(config: Config, facts: dict[str, Fact]) -> dict[str, str]:
    """Say what `run` will do with what there is."""
    wanted = config.identity.method
    netlink = facts["socket diagnostics"].state == "ok" and wanted in {"auto", "ebpf", "netlink"}
    method = "netlink" if netlink else "psutil" if wanted == "psutil" else "procfs"
    if wanted in programs.METHODS and facts["eBPF"].advice != NO_EBPF:
        method = f"ebpf, then {method}"
    sandbox = [name for name in ("user", "capabilities", "landlock", "seccomp") if facts[name].state == "ok"]
    return {
        "capture": f"libpcap on {facts['interfaces'].text}, {worker_count(config.workers)} worker(s)",
        "owners": method,
        "sandbox": "off" if config.process.sandbox == "off" else ", ".join(sandbox) or "none",
        "listen": ", ".join(config.web.listen_address),
    }


def _text(facts: list[Fact], use: dict[str, str]) -> str:
    rows = []
    for fact in facts:
        text = f"{fact.text}; {fact.advice}" if fact.advice else fact.text
        rows.append((fact.name, MARKS[fact.state], text))
    lines = [table(("WHAT", "STATE", "HERE"), rows), "", "`netproc-exporter run` will use"]
    return "\n".join([*lines, *(f"  {name:<9}{text}" for name, text in use.items())])


def check(config: Config, form: str) -> int:
    """Print it; the exit status is 1 if `run` would not start."""
    facts = list(gather(config))
    use = used(config, {fact.name: fact for fact in facts})
    ready = all(fact.state != "no" for fact in facts)
    if form == "json":
        found = {"ready": ready, "facts": [fact._asdict() for fact in facts], "use": use}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
    else:
        verdict = "It can start." if ready else "It cannot start: see NO above."
        sys.stdout.write(f"{_text(facts, use)}\n{verdict}\n")
    return 0 if ready else 1
