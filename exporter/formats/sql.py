"""A statement's verb, and nothing else of it: SQL's text may hold secrets, so none of it is kept (ISO/IEC 9075)."""

import re

__all__ = ["VERBS", "verb"]

# fmt: off
VERBS = frozenset({
    "ALTER", "ANALYZE", "BEGIN", "CALL", "CHECKPOINT", "CLOSE", "COMMIT", "COPY", "CREATE",
    "DEALLOCATE", "DECLARE", "DELETE", "DESCRIBE", "DISCARD", "DO", "DROP", "END", "EXECUTE", "EXPLAIN",
    "FETCH", "FLUSH", "GRANT", "INSERT", "KILL", "LISTEN", "LOAD", "LOCK", "MERGE", "NOTIFY", "PREPARE",
    "REFRESH", "RELEASE", "REPLACE", "RESET", "REVOKE", "ROLLBACK", "SAVEPOINT", "SELECT", "SET",
    "SHOW", "START", "TABLE", "TRUNCATE", "UNLISTEN", "UNLOCK", "UPDATE", "USE", "VACUUM", "VALUES",
    "WITH",
})
# fmt: on
"""At most 52, so that a dissector has room for a dozen operations of its own."""

_VERB = re.compile(rb"(?:[\s(;]|--[^\n]*\n|#[^\n]*\n|/\*[^*]*(?:\*(?!/)[^*]*)*\*/)*([A-Za-z]+)")


def verb(statement: bytes) -> str:
    """Give the first word in upper case, after blanks, comments and parentheses; "other" if it is none of `VERBS`."""
    if not (match := _VERB.match(statement)):
        return "other"
    word = match[1].decode("ascii").upper()
    return word if word in VERBS else "other"
