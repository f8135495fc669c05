"""DNS messages: RFC 1035, RFC 2308 (NODATA), RFC 3597, RFC 6891 (EDNS), also those of mDNS and LLMNR.

A header that does not fit or a broken question raises `ParseError`; a broken or truncated record ends the reading and
leaves `whole` False. Compression pointers may only go back, so no name loops; labels other than text and pointers are
refused. Names are text in their own case: a dot or backslash inside a label and control bytes are escaped as in zone
files, the root is `<Root>`.
"""

from collections.abc import Callable
from ipaddress import IPv6Address
from struct import Struct
from struct import error as StructError  # noqa: N812 (a class, whatever its name)
from typing import NamedTuple

from exporter.errors import ParseError, ShortError

__all__ = ["ROOT", "Answer", "DnsMessage", "Question", "parse"]

ROOT = "<Root>"
A, NS, CNAME, SOA, PTR, MX, AAAA, SRV, DNAME, OPT = 1, 2, 5, 6, 12, 15, 28, 33, 39, 41

_HEADER = Struct(">6H")
_QUESTION = Struct(">HH")
_RECORD = Struct(">HHIH")
_SERVICE = Struct(">HHH")
_TRANSFERS = (251, 252)
_MAX_QUESTIONS = 16
_MAX_MULTICAST = 64
"""A query to all asks for whatever is wanted at the moment."""
_MAX_RECORDS = 256
_MAX_ANSWERS = 64
_MAX_LABELS = 4096
"""In one message: pointers make a few bytes a long name, and each of its labels takes time."""
_ESCAPES = {byte: f"\\{byte:03d}" for byte in (*range(32), 127)} | {0x2E: "\\.", 0x5C: "\\\\"}


class Question(NamedTuple):
    """What is asked for. `kind` is the record type, `group` the class."""

    name: str
    kind: int
    group: int


class Answer(NamedTuple):
    """A record of the answer section whose data we can read; `data` is a packed address for A and AAAA.

    `ttl`, seconds for which it holds, is as it was sent: above 2^31 it means 0 (RFC 2181 section 8).
    """

    name: str
    kind: int
    ttl: int
    text: str
    data: bytes


class DnsMessage:
    """A message; `answers` are the known kinds of the first 64 answers, `counts` the header's four."""

    __slots__ = (
        "answers",
        "authority",
        "counts",
        "edns",
        "flags",
        "kinds",
        "questions",
        "rcode",
        "serial",
        "whole",
    )

    def __init__(self, serial: int, flags: int, counts: tuple[int, ...]) -> None:
        self.serial = serial
        self.flags = flags
        self.counts = counts
        self.rcode = flags & 0x0F
        self.questions: list[Question] = []
        self.answers: list[Answer] = []
        self.kinds: set[int] = set()
        """Record types in the answer section."""
        self.authority: set[int] = set()
        """Record types in the authority section."""
        self.edns = False
        self.whole = False
        """Everything was read, and nothing was left."""

    @property
    def response(self) -> bool:
        return self.flags & 0x8000 != 0

    @property
    def opcode(self) -> int:
        return self.flags >> 11 & 0x0F

    @property
    def truncated(self) -> bool:
        """The sender cut it (TC)."""
        return self.flags & 0x0200 != 0

    @property
    def nodata(self) -> bool:
        """The name exists and has no record of this type (RFC 2308 section 2.2): no referral, and nothing cut off."""
        if self.flags & 0xFA0F != 0x8000 or self.rcode or len(self.questions) != 1 or not self.whole:
            return False
        kind = self.questions[0].kind
        if kind in _TRANSFERS or kind in self.kinds or self.kinds - {CNAME, DNAME, 46}:
            return False
        return SOA in self.authority or NS not in self.authority


class _Names:
    """Reads names of one message. Those already read are kept by their offset: answers point to the question's."""

    __slots__ = ("data", "known", "left")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.known: dict[int, str] = {}
        self.left = _MAX_LABELS

    def read(self, at: int) -> tuple[str, int]:
        """Read the name at `at`; give it and where the next field begins."""
        data = self.data
        first = data[at]
        if first >= 0xC0:
            target = (first & 0x3F) << 8 | data[at + 1]
            name = self.known.get(target)
            if name is not None and target < at:
                return name, at + 2
        labels: list[str] = []
        after = self._labels(at, labels)
        self.left -= len(labels)
        if self.left < 0:
            raise ParseError("names")
        name = ".".join(labels) or ROOT
        self.known[at] = name
        return name, after

    def _labels(self, at: int, labels: list[str]) -> int:
        """Collect the labels from `at`, following pointers to ever smaller offsets; give the end of the first run."""
        data = self.data
        after = 0
        lowest = at
        size = 0
        while (length := data[at]) != 0:
            if length < 64:
                at += 1
                label = data[at : at + length]
                at += length
                size += length + 1
                if size > 254 or at > len(data):
                    raise ParseError("name")
                labels.append(_label(label))
            elif length >= 0xC0:
                target = (length & 0x3F) << 8 | data[at + 1]
                if target >= lowest:
                    raise ParseError("pointer")
                after = after or at + 2
                at = lowest = target
            else:
                raise ParseError("label")
        return after or at + 1


def _label(raw: bytes) -> str:
    if raw.isalnum():  # ASCII letters and digits only, as bytes
        return raw.decode("ascii")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(_ESCAPES.get(b) or (chr(b) if b < 0x80 else f"\\{b:03d}") for b in raw)
    text = text.translate(_ESCAPES)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def parse(data: bytes, *, multicast: bool = False) -> DnsMessage:
    """Read one message. With `multicast` addresses in the additional section are answers too (RFC 6762 section 18)."""
    try:
        serial, flags, *counts = _HEADER.unpack_from(data)
        message = DnsMessage(serial, flags, tuple(counts))
        names = _Names(data)
        at = 12
        if counts[0] > (_MAX_MULTICAST if multicast else _MAX_QUESTIONS):
            raise ParseError("questions")
        for _ in range(counts[0]):
            name, at = names.read(at)
            message.questions.append(Question(name, *_QUESTION.unpack_from(data, at)))
            at += 4
    except (IndexError, ValueError, StructError):
        raise ShortError from None
    if counts[1] or counts[2] or counts[3]:
        try:
            at = _sections(message, names, at, multicast=multicast)
        except (IndexError, ParseError, StructError):
            return message
    message.whole = at == len(data)
    return message


def _address4(names: _Names, at: int, size: int) -> tuple[str, bytes]:
    raw = names.data[at : at + size]
    if size != 4:
        raise ParseError("record")
    return f"{raw[0]}.{raw[1]}.{raw[2]}.{raw[3]}", raw


def _address6(names: _Names, at: int, size: int) -> tuple[str, bytes]:
    raw = names.data[at : at + size]
    if size != 16:
        raise ParseError("record")
    return str(IPv6Address(raw)), raw


def _target(names: _Names, at: int, size: int) -> tuple[str, bytes]:
    name, after = names.read(at)
    if after > at + size:
        raise ParseError("record")
    return name, b""


def _exchange(names: _Names, at: int, size: int) -> tuple[str, bytes]:
    preference = int.from_bytes(names.data[at : at + 2], "big")
    return f"{preference} {_target(names, at + 2, size - 2)[0]}", b""


def _service(names: _Names, at: int, size: int) -> tuple[str, bytes]:
    priority, weight, port = _SERVICE.unpack_from(names.data, at)
    return f"{priority} {weight} {port} {_target(names, at + 6, size - 6)[0]}", b""


_DATA: dict[int, Callable[[_Names, int, int], tuple[str, bytes]]] = {
    A: _address4,
    AAAA: _address6,
    NS: _target,
    CNAME: _target,
    PTR: _target,
    DNAME: _target,
    MX: _exchange,
    SRV: _service,
}
"""Record types whose data is shown, and what reads it."""


def _sections(message: DnsMessage, names: _Names, at: int, *, multicast: bool) -> int:
    """Read the three sections of records."""
    data = names.data
    answers, authority, additional = message.counts[1:]
    total = answers + authority + additional
    if total > _MAX_RECORDS:
        raise ParseError("records")
    for index in range(total):
        name, at = names.read(at)
        kind, _, ttl, size = _RECORD.unpack_from(data, at)
        at += 10
        if size > len(data) - at:
            raise ParseError("record")
        if index < answers:
            message.kinds.add(kind)
            if index < _MAX_ANSWERS and kind in _DATA:
                text, raw = _DATA[kind](names, at, size)
                message.answers.append(Answer(name, kind, ttl, text, raw))
        elif index < answers + authority:
            message.authority.add(kind)
        elif kind == OPT:
            message.edns = True
            message.rcode |= ttl >> 24 << 4
        elif multicast and kind in (A, AAAA) and len(message.answers) < _MAX_ANSWERS:
            message.answers.append(Answer(name, kind, ttl, *_DATA[kind](names, at, size)))
        at += size
    return at
