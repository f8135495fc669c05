"""Text that the network wrote: bounded, printable, valid UTF-8. Attributes hold nothing else."""

__all__ = ["clean", "host_name"]

_MAX_NAME = 253
"""The longest host name (RFC 1035 section 2.3.4, as text without the final dot)."""


def clean(raw: bytes, limit: int = 256) -> str:
    r"""Decode at most `limit` bytes; what is no printable UTF-8 becomes an escape such as `\x07`."""
    text = raw[:limit].decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def host_name(raw: bytes) -> str:
    """Decode a host name in lower case without its final dot; "" where it cannot be one."""
    if not 0 < len(raw) <= _MAX_NAME + 1 or not raw.isascii():
        return ""
    name = raw.decode("ascii").lower().removesuffix(".")
    if not name or len(name) > _MAX_NAME or " " in name or not name.isprintable():
        return ""
    return name
