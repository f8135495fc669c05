"""A capture's traffic, sent anew over a wire, gives the same protocols and counts as `replay` of the file does."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from exporter.capture.file import CaptureFile
from exporter.errors import FileFormatError
from tests.e2e.conftest import Start
from tests.e2e.netns import Pair, wait_for
from tests.e2e.running import PROGRAM, Exporter
from tests.e2e.scrape import BYTES, Scrape

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw, pytest.mark.corpus]

OPENED = "netproc_connections_opened_total"
REQUESTS = "netproc_requests_total"
FAMILIES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(BYTES, ("protocol", "transport")),
    OPENED: ("protocol", "transport", "initiator"),
    REQUESTS: ("protocol", "role", "operation", "status"),
    "netproc_captured_packets_total": ("direction",),
}
SHORT = (
    "arkime__tls-split-client-hello.pcap",
    "ipfixprobe__dns.pcap",
    "suricata-verify__dns__dns-tcp-www-google-com__dns.pcap",
    "zeek__ssh__server-pre-banner-data.pcap",
    "zeek__tls__cert-no-cn.pcap",
    "zeek__ntp__NTP_sync.pcap",
)
SETTLED = 45.0
"""A request counts as unanswered at a file's end; live after half a minute, and that is looked at every few seconds."""
BOTH = ("--decode.tunnels", "never", "--flow.settle", "3")
"""By default counts wait a second for their protocol; zeek's hrr capture shows it 15 ms later. Whether it then waited
long enough is live a matter of the worker's clock, which goes by quarters of a second."""
LONGEST, LARGEST = 10.0, 1514
"""Seconds and bytes of a frame that are sent."""


def counts(scrape: Scrape) -> dict[str, Counter[tuple[str, ...]]]:
    return {name: scrape.by(name, *labels) for name, labels in FAMILIES.items()}


def replayed(path: Path, output: str) -> str:
    command = [PROGRAM, "replay", path, "--format", output, *BOTH]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def ends(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Give the addresses of those that began, local in the file, and of the others."""
    lines = [json.loads(line) for line in replayed(path, "jsonl").splitlines()]
    near, far = (frozenset(line[side]["address"] for line in lines) for side in ("local", "remote"))
    return near, far


def fits(path: Path) -> bool:
    """Tell whether the frames may be sent over a veth, at their own speed."""
    try:
        with CaptureFile(str(path)) as capture:
            frames = list(capture)
    except FileFormatError:
        return False
    return (
        bool(frames)
        and {frame.link for frame in frames} == {1}
        and frames[-1].timestamp - frames[0].timestamp < LONGEST
        and max(frame.wire for frame in frames) <= LARGEST
        and all(len(frame.data) == frame.wire for frame in frames)
    )


@dataclass
class Group:
    """Captures in which nobody is local that is remote in one of them."""

    files: list[Path] = field(default_factory=list)
    near: set[str] = field(default_factory=set)
    far: set[str] = field(default_factory=set)

    def takes(self, near: frozenset[str], far: frozenset[str]) -> bool:
        """Tell whether a capture fits in: also no connection of it may be one of another capture's."""
        mixed = (self.near | near) & (self.far | far)
        return not mixed and not (self.near & near and self.far & far)


def grouped(files: list[Path]) -> list[Group]:
    """Deal the captures that may be sent: each group is for one exporter, which is told who is local."""
    groups: list[Group] = []
    for path in filter(fits, files):
        near, far = ends(path)
        if near & far:
            continue
        group = next((one for one in groups if one.takes(near, far)), None)
        if group is None:
            groups.append(group := Group())
        group.files.append(path)
        group.near |= near
        group.far |= far
    return groups


@pytest.mark.parametrize("offload", ["off", "auto"])
def test_live_as_from_the_file(
    *, pair: Pair, corpus: Path, tool: Callable[[str], str], start: Start, short: bool, offload: str
) -> None:
    for namespace in (pair.here, pair.there):  # nothing but what is sent
        namespace.run("sysctl", "-qw", f"net.ipv6.conf.{pair.interface}.disable_ipv6=1")
    folder = corpus / "pcap"
    groups = grouped([folder / name for name in SHORT] if short else sorted(folder.glob("*.*")))
    different = {}
    for group in groups:
        exporter = start(
            pair.here,
            *("--web.listen-address", "127.0.0.1:10187", "--capture.source", "pcap"),
            *(
                "--capture.interface",
                pair.interface,
                "--capture.offload",
                offload,
                "--no-identity.namespaces",
                *BOTH,
            ),
            *(flag for address in sorted(group.near) for flag in ("--capture.local-network", address)),
        )
        for path in group.files:
            if why := sent(pair, tool, exporter, path):
                different[path.name] = why
                print(path.name, why)
        exporter.stop()
    count = sum(len(group.files) for group in groups)
    print(f"{count} captures, {len(different)} of them differ")
    assert count >= len(SHORT)
    assert different == {}


def sent(pair: Pair, tool: Callable[[str], str], exporter: Exporter, path: Path) -> dict[str, list[Counter]]:
    """Send a capture over the wire; give what is counted otherwise than from the file."""
    want = counts(Scrape(replayed(path, "prometheus")))
    base = exporter.scrape()
    pair.there.run(tool("tcpreplay"), "-i", pair.interface, path)

    def difference() -> dict[str, list[Counter]]:
        have = counts(exporter.scrape(base))
        return {
            name: [have[name] - want[name], want[name] - have[name]]
            for name in FAMILIES
            if have[name] != want[name]
        }

    try:
        wait_for("all of it is counted", lambda: not difference(), SETTLED, every=0.3)
    except AssertionError:
        return difference()
    return {}
