"""Capture files that cannot be read, or not to their end."""

import gzip
import os
import struct
from pathlib import Path

import pytest

from tests.bad_input.conftest import Complains

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
FRAME = bytes.fromhex(
    "0200000000010200000000020800450000210000000040110000c0000201c000020204d20009000d000068656c6c6f"
)
RECORD = struct.pack("<IIII", 1, 0, len(FRAME), len(FRAME)) + FRAME
SECTION = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)

TRUNCATED = r"(?i)truncated"
NO_CAPTURE = r"(?i)not a capture"

FILES = [
    (b"", r"empty"),
    (b"this is a letter, not a capture\n", NO_CAPTURE),
    (b"\x7fELF" + bytes(100), NO_CAPTURE),
    (HEADER[:10], TRUNCATED),
    (HEADER + RECORD + RECORD[:9], TRUNCATED),
    (HEADER + RECORD + RECORD[:-3], TRUNCATED),
    (HEADER + RECORD + struct.pack("<IIII", 1, 0, 0xFFFFFFF0, 0xFFFFFFF0) + FRAME, r"4294967280"),
    (SECTION[:20], TRUNCATED),
    (SECTION + SECTION[:12], TRUNCATED),
    (gzip.compress(HEADER + RECORD * 50)[:-20], r"gzip.*damaged"),
    (gzip.compress(b"a compressed letter"), NO_CAPTURE),
    (b"\x1f\x8b\x08\x00 not gzip at all", r"gzip.*damaged"),
    (b"\x28\xb5\x2f\xfd" + bytes(60), r"zstd"),
]


@pytest.mark.parametrize(("data", "about"), FILES, ids=[str(n) for n in range(len(FILES))])
def test_damaged(complains: Complains, tmp_path: Path, data: bytes, about: str) -> None:
    (tmp_path / "x.pcap").write_bytes(data)
    line = complains(about, 1, "replay", "x.pcap", "--format", "jsonl")
    assert "x.pcap" in line


def test_what_is_whole_can_be_read(tmp_path: Path, complains: Complains) -> None:
    """Otherwise every test above would prove nothing."""
    (tmp_path / "x.pcap").write_bytes(HEADER + RECORD)
    with pytest.raises(AssertionError):
        complains("", 1, "replay", "x.pcap", "--format", "jsonl")


def test_missing(complains: Complains) -> None:
    complains(r"nosuch\.pcap.*[Nn]o such file", 1, "replay", "nosuch.pcap")


def test_folder(complains: Complains, tmp_path: Path) -> None:
    complains(r"directory", 1, "replay", tmp_path)


@pytest.mark.root
def test_unreadable(complains: Complains, tmp_path: Path, without_privilege: tuple[str, ...]) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(HEADER + RECORD)
    path.chmod(0o600)
    os.chown(path, 1, 1)
    complains(r"x\.pcap.*[Pp]ermission", 1, "replay", path, before=without_privilege)
