"""Basic authentication with bcrypt hashes, as slow for an unknown user as for a wrong password."""

import base64
import binascii
import hashlib
from collections.abc import Mapping

import bcrypt

__all__ = ["Gate", "credentials"]

CACHED = 100
BCRYPT_BYTES = 72
"""bcrypt looks at no more of a password."""
STRANGER = b"QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
"""Salt and digest of a password that nobody knows."""


def credentials(header: str) -> tuple[str, bytes] | None:
    """Read an Authorization header; None where it is none, or another scheme's."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None


class Gate:
    """Checks passwords and remembers the last answers, because a check costs 70 ms and more."""

    def __init__(self) -> None:
        self._known: dict[bytes, bool] = {}

    def remembered(self, users: Mapping[str, str], user: str, password: bytes) -> bool | None:
        """Give the answer if it is known."""
        return self._known.get(_key(users, user, password))

    def check(self, users: Mapping[str, str], user: str, password: bytes) -> bool:
        """Find the answer; takes its time."""
        digest = users.get(user, "").encode()
        cost = next(iter(users.values()), "$2y$10$")[: len("$2y$10$")].encode()
        good = bcrypt.checkpw(password[:BCRYPT_BYTES], digest or cost + STRANGER) and bool(digest)
        if len(self._known) >= CACHED:
            self._known.clear()
        self._known[_key(users, user, password)] = good
        return good


def _key(users: Mapping[str, str], user: str, password: bytes) -> bytes:
    parts = (user.encode(), users.get(user, "").encode(), password)
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
