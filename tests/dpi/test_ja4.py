"""JA4 against fingerprints that its authors published."""

import pytest

from exporter.formats.ja4 import ja4
from exporter.formats.tls_hello import ClientHello

CIPHERS = "1a1a 1301 1302 1303 c02b c02f c02c c030 cca9 cca8 c013 c014 009c 009d 002f 0035"
SIGNATURES = "0403 0804 0401 0503 0805 0501 0806 0601"
KINDS = "3a3a 0000 0017 ff01 000a 000b 0023 0010 0005 000d 0012 0033 002d 002b 001b 4469 5a5a 0015"
CHROME = "t13d1516h2_8daaf6152771_e5627efa2ab1"
"""FoxIO, "JA4: TLS Client Fingerprinting", technical details."""


def counted(body, size=2):
    return len(body).to_bytes(size, "big") + body


def hello(kinds=KINDS, ciphers=CIPHERS, **given):
    bodies = {
        "0000": bytes.fromhex("000c000009") + b"localhost",
        "0010": counted(given.get("alpn", b"\x02h2\x08http/1.1")),
        "000d": counted(bytes.fromhex(SIGNATURES)),
        "002b": bytes.fromhex("064a4a03040303"),
    }
    listed = b"".join(bytes.fromhex(kind) + counted(bodies.get(kind, b"")) for kind in kinds.split())
    start = b"\x03\x03" + bytes(32) + b"\0" + counted(bytes.fromhex(ciphers)) + b"\x01\0"
    return ClientHello(start + counted(listed))


def test_published():
    assert ja4(hello(), "t") == CHROME


def test_order_and_grease_change_nothing():
    shuffled = hello(" ".join(sorted(KINDS.split())), " ".join(sorted(CIPHERS.split()[1:])))
    assert ja4(shuffled, "t") == CHROME
    assert ja4(hello(), "q") == "q" + CHROME[1:]


@pytest.mark.parametrize(
    ("alpn", "letters"),
    [
        (b"\x02h3", "h3"),
        (b"\x01x", "xx"),
        (b"\x02\x8a\x8a\x02h2", "h2"),
        (b"\x02\xab\xcd", "ad"),
        (b"", "00"),
    ],
)
def test_alpn(alpn, letters):
    assert ja4(hello(alpn=alpn), "t")[8:10] == letters


def test_lists_too_long_to_be_kept_and_lists_cut_short():
    many = hello(ciphers="1301 " * 400)
    assert ja4(many, "t")[4:6] == "99"
    cut = hello()
    cut.extensions[13] = cut.extensions[13][:5]
    assert ja4(cut, "t").startswith("t13d1516h2_8daaf6152771_")
