"""A process that ends while it is read: its container is known all the same."""

import time

from exporter.ebpf.cgroups import Cgroups
from exporter.model import Whose
from tests.identity.test_inquiries import Made

CONTAINER = "7" * 64


def test_the_kernel_s_cgroup_stands_in_for_procfs(tree, tmp_path):
    tree.process(7, exe="/usr/bin/thing")
    (tree.root / "7/cgroup").unlink()
    folder = tmp_path / "cgroups" / CONTAINER
    folder.mkdir(parents=True)
    made = Made(tree)
    made.told.cgroups = Cgroups(folder.parent)
    made.inquiries.ask(0, Whose(1, 7, 100, folder.stat().st_ino))
    (answer,) = made.later(0)
    assert (answer.owner.process, answer.owner.executable) == ("thing", "/usr/bin/thing")
    assert (answer.owner.container, answer.owner.cgroup) == (CONTAINER, f"/{CONTAINER}")


def test_a_new_cgroup_is_found_soon(tmp_path):
    known = Cgroups(tmp_path)
    now = time.monotonic()
    assert known.path(1, now) == ""
    folder = tmp_path / CONTAINER
    folder.mkdir()
    assert known.path(folder.stat().st_ino, now) == ""  # looked a moment ago
    assert known.path(folder.stat().st_ino, now + 0.5) == f"/{CONTAINER}"
