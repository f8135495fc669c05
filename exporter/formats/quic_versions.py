"""QUIC's versions: their names and what their Initial packets are protected with.

RFC 9001 section 5.2, RFC 9369 (version 2), draft-ietf-quic-tls-17 to -34; Facebook's mvfst and Google's T050 and T051
(TLS within QUIC) and Q050 (Google's handshake in the IETF's packets) as their sources publish them.
"""

from typing import NamedTuple

__all__ = ["GREASE", "Version", "reserved", "version"]

GREASE = 0x0A0A0A0A
"""Versions 0x?a?a?a?a are sent to force a negotiation (RFC 9000 section 15)."""


class Version(NamedTuple):
    """A version's name, which becomes a label, and its salt, key labels and age."""

    name: str
    salts: tuple[bytes, ...]
    """Several where it is not published which one holds."""
    prefix: str = "quic"
    """How the labels of its keys begin (RFC 9369 section 3.3.2)."""
    draft: int = 34
    """The draft whose encoding it has."""
    rotated: bool = False
    """Its long packets' types are numbered as in version 2."""
    google: bool = False
    """Its frames are Google's."""
    tls: bool = True
    """False: its handshake is Google's too."""


_DRAFT_17 = bytes.fromhex("9c108f98520a5c5c32968e950e8a2c5fe06d6c38")
_DRAFT_19 = bytes.fromhex("ef4fb0abb47470c41befcf8031334fae485e09a0")
_DRAFT_22 = bytes.fromhex("7fbcdb0e7c66bbe9193a96cd21519ebd7a02644a")
_DRAFT_23 = bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502")
_DRAFT_29 = bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899")
_FIRST = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
_SECOND = bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9")
_SECOND_DRAFT = bytes.fromhex("a707c203a59b47184a1d62ca570406ea7ae3e5d3")
_Q050 = bytes.fromhex("504574efd066fe2f9d945cfcdbd3a7f0d3b56b45")
_T050 = bytes.fromhex("7ff579e5acd072915580304c43a2367c60488310")
_T051 = bytes.fromhex("7a4edef4e7ccee5fa4506c19124fc8ccda6e033d")


_SALTS = ((19, _DRAFT_17), (21, _DRAFT_19), (23, _DRAFT_22), (29, _DRAFT_23), (33, _DRAFT_29), (35, _FIRST))
"""Until which draft each held."""


def _draft(number: int) -> Version:
    salt = next(salt for until, salt in _SALTS if number < until)
    return Version(f"draft-{number}", (salt,), draft=number)


_VERSIONS = {
    0x00000001: Version("1", (_FIRST,)),
    0x6B3343CF: Version("2", (_SECOND,), "quicv2", rotated=True),
    0x709A50C4: Version("2", (_SECOND_DRAFT, _SECOND), "quicv2", rotated=True),
    0xFACEB000: Version("mvfst", (_DRAFT_22, _DRAFT_23), draft=22),
    0xFACEB001: Version("mvfst", (_DRAFT_22,), draft=22),
    0xFACEB002: Version("mvfst", (_DRAFT_23, _DRAFT_29), draft=27),
    0xFACEB00E: Version("mvfst", (_DRAFT_23, _DRAFT_29, _FIRST), draft=27),
    0x51303530: Version("Q050", (_Q050,), draft=27, google=True, tls=False),
    0x54303530: Version("T050", (_T050,), draft=27, google=True),
    0x54303531: Version("T051", (_T051,), draft=29, google=True),
}
_VERSIONS |= {0xFF000000 + number: _draft(number) for number in range(17, 35)}
_VERSIONS |= {
    0xFACEB000 + minor: Version("mvfst", (_FIRST, _DRAFT_29, _DRAFT_23)) for minor in (3, *range(0x0F, 0x14))
}
# Those who send them protect them as one of the versions that they speak.
_RESERVED = Version("reserved", (_FIRST, _DRAFT_29, _DRAFT_23))


def version(code: int) -> Version | None:
    """Give what is known of a version; None: nothing."""
    return _VERSIONS.get(code) or (_RESERVED if reserved(code) else None)


def reserved(code: int) -> bool:
    """Tell a version that nobody speaks, so that the other side must say which ones it does."""
    return code & 0x0F0F0F0F == GREASE
