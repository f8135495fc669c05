"""The cursor: reads what is there, never past its window, and has one error for "ends too early"."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import ParseError, ShortError
from exporter.wire import Reader

INTEGERS = {
    "u8": (1, "big"),
    "u16": (2, "big"),
    "u24": (3, "big"),
    "u32": (4, "big"),
    "u64": (8, "big"),
    "u16le": (2, "little"),
    "u24le": (3, "little"),
    "u32le": (4, "little"),
    "u64le": (8, "little"),
}


@pytest.mark.parametrize("name", INTEGERS)
@given(data=st.binary(max_size=12))
def test_integers(name, data):
    size, order = INTEGERS[name]
    reader = Reader(data)
    if len(data) < size:
        with pytest.raises(ShortError):
            getattr(reader, name)()
        assert reader.pos == 0
    else:
        assert getattr(reader, name)() == int.from_bytes(data[:size], order)
        assert reader.pos == size


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("c2197c5eff14e88c", 151288809941952652),
        ("9d7f3e7d", 494878333),
        ("7bbd", 15293),
        ("25", 37),
        ("4025", 37),
    ],
)
def test_varint_of_rfc_9000_appendix_a(data, value):
    assert Reader(bytes.fromhex(data)).varint() == value


def test_a_window_ends_before_its_data():
    reader = Reader(b"\x03abcdef")
    inner = reader.sub(reader.u8())
    assert reader.rest() == b"def"
    assert inner.peek(9) == b"abc"
    assert inner.take(2) == b"ab"
    with pytest.raises(ShortError):
        inner.u16()
    with pytest.raises(ShortError):
        inner.sub(2)
    assert inner.rest() == b"c"
    assert not len(inner)


@pytest.mark.parametrize("size", [-1, 4])
@pytest.mark.parametrize("method", ["take", "skip", "sub"])
def test_sizes_that_do_not_fit(method, size):
    reader = Reader(b"abc")
    with pytest.raises(ShortError):
        getattr(reader, method)(size)
    assert len(reader) == 3


def test_until():
    reader = Reader(b"GET /\r\nrest", 0, 9)
    assert reader.until(b"\r\n", 5) == b"GET /"
    with pytest.raises(ShortError):
        reader.until(b"t", 9)
    assert reader.rest() == b"re"
    with pytest.raises(ShortError):
        Reader(b"abcdef;").until(b";", 5)
    assert Reader(b"abcdef;").until(b";", 6) == b"abcdef"


def test_the_end_is_never_past_the_data():
    assert len(Reader(b"ab", 1, 9)) == 1
    assert issubclass(ShortError, ParseError)
    assert ShortError().reason == "short"
