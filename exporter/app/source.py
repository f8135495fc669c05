"""What the configuration asks of the source of packets, read from its JSON: the supervisor loads no msgspec."""

import os
from typing import Any

from exporter.app import programs
from exporter.ebpf import filters

__all__ = ["kernel_wish", "pcap_only", "worker_count"]

Settings = dict[str, Any]
CHOICES = ("interface", "exclude_interface", "filter", "local_network")
"""Of section `capture`: which packets there are, and whose they are."""
FEW, LITTLE = 4, 2048
"""Packets and bytes that it takes to recognise anything: a handshake's, and the first of payload."""


def worker_count(wanted: int | str) -> int:
    return min(4, len(os.sched_getaffinity(0))) if wanted == "auto" else int(wanted)


def pcap_only(whole: Settings) -> list[str]:
    """Name the settings that choose packets, or a way to their owners, as it is possible with captured packets only."""
    capture = whole["capture"]
    named = [f"capture.{name}" for name in CHOICES if capture[name]]
    named += [] if capture["loopback"] else ["capture.loopback"]
    named += ["decode.tunnels"] if whole["decode"]["tunnels"] == "always" else []
    return named + ([] if whole["identity"]["method"] in programs.METHODS else ["identity.method"])


def kernel_wish(whole: Settings) -> programs.Wish:
    """Say what is wanted of the kernel's side; with `auto` nothing that contradicts another setting."""
    capture = whole["capture"]
    source = capture["source"]
    if source == "auto" and pcap_only(whole):
        source = "pcap"
    return programs.Wish(
        source,
        whole["identity"]["method"],
        worker_count(whole["workers"]),
        whole["dpi"]["enabled"],
        not whole["self"]["traffic"],
        programs.sizes_of(whole["ebpf"]),
        capture["offload"] == "auto" and not filters.refused(capture["filter"], whole["decode"]["tunnels"]),
        capture["snaplen"],
        _budget(whole["dpi"]),
    )


def _budget(dpi: Settings) -> tuple[int, int]:
    """Give what the kernel brings up, each way: of the packets both ways, three quarters; of the bytes, half."""
    return max(FEW, dpi["packets"] * 3 // 4), max(LITTLE, dpi["bytes"] // 2)
