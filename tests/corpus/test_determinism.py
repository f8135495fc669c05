"""The same file says the same, whenever and however often it is replayed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.corpus, pytest.mark.slow]


@pytest.mark.parametrize(
    ("flags", "step"), [(("--format", "jsonl"), 3), (("--format", "prometheus"), 12), ((), 12)]
)
def test_two_replays_are_identical(
    corpus: Path, replays: Callable[..., list[dict[str, Any]]], flags: tuple[str, ...], step: int
) -> None:
    """Python's hash seed differs from run to run, so that the order of a set or of memory would show."""
    files = sorted((corpus / "pcap").iterdir())[::step]
    first, second = replays(files, *flags), replays(files, *flags)
    assert all(run["status"] == 0 for run in first), [run["stderr"] for run in first if run["status"]]
    assert len({run["stdout"] for run in first}) > len(files) // 2
    differ = [a["name"] for a, b in zip(first, second, strict=True) if a["stdout"] != b["stdout"]]
    assert differ == []
