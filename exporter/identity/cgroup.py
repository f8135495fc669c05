"""What a cgroup's path says: container, pod and systemd unit.

The path may be any runtime's (docker, containerd, CRI-O, podman, LXC, nspawn, ECS), by any driver (cgroupfs,
systemd), in either version, nested (kind), or seen from a private cgroup namespace (`/../../x`). So the ids are taken
from the last component that holds one, never from a position counted from the front.
"""

import re
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Place", "get_place", "parse_cgroups"]

HEX = "[0-9a-f]{64}"
CONTAINER = re.compile(
    rf"""(?: (?:cri-containerd|crio|docker|libpod|containerd|nerdctl)-(?P<scope>{HEX})\.scope
           | (?P<plain>{HEX})                                # cgroupfs: docker, containerd, CRI-O, podman
           | (?P<ecs>[0-9a-f]{{32}}-[0-9]{{4,12}})           # ECS on Fargate
           | lxc\.payload\.(?P<lxc>.+)
           | systemd-nspawn@(?P<nspawn>.+)\.service
         )""",
    re.VERBOSE,
)
HELPER = re.compile(rf"(?:crio|libpod)-conmon-{HEX}(?:\.scope)?|lxc\.monitor\..+")
"""A runtime's own process beside a container: nothing to the left of it is its container."""

UID = r"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}"
POD = re.compile(rf"(?:.*-)?pod({UID}|[0-9a-f]{{32}})(?:\.slice)?")
"""A pod's cgroup; a static pod's UID is 32 hex digits without dashes."""

UNIT = re.compile(r".+\.(?:service|scope|socket|mount|swap)")
FIRST = ("", "name=systemd", "pids", "memory", "cpu,cpuacct", "cpu", "devices")
"""Hierarchies in order of trust; "" is cgroup v2."""


class Place(NamedTuple):
    """Where a process belongs; empty strings where there is none."""

    container: str = ""
    pod: str = ""
    unit: str = ""


@lru_cache(4096)
def get_place(path: str) -> Place:
    """Read a cgroup's path. Pure. A unit is named inside its container; the container's own scope is none."""
    container = pod = unit = ""
    helper = False
    parts = [piece for part in path.split("/") for piece in part.split(":")]
    for index in range(len(parts) - 1, -1, -1):
        part = parts[index]
        helper = helper or HELPER.fullmatch(part) is not None
        if not (container or pod or helper) and (found := container_in(parts, index)):
            container = found
        elif not pod and (match := POD.fullmatch(part)):
            pod = match[1].replace("_", "-")
        elif not (unit or container or helper) and UNIT.fullmatch(part):
            unit = part
    return Place(container, pod, unit)


def container_in(parts: list[str], index: int) -> str:
    """Give the id of the container that this component is, or ""."""
    if match := CONTAINER.fullmatch(parts[index]):
        return next(group for group in match.groups() if group)
    if index and parts[index - 1] == "lxc":
        return parts[index]
    return ""


def parse_cgroups(data: bytes) -> str:
    """Choose from `/proc/<pid>/cgroup` the path that says most.

    On hybrid systems the v2 path is often `/` while the v1 hierarchies know the container.
    """
    paths: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        _, _, rest = line.partition(":")
        name, colon, path = rest.partition(":")
        if colon:
            paths[name] = path
    ordered = [paths.pop(name) for name in FIRST if name in paths] + list(paths.values())
    return max(ordered, key=weight, default="/")


def weight(path: str) -> int:
    """Rank a path; of equals `max` keeps the first."""
    place = get_place(path)
    return 8 * bool(place.container) + 4 * bool(place.pod) + 2 * bool(place.unit) + (path.strip("/.") != "")
