"""What no protocol sent is claimed by none: at most one false claim in a thousand made-up streams and datagrams.

Flows of datagrams too, as the inspector asks about their first few one by one.
"""

import string
import zlib
from collections import Counter
from random import Random

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from exporter.dissector import Ends
from exporter.flow.inspection import Budget, Inspection
from exporter.flow.inspector import Inspector
from tests.dpi.reading import DISSECTORS, PROBED, claims

STREAMS = 2000
FLOWS, LONG = 1000, 8
"""Flows of datagrams, and of how many each: more than are asked about of either side."""
WORDS = sorted(
    {"the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "not", "this"}
)


def random(source: Random, size: int) -> bytes:
    return source.randbytes(size)


def text(source: Random, size: int) -> bytes:
    own = ["".join(source.choices(string.ascii_letters, k=source.randint(1, 9))) for _ in range(20)]
    return " ".join(source.choices([*WORDS, *own], k=size)).encode()[:size]


def compressed(source: Random, size: int) -> bytes:
    packer = zlib.compressobj(wbits=source.choice((-15, 15, 31)))
    return (packer.compress(text(source, 3 * size + 64)) + packer.flush())[:size]


def encrypted(source: Random, size: int) -> bytes:
    cipher = Cipher(ChaCha20(source.randbytes(32), source.randbytes(16)), mode=None).encryptor()
    return cipher.update(text(source, size))


def ends(source: Random, transport: str) -> Ends:
    """Two ports, one of them some protocol's."""
    known = sorted({port for dissector in DISSECTORS for port in dissector.ports})
    ports = source.sample((source.choice(known), source.randint(1024, 65535)), 2)
    return Ends(b"\x0a\0\0\1", ports[0], b"\x0a\0\0\2", ports[1], transport)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("make", [random, text, compressed, encrypted])
def test_nobody_claims_what_nobody_sent(make, transport):
    source = Random(f"{make.__name__} {transport}")
    false: Counter[str] = Counter()
    for _ in range(STREAMS):
        size = source.choice((source.randint(1, 64), source.randint(65, 1400), source.randint(1401, PROBED)))
        false.update(claims(source.randint(0, 1), make(source, size), ends(source, transport)))
    assert sum(false.values()) <= STREAMS // 1000, false


@pytest.mark.parametrize("make", [random, text, compressed, encrypted])
def test_nobody_claims_a_flow_of_datagrams_that_nobody_sent(make):
    source = Random(f"{make.__name__} flow")
    shared = Inspection(DISSECTORS, Budget(32, 65_536), lambda _: None)
    false: Counter[str] = Counter()
    for _ in range(FLOWS):
        inspector = Inspector(shared, ends(source, "udp"))
        for _ in range(LONG):
            size = source.choice((source.randint(1, 64), source.randint(65, 1400)))
            inspector.feed(source.randint(0, 1), make(source, size))
        if inspector.dissector is not None:
            false[inspector.dissector.name] += 1
    assert sum(false.values()) <= FLOWS // 1000, false
