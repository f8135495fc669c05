"""Runs a command once for each file named on standard input; prints a JSON line with its status, time and memory.

usage: measure.py SECONDS JOBS COMMAND ... < names

A program of its own because a child's peak memory begins at what its parent had: here, next to nothing.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor


def measure(command: list[str], name: str, limit: float) -> dict[str, object]:
    """Run once; `status` is None if it had to be killed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        process = subprocess.Popen([*command, name], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        timer = threading.Timer(limit, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        took = time.monotonic() - began
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return {
            "name": name,
            "status": process.returncode if took < limit else None,
            "seconds": took,
            "mib": usage.ru_maxrss / 1024,
            "stdout": hashlib.sha256(out.read()).hexdigest(),
            "stderr": err.read().decode(errors="replace"),
        }


def main() -> None:
    limit, jobs, command = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    names = sys.stdin.read().splitlines()
    with ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(lambda name: measure(command, name, limit), names):
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
