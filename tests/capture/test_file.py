"""Capture files: every way to write the same packets, and every way to be damaged."""

import gzip
import io
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.capture.file import CaptureFile, DamagedFileError
from exporter.capture.pcapng import DamageError, frames
from exporter.errors import FileFormatError
from exporter.model import Frame

PACKETS = [
    (1_700_000_000, 250_000, b"first packet"),
    (1_700_000_001, 500_000, b""),
    (1_700_000_002, 0, b"z" * 1500),
]
TIMES = [1_700_000_000.25, 1_700_000_001.5, 1_700_000_002.0]


def pcap(order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1, extra: bytes = b"") -> bytes:
    """The three packets; nanoseconds if the magic says so."""
    scale = 1000 if magic == 0xA1B23C4D else 1
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for seconds, fraction, body in PACKETS:
        data += (
            struct.pack(order + "IIII", seconds, fraction * scale, len(body), len(body) + 4) + extra + body
        )
    return data


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str = "<", major: int = 1) -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1), order)


def interface(link: int = 1, snaplen: int = 0, order: str = "<", **options: bytes) -> bytes:
    codes = {"name": 2, "resolution": 9, "offset": 14}
    body = struct.pack(order + "HHI", link, 0, snaplen)
    for name, value in options.items():
        body += struct.pack(order + "HH", codes[name], len(value)) + value + bytes(-len(value) % 4)
    return block(1, body + bytes(4), order)


def packet(body: bytes, ticks: int = 0, index: int = 0, order: str = "<") -> bytes:
    head = struct.pack(order + "IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(body), len(body) + 4)
    return block(6, head + body + bytes(-len(body) % 4) + b"\x01\0\x02\0hi\0\0\0\0\0\0", order)


def pcapng(order: str = "<") -> bytes:
    ticks = [seconds * 1_000_000 + fraction for seconds, fraction, _ in PACKETS]
    bodies = [body for _, _, body in PACKETS]
    return (
        section(order)
        + interface(order=order)
        + b"".join(packet(body, tick, order=order) for body, tick in zip(bodies, ticks, strict=True))
    )


def read(path: Path | str) -> list[Frame]:
    with CaptureFile(str(path)) as capture:
        return list(capture)


def attempt(path: Path) -> tuple[list[bytes], FileFormatError | None]:
    """Give what could be read, and the error that ended it."""
    found: list[bytes] = []
    try:
        with CaptureFile(str(path)) as capture:
            found.extend(frame.data for frame in capture)
    except FileFormatError as problem:
        return found, problem
    return found, None


Make = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """Write a file."""

    def make(data: bytes, name: str = "some.pcap") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return make


SAME = {
    "pcap, little-endian": pcap("<"),
    "pcap, big-endian": pcap(">"),
    "pcap, nanoseconds": pcap("<", 0xA1B23C4D),
    "pcap, nanoseconds, big-endian": pcap(">", 0xA1B23C4D),
    "pcap, Kuznetzov's": pcap("<", 0xA1B2CD34, extra=bytes(8)),
    "pcap, Kuznetzov's, big-endian": pcap(">", 0xA1B2CD34, extra=bytes(8)),
    "pcap, with a checksum's length": pcap(link=0x2400_0001),
    "pcapng, little-endian": pcapng("<"),
    "pcapng, big-endian": pcapng(">"),
    "gzip": gzip.compress(pcap()),
    "gzip, two members": gzip.compress(pcap()[:50]) + gzip.compress(pcap()[50:]),
    "gzip, pcapng": gzip.compress(pcapng()),
}


@pytest.mark.parametrize("data", SAME.values(), ids=SAME)
def test_every_form_says_the_same(made: Make, data: bytes) -> None:
    found = read(made(data))
    assert [frame.timestamp for frame in found] == pytest.approx(TIMES, abs=1e-6)
    assert [frame.data for frame in found] == [body for _, _, body in PACKETS]
    assert [(frame.link, frame.wire - len(frame.data), frame.interface) for frame in found] == [
        (1, 4, "some.pcap")
    ] * 3


@pytest.mark.parametrize("data", SAME.values(), ids=SAME)
def test_standard_input(data: bytes) -> None:
    code = "from exporter.capture.file import CaptureFile; print(sum(len(f.data) for f in CaptureFile('-')))"
    run = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert int(run.stdout) == 1512


@pytest.mark.parametrize("data", SAME.values(), ids=SAME)
def test_truncated_anywhere(made: Make, data: bytes) -> None:
    """All whole records, then one line that says where; a cut between two records is no damage."""
    whole = [body for _, _, body in PACKETS]
    for size in range(4, len(data), 3):
        found, problem = attempt(made(data[:size]))
        assert found == whole[: len(found)]
        assert "\n" not in str(problem)
        if isinstance(problem, DamagedFileError):
            assert problem.records == len(found)
            assert f"record {len(found) + 1}" in str(problem)
        else:
            assert problem is None or not found


def test_sections_interfaces_and_their_clocks(made: Make) -> None:
    """Link types, snaplens and resolutions differ by interface; a section begins anew, in its own byte order."""
    data = (
        section()
        + interface(1, name=b"eth0")
        + interface(101, name=b"tun0\0", resolution=b"\x09", offset=struct.pack("<q", 1000))
        + interface(113, resolution=b"\x8a")  # 2^-10 s
        + block(4, b"names")
        + packet(b"a", 5_000_000)
        + packet(b"b", 5_000_000_000, 1)
        + packet(b"c", 5 * 1024, 2)
        + block(10, struct.pack("<II", 0x544C534B, 4) + b"keys")
        + block(0x80000BAD, b"whatever")
        + section(">")
        + interface(0, order=">", name="é\n\u202e".encode() + b"\xff" * 100)
        + packet(b"d", 6_000_000, order=">")
    )
    found = read(made(data, "x.pcapng"))
    assert [(frame.data, frame.link, frame.timestamp) for frame in found] == [
        (b"a", 1, 5.0),
        (b"b", 101, 1005.0),
        (b"c", 113, 5.0),
        (b"d", 0, 6.0),
    ]
    names = [frame.interface for frame in found]
    assert names[:3] == ["eth0", "tun0", "x.pcapng"]
    assert len(names[3]) == 64
    assert names[3].isprintable() or names[3].startswith("é\ufffd\ufffd")


def test_simple_and_obsolete_packets(made: Make) -> None:
    data = (
        section()
        + interface(1, snaplen=4)
        + interface(12)
        + block(2, struct.pack("<HHIIII", 1, 7, 0, 3_000_000, 3, 60) + b"old")
        + block(3, struct.pack("<I", 60) + b"simp")
    )
    old, simple = read(made(data))
    assert old == Frame(3.0, 12, b"old", 60, "some.pcap")
    assert simple == Frame(3.0, 1, b"simp", 60, "some.pcap")


def test_lengths_in_the_old_order(made: Make) -> None:
    """Before version 2.3 the wire's length came first."""
    data = (
        struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 2, 0, 0, 65535, 1) + struct.pack("<IIII", 1, 0, 60, 3) + b"abc"
    )
    assert read(made(data)) == [Frame(1.0, 1, b"abc", 60, "some.pcap")]


HEAD = pcap()[:24]
DAMAGED = {
    "a record of 4 GB": HEAD + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 60) + b"x" * 60,
    "a record over the bound": HEAD + struct.pack("<IIII", 0, 0, 262_145, 60) + b"x" * 60,
    "a record that ends early": HEAD + struct.pack("<IIII", 0, 0, 262_144, 60) + b"x" * 60,
    "version 3": HEAD[:4] + b"\3\0" + HEAD[6:],
    "reserved bits of the link type": HEAD[:20] + struct.pack("<I", 0x0030_0001),
    "a header that ends early": HEAD[:10],
    "a block of 4 GB": section() + struct.pack("<II", 6, 0xFFFFFFFC) + bytes(60),
    "an unknown block of 4 GB": section() + struct.pack("<II", 99, 0xFFFFFFFC) + bytes(60),
    "a block of nothing": section() + struct.pack("<II", 6, 0) + bytes(60),
    "a block of an odd length": section() + struct.pack("<II", 6, 33) + bytes(60),
    "a packet without an interface": section() + packet(b"x"),
    "a simple packet without an interface": section() + block(3, bytes(8)),
    "a packet longer than its block": section()
    + interface()
    + block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99)),
    "a packet block too short": section() + interface() + block(6, bytes(8)),
    "a simple packet block too short": section() + interface() + block(3, b""),
    "an interface too short": section() + block(1, b"\1\0\0\0"),
    "two lengths": section() + interface()[:-4] + b"\0\0\0\1",
    "pcapng version 2": section(major=2),
    "no byte order": section()[:8] + bytes(20),
    "a section of 4 GB": section()[:4] + b"\xfc\xff\xff\xff" + section()[8:],
    "a gzip file that is none": b"\x1f\x8b\x08\x00" + bytes(60),
    "a gzip file with a bad end": gzip.compress(pcap())[:-8] + bytes(8),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_one_line_and_costs_nothing(made: Make, data: bytes) -> None:
    path = made(data)
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError) as problem:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 18 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert str(problem.value).startswith(f"{path}: ")
    assert "\n" not in str(problem.value)


def test_interfaces_are_bounded(made: Make) -> None:
    with pytest.raises(DamagedFileError, match="more than 65536 interfaces"):
        read(made(section() + interface() * 65_537))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"\x7fELF", "is not a capture"),
        (b"ab", "is not a capture"),
        (gzip.compress(b"hello"), "is not a capture"),
        (b"snoop\0\0\0", "snoop file; convert it with: editcap"),
        (b"\x28\xb5\x2f\xfd" + bytes(9), "compressed with zstd; unpack it first"),
        (b"BZh91AY", "compressed with bzip2"),
    ],
)
def test_what_is_no_capture(made: Make, data: bytes, says: str) -> None:
    with pytest.raises(FileFormatError, match=says) as problem:
        read(made(data))
    assert not isinstance(problem.value, DamagedFileError)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no such file"):
        CaptureFile(str(tmp_path / "absent"))
    with pytest.raises(FileFormatError, match="is a directory"):
        CaptureFile(str(tmp_path))
    with pytest.raises(FileFormatError, match="cannot be read"):
        CaptureFile("nul\0")


def test_progress(made: Make) -> None:
    path = made(pcap())
    with CaptureFile(str(path)) as capture:
        assert (capture.size, capture.records) == (path.stat().st_size, 0)
        list(capture)
        assert (capture.position, capture.records) == (capture.size, 3)


@given(st.binary(max_size=200), st.integers(0, 8))
def test_any_blocks(data: bytes, kind: int) -> None:
    """Nothing but DamageError behind a section header, and each frame within its bounds."""
    stream = io.BytesIO(section()[4:] + interface(snaplen=9) + block(kind, data) + data)
    try:
        for frame in frames(stream.read, "x"):
            assert frame.wire >= len(frame.data)
    except DamageError:
        pass
