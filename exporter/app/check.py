"""`netproc-exporter check`: what this machine allows, what will be used, and why not better."""

import sys

import msgspec

from exporter.app.facts import Fact, Here, gather
from exporter.app.source import worker_count
from exporter.app.tables import table
from exporter.app.trial import attempt
from exporter.config import Config

__all__ = ["check"]

MARKS = {"ok": "ok", "weak": "less", "no": "NO"}


def used(here: Here, facts: dict[str, Fact]) -> dict[str, str]:
    """Say what `run` will do with what there is."""
    config, kernel = here
    wanted = config.identity.method
    netlink = facts["socket diagnostics"].state == "ok" and wanted in {"auto", "ebpf", "netlink"}
    method = "netlink" if netlink else "psutil" if wanted == "psutil" else "procfs"
    sandbox = [name for name in ("user", "capabilities", "landlock", "seccomp") if facts[name].state == "ok"]
    source = "eBPF, counting for each socket" if kernel.counts else f"libpcap on {facts['interfaces'].text}"
    return {
        "capture": f"{source}, {worker_count(config.workers)} worker(s)",
        "owners": f"ebpf, then {method}" if kernel.tells else method,
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
    here = Here(config, attempt(config))
    facts = list(gather(here))
    use = used(here, {fact.name: fact for fact in facts})
    ready = all(fact.state != "no" for fact in facts)
    if form == "json":
        lacking = dict(here.kernel.lacking)  # as netproc_degraded_info will say
        found = {"ready": ready, "facts": [fact._asdict() for fact in facts], "use": use, "degraded": lacking}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
    else:
        verdict = "It can start." if ready else "It cannot start: see NO above."
        sys.stdout.write(f"{_text(facts, use)}\n{verdict}\n")
    return 0 if ready else 1
