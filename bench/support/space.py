"""Namespaces of a benchmark's own. They end with the processes in them, so nothing is left behind, whatever happens."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["beside", "inside", "pin", "veth"]

ROOT = Path(__file__).resolve().parents[2]


def inside(module: str, *arguments: str, timeout: float = 900) -> Any:
    """Run a module in network, mount and process namespaces of its own; give the JSON that it prints."""
    unshare = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private")
    script = 'mount -t proc proc /proc && mount -t sysfs sysfs /sys && ip link set lo up && exec "$@"'
    command = [*unshare, "sh", "-c", script, "sh", sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=timeout, check=True)
    return json.loads(done.stdout)


def beside(module: str, *arguments: str, timeout: float = 900) -> Any:
    """Run a module in a network namespace of its own, but with the machine's processes: eBPF needs their numbers.

    Whatever it leaves is in its process group.
    """
    command = [
        "unshare",
        "--net",
        "sh",
        "-c",
        'ip link set lo up && exec "$@"',
        "sh",
        sys.executable,
        "-m",
        module,
    ]
    with tempfile.TemporaryFile("w+") as said:  # a pipe would stay open for as long as anything is left
        process = subprocess.Popen([*command, *arguments], cwd=ROOT, stdout=said, start_new_session=True)
        try:
            status = process.wait(timeout)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if status:
            raise subprocess.CalledProcessError(status, module)
        said.seek(0)
        return json.load(said)


def veth(here: str, there: str) -> None:
    """Make a pair of interfaces that say nothing by themselves."""
    for command in (
        f"ip link add {here} type veth peer name {there}",
        f"sysctl -qw net.ipv6.conf.{here}.disable_ipv6=1 net.ipv6.conf.{there}.disable_ipv6=1",
        f"ip link set {here} up",
        f"ip link set {there} up",
    ):
        subprocess.run(command.split(), check=True)


def pin(*cores: int) -> None:
    """Stay on these cores, as far as the machine has them."""
    there = os.sched_getaffinity(0)
    os.sched_setaffinity(0, there & set(cores) or there)
