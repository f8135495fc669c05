"""Heads of text protocols that look like HTTP's: a start line, fields, an empty line (RFC 9112 section 2, RFC 5322)."""

import re

__all__ = ["END", "Fields", "fields"]

Fields = dict[bytes, bytes]

END = re.compile(rb"\n\r?\n")
"""Where a head ends, counted from the line feed of its last line."""


def fields(lines: list[bytes]) -> Fields:
    """Read field lines: names in lower case; what is repeated is joined by commas, what is no field is passed over."""
    found: Fields = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or name[:1] in (b" ", b"\t"):  # a folded line has no say in framing
            continue
        name = name.rstrip().lower()
        value = value.strip()
        found[name] = found[name] + b", " + value if name in found else value
    return found
