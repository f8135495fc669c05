"""A syslog message's beginning: RFC 5424 section 6, RFC 3164 section 4."""

import re

__all__ = ["FACILITIES", "SEVERITIES", "START", "STRICT"]

SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")
FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock"),
    *(f"local{number}" for number in range(8)),
)
_PRIORITY = rb"<(1[0-8][0-9]|19[01]|[1-9]?[0-9])>"
START = re.compile(_PRIORITY + rb"(1 )?")
STRICT = re.compile(
    _PRIORITY
    + rb"(?:1 (?:-|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}(?:Z|[+-][0-9:]{5})) [!-~]{1,255} [!-~]{1,48} |"
    rb"(?:[0-9]{1,10}: )?[*.]?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    rb"[ 0-3]?[0-9] [0-9 ]{0,5}[0-9]{2}:[0-9]{2}:|"
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:)"
)
"""With a time stamp, as both RFCs and common senders write it."""
