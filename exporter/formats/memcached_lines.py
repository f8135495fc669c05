"""memcached's text protocol: commands and replies by line (memcached, doc/protocol.txt)."""

import re

from exporter.dissector import MORE, NO, YES

__all__ = ["COMMAND", "ERRORS", "OPERATIONS", "REPLY", "STATUSES", "WORDS", "recognise"]

_KEY = rb"[^\x00-\x20\x7f]{1,250}"

COMMAND = re.compile(
    rb"(?:(set|add|replace|append|prepend) %(key)s \d{1,10} -?\d{1,20} (\d{1,10})( noreply)?"
    rb"|(cas) %(key)s \d{1,10} -?\d{1,20} (\d{1,10}) \d{1,20}( noreply)?"
    rb"|(gets?)(?: %(key)s)+ ?"
    rb"|(gats?) -?\d{1,20}(?: %(key)s)+"
    rb"|(delete) %(key)s(?: 0)?( noreply)?"
    rb"|(incr|decr) %(key)s \d{1,20}( noreply)?"
    rb"|(touch) %(key)s -?\d{1,20}( noreply)?"
    rb"|(ms) %(key)s (\d{1,10})((?: [A-Za-z][!-~]*)*)"
    rb"|(m[gad]) %(key)s((?: [A-Za-z][!-~]*)*)"
    rb"|(flush_all)(?: -?\d{1,20})?( noreply)?"
    rb"|(stats|slabs|lru|lru_crawler|watch|cache_memlimit|verbosity)(?: [!-~]+)*"
    rb"|(version|quit|shutdown|mn|misbehave))\r?\n" % {b"key": _KEY}
)
"""A whole line. Groups: a command's name, then, where it has them, its value's length and how it wants no reply."""

# fmt: off
_WEAK = frozenset({
    "stats", "slabs", "lru", "lru_crawler", "watch", "cache_memlimit", "verbosity", "version", "quit", "shutdown", "mn",
    "misbehave",
})
"""Words of other protocols, too: the reply must tell."""
OPERATIONS = _WEAK | frozenset({
    "set", "add", "replace", "append", "prepend", "cas", "get", "gets", "gat", "gats", "delete", "incr", "decr",
    "touch", "ms", "mg", "ma", "md", "flush_all",
})
# fmt: on

WORDS = {
    b"STORED": "stored",
    b"NOT_STORED": "not_stored",
    b"EXISTS": "exists",
    b"NOT_FOUND": "not_found",
    b"DELETED": "deleted",
    b"TOUCHED": "touched",
    b"OK": "ok",
    b"RESET": "ok",
    b"VERSION": "ok",
    b"ERROR": "error",
    b"CLIENT_ERROR": "client_error",
    b"SERVER_ERROR": "server_error",
    b"BUSY": "busy",
    b"BADCLASS": "error",
    b"HD": "hit",
    b"VA": "hit",
    b"EN": "miss",
    b"NF": "not_found",
    b"NS": "not_stored",
    b"EX": "exists",
    b"MN": "ok",
    b"ME": "ok",
}
"""What a reply's first word says; the meta commands' two-letter ones depend on the command, and say it roughly."""

ERRORS = frozenset({"error", "client_error", "server_error", "busy"})
STATUSES = frozenset(WORDS.values()) | {"hit", "miss"}
REPLY = re.compile(
    rb"(?:(VALUE) %(key)s \d{1,10} (\d{1,10})(?: \d{1,20})?|(VA) (\d{1,10})((?: [!-~]+)*)"
    rb"|(STAT|ITEM) [ -~]+|(END)|(\d{1,20}) *|([A-Z_]{2,12})(?: [ -~]*)?)\r?\n" % {b"key": _KEY}
)
"""A whole line. Groups: a value's word and length, a meta command's and flags, a statistic, END, a number, a word."""

_FOREIGN = re.compile(rb" [A-Za-z]{3,}/\d\.\d *\r?\n")
"""What HTTP's and its relatives' requests end in, when they are written in lower case."""
_BEGINNINGS = frozenset(word[:size] for word in OPERATIONS for size in range(len(word) + 1))
_STRONG_REPLY = re.compile(
    rb"VALUE %(key)s \d{1,10} \d{1,10}(?: \d{1,20})?\r\n|STAT [a-z_:0-9]+ [!-~]+\r\n(?:STAT [a-z]|END\r\n)"
    rb"|VERSION \d+\.\d+\.\d+[!-~]*\r\n|STORED\r\n|NOT_STORED\r\n|DELETED\r\n|SERVER_ERROR [ -~]*\r\n"
    % {b"key": _KEY}
)
_REPLY_WORDS = (
    b"VALUE ",
    b"STAT ",
    b"VERSION ",
    b"STORED\r\n",
    b"NOT_STORED\r\n",
    b"DELETED\r\n",
    b"SERVER_ERROR ",
)
_LINE_MAX = 1024


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a side begins with a command's line, or with a reply that no other has."""
    first = data[0] if data else 0x61
    if 0x61 <= first <= 0x77:
        return _command(data)
    if first not in b"VSND":
        return NO
    if _STRONG_REPLY.match(data):
        return YES
    if not any(data.startswith(word) or word.startswith(data) for word in _REPLY_WORDS):
        return NO
    return NO if data.count(b"\n") > 1 or len(data) > _LINE_MAX or b"\0" in data else MORE


def _command(data: bytes) -> int:
    end = data.find(b"\n", 0, 4096) + 1
    if end:
        match = COMMAND.match(data)
        if match is None or data[end - 2 : end] != b"\r\n" or _FOREIGN.search(data, 0, end):
            return NO
        return NO if _weak(match) else YES
    word, blank, _ = data[:32].partition(b" ")
    text = word.rstrip(b"\r").decode("latin-1")
    if len(data) > 4095:
        return NO
    if blank or b"\r" in word:
        return MORE if text in OPERATIONS else NO
    return MORE if text in _BEGINNINGS else NO


def _weak(match: re.Match[bytes]) -> bool:
    """Tell whether a command's line may be another protocol's, or a sentence."""
    words = match[0].split()
    if words[0] == b"delete":
        return len(words) < 3
    return words[0].decode("ascii") in _WEAK or (words[0][:3] == b"get" and len(words) > 2)
