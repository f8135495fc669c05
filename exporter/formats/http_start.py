"""The start lines of HTTP/1: how a request or a response begins (RFC 9112 sections 3 and 4), well made or not."""

import re

from exporter.dissector import MORE, NO, YES

__all__ = ["BROKEN", "LENIENT", "METHODS", "REQUEST", "RESPONSE", "recognise", "starts"]

_METHODS = """
GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK SEARCH REPORT
MKACTIVITY CHECKOUT CHECKIN UNCHECKOUT MERGE VERSION-CONTROL MKWORKSPACE UPDATE LABEL BASELINE-CONTROL ACL BIND
REBIND UNBIND ORDERPATCH MKCALENDAR LINK UNLINK MKREDIRECTREF UPDATEREDIRECTREF PURGE BAN NOTIFY SUBSCRIBE
UNSUBSCRIBE QUERY SOURCE POLL RPC_IN_DATA RPC_OUT_DATA BPROPFIND BPROPPATCH BCOPY BMOVE BDELETE CCM_POST
SSTP_DUPLEX_POST
"""
"""IANA's registry, and what is seen of Subversion, caches, UPnP, Icecast, Exchange and Windows tunnels."""
METHODS = frozenset(_METHODS.split())

_METHOD = rb"[A-Za-z][!#$%&'*+.^_`|~0-9A-Za-z-]{0,31}"
_KNOWN = b"(?:%s)" % "|".join(sorted(METHODS, reverse=True)).encode()  # longer ones before their beginnings
_TARGET = rb"[^\x00-\x08\x0a-\x1f]"
# All linear: what repeats is followed by what it cannot contain, or by a literal.
REQUEST = re.compile(rb"(%s) (%s{1,16000})[ \t](?i:HTTP)/(1\.[0-9])[ \t]*\r?\n" % (_METHOD, _TARGET))
RESPONSE = re.compile(rb"(?i:HTTP)/(1\.[0-9]) +([1-9][0-9][0-9])[ \t\r\n]")
LENIENT = re.compile(
    rb"(%s)(?=[ /]|(?i:HTTP))(%s{0,16000})(?i:HTTP)/(1\.[0-9]?)[ \t]*\r?\n" % (_KNOWN, _TARGET)
)
BROKEN = re.compile(
    rb"(?!(?i:HTTP)/)(%s)?(?(1)\b[^\n]{0,16000}|[^\n]{0,16000}(?i:HTTP)/1\.[^\n]{0,16})\n" % _KNOWN
)
"""What servers answer with 400: a known method and no more, or nothing known but the version."""
_OPENING = re.compile(rb"%s(?:[ /]%s*)?\r?" % (_METHOD, _TARGET))
_TEXT = re.compile(rb"%s*\r?" % _TARGET)
_KNOWN_LONG = re.compile(rb"(?:GET|POST|PUT|HEAD) (?:/|https?://)")

_PROBED = 4000
_EMPTY = (b"\r", b"\n", b"")
_ANSWER = b"HTTP/1."


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a side begins with a request or a response: the version must be there."""
    if not data[:1].isalpha():
        if data[:1] not in _EMPTY:
            return NO
        data = data.lstrip(b"\r\n")
        if not data:
            return MORE
    if data[0] in b"Hh" and _ANSWER.startswith(data[:7].upper()):
        if len(data) >= 13:
            return YES if RESPONSE.match(data) else NO
        return MORE if RESPONSE.match(data + b"HTTP/1.1 200 "[len(data) :]) else NO
    if b"\n" in data:
        return YES if REQUEST.match(data) or LENIENT.match(data) else NO
    if not _OPENING.fullmatch(data[:256]):
        return NO
    if len(data) < _PROBED:
        return MORE
    return YES if _KNOWN_LONG.match(data) else NO


def starts(data: bytes, at: int) -> bool:
    """Tell whether what is here of a head can be the beginning of one."""
    if data.find(b"\n", at) >= 0:
        return bool(RESPONSE.match(data, at) or REQUEST.match(data, at) or BROKEN.match(data, at))
    return bool(_TEXT.fullmatch(data, at, at + 256))
