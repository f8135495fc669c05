"""A child that does nothing, as a real one would: what it is told on the command line, and what tests ask by PLAN."""

import json
import os
import select
import signal
import sys
import time
from pathlib import Path

from exporter import config
from exporter.app import sandbox

role, *words = sys.argv[1:]
flags = dict(zip(words[::2], words[1::2], strict=True))
plan = json.loads(os.environ.get("PLAN", "{}")).get(role, "live")
name = role + flags.get("--index", "")
with open(int(flags["--config-fd"]), "rb") as file:
    settings = config.load(file.read())

if plan == "refuse":
    print(f"netproc-exporter: {role} cannot start", file=sys.stderr)
    sys.exit(3)
if plan == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

lifeline = int(flags["--lifeline-fd"])
found = Path(os.environ["OUT"], name).open("a")
listed = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
degraded = sandbox.enter(role, settings, lifeline)
print(
    json.dumps({"pid": os.getpid(), "flags": flags, "fds": listed, "degraded": degraded, "uid": os.getuid()}),
    file=found,
    flush=True,
)
if "--ready-fd" in flags:
    os.write(int(flags["--ready-fd"]), b"1")
    os.close(int(flags["--ready-fd"]))
if plan == "crash":
    time.sleep(0.05)
    sys.exit(7)
if plan == "deaf":
    time.sleep(3600)
select.select([lifeline], [], [])
