"""A child that does nothing, as a real one would: it writes down what it was given, and does what PLAN says."""

import json
import os
import select
import signal
import sys
import time
from pathlib import Path

from exporter import config
from exporter.app import channels, sandbox
from exporter.ebpf.layout import Handles, Key
from exporter.ebpf.shard import Shard

role, *words = sys.argv[1:]
flags = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
plan = json.loads(os.environ.get("PLAN", "{}")).get(role, "live")
descriptor = int(flags["config-fd"])
settings = config.load(os.pread(descriptor, 1 << 20, 0))

if plan in {"refuse", "misuse"} or (plan == "refuse later" and Path(os.environ["OUT"], f"{role}0").exists()):
    print(f"netproc-exporter: {role} cannot start", file=sys.stderr)
    sys.exit(2 if plan == "misuse" else 3)
if plan == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

lifeline = int(flags["lifeline-fd"])
shard = Shard(Handles.parse(flags["handles"])) if "handles" in flags else None
with Path(os.environ["OUT"], f"{role}{flags.get('index', '')}").open("a") as out:
    status = channels.read_status(int(flags["status-fd"])) if "status-fd" in flags else None
    fds = sorted(int(link.name) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    kind = "worker_ebpf" if shard else "worker_offload" if "offload" in flags else role
    degraded = sandbox.enter(kind, settings, lifeline)
    found = {
        "pid": os.getpid(),
        "uid": os.getuid(),
        "flags": flags,
        "fds": fds,
        "status": status,
        "degraded": degraded,
    }
    if shard and plan != "blind":
        found["ports"] = sorted({Key.read(flow.key).rport for flow in shard.turn()})
        shard.release()
    print(json.dumps(found), file=out)
if "ready-fd" in flags:
    os.write(int(flags["ready-fd"]), b"1")
    os.close(int(flags["ready-fd"]))
if plan == "crash":
    time.sleep(0.05)
    sys.exit(7)
if plan in {"deaf", "stubborn"}:
    time.sleep(3600)
select.select([lifeline], [], [])
