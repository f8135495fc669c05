"""The keys of QUIC's Initial packets, which follow from the client's first connection id: RFC 9001 section 5.

They keep nobody out: they only prove that a packet is whole, and of this connection. `cryptography` is imported with
the first Initial: it takes 7 MiB, which many a machine has no use for. A sandboxed worker may read the installation.
"""

from hmac import digest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.ciphers.modes import ECB

__all__ = ["Keys", "initial_keys"]

_HASH_SIZE = 32
"""SHA-256's digest in bytes."""
_SAMPLE = 16
_TAG = 16


def _expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 section 7.1) without context, of at most one block."""
    name = b"tls13 " + label.encode("ascii")
    info = size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\x00\x01"
    return digest(secret, info, "sha256")[:size]


def initial_keys(salt: bytes, cid: bytes, prefix: str) -> tuple["Keys", "Keys"]:
    """Derive the client's and the server's keys from the client's first connection id (section 5.2)."""
    secret = digest(salt, cid, "sha256")
    return (
        Keys(_expand(secret, "client in", _HASH_SIZE), prefix),
        Keys(_expand(secret, "server in", _HASH_SIZE), prefix),
    )


class Keys:
    """One side's keys: AES-128 in GCM for the payload, in ECB for the header. They are made when first needed."""

    __slots__ = ("_aead", "_header", "_iv", "_prefix", "_secret")

    def __init__(self, secret: bytes, prefix: str) -> None:
        self._secret = secret
        self._prefix = prefix
        self._aead: AESGCM | None = None
        self._iv = 0
        self._header: Cipher[ECB] | None = None

    def _make(self) -> "tuple[AESGCM, Cipher[ECB]]":
        """Derive key, nonce base and header key (section 5.1)."""
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.ciphers.algorithms import AES
        from cryptography.hazmat.primitives.ciphers.modes import ECB

        secret, prefix = self._secret, self._prefix
        self._iv = int.from_bytes(_expand(secret, f"{prefix} iv", 12), "big")
        aead = self._aead = AESGCM(_expand(secret, f"{prefix} key", 16))
        # One block, and what is encrypted is random: this is header protection, not secrecy.
        mode = ECB()  # noqa: S305 - section 5.4.3 asks for it
        header = self._header = Cipher(AES(_expand(secret, f"{prefix} hp", 16)), mode)
        return aead, header

    def open(self, packet: bytes, at: int, expected: int) -> tuple[int, bytes] | None:
        """Give the number and payload of a whole long packet whose number is at `at`; None: not with these keys.

        `expected` is the number after the largest that was read (RFC 9000 appendix A.3).
        """
        start = at + 4
        if len(packet) < start + _SAMPLE:
            return None
        aead, header = (self._aead, self._header)
        if aead is None or header is None:
            aead, header = self._make()
        mask = header.encryptor().update(packet[start : start + _SAMPLE])
        first = packet[0] ^ (mask[0] & 0x0F)
        size = 1 + (first & 3)
        raw = bytes(a ^ b for a, b in zip(packet[at : at + size], mask[1:], strict=False))
        number = _number(int.from_bytes(raw, "big"), 8 * size, expected)
        nonce = (self._iv ^ number).to_bytes(12, "big")
        if len(packet) < at + size + _TAG:
            return None
        from cryptography.exceptions import InvalidTag

        try:
            return number, aead.decrypt(nonce, packet[at + size :], bytes([first]) + packet[1:at] + raw)
        except InvalidTag:
            return None


def _number(short: int, bits: int, expected: int) -> int:
    """Complete a packet's number to the one nearest to what is expected."""
    window = 1 << bits
    number = (expected & -window) | short
    if number + window // 2 <= expected:
        return number + window
    if number > expected + window // 2 and number >= window:
        return number - window
    return number
