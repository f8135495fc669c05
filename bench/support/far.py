"""Another network namespace behind a veth pair, for the ends of connections that are not ours."""

import subprocess
from pathlib import Path

__all__ = ["HERE", "THERE", "Far"]

HERE, THERE = "10.9.0.1", "10.9.0.2"


class Far:
    """Lives as long as the process that holds it, which ends with the benchmark's process namespace."""

    def __init__(self, interface: str) -> None:
        """Make the pair: `interface` with the address HERE, and THERE behind it."""
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        ours = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{self._holder.pid}/ns/net").readlink() == ours:
            pass
        _do(f"ip link add {interface} type veth peer name far0 netns {self._holder.pid}")
        _do(f"ip address add {HERE}/24 dev {interface}")
        _do(f"sysctl -qw net.ipv6.conf.{interface}.disable_ipv6=1")
        _do(f"ip link set {interface} up")
        for command in (
            "sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
            "sysctl -qw net.ipv4.tcp_tw_reuse=1",
            f"ip address add {THERE}/24 dev far0",
            "ip link set far0 up",
        ):
            subprocess.run(self.command(*command.split()), check=True)

    def command(self, *words: str) -> list[str]:
        """Give the command that runs this one there."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", *words]

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


def _do(command: str) -> None:
    subprocess.run(command.split(), check=True)
