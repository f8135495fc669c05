"""What a DNS message says, as the message that every dissector speaks. Shared by dns, mdns and llmnr.

An NXDOMAIN, and an UPDATE's answer about its prerequisites, are answers: the status says so, and `error` stays False.
An error is what keeps a name from being answered at all (SERVFAIL, REFUSED, FORMERR ...).
"""

from exporter.formats.dns_message import AAAA, CNAME, DNAME, A, DnsMessage
from exporter.formats.dns_numbers import OPCODES, RCODES, type_name
from exporter.model import Kind, Message

__all__ = ["OPERATIONS", "STATUSES", "Match", "match", "report"]

Match = tuple[int, str, int]
"""What pairs an answer with its question: the id, and the first question's name and type."""

OPERATIONS = frozenset(OPCODES.values())
STATUSES = frozenset(RCODES.values())

_ANSWERS = frozenset({0, 3, 6, 7, 8})
_MAX_SHOWN = 16
_MAX_FACTS = 32
_FOREVER = 1 << 31
"""A time to live from here on means 0 (RFC 2181 section 8)."""


def match(message: DnsMessage) -> Match:
    if not message.questions:
        return message.serial, "", 0
    question = message.questions[0]
    return message.serial, question.name.lower(), question.kind


def report(message: DnsMessage, key: Match) -> Message:
    """Say whatever a query or a response says."""
    attrs = _questions(message)
    op = OPCODES.get(message.opcode, "other")
    if not message.response:
        return Message(kind=Kind.REQUEST, op=op, match=key, attrs=attrs)
    status = RCODES.get(message.rcode, "other")
    attrs["dns.response_code"] = status if status != "other" else f"RCODE{message.rcode}"
    if message.answers:
        attrs["dns.answers"] = tuple([answer.text for answer in message.answers[:_MAX_SHOWN]])
    if message.nodata:
        attrs["dns.nodata"] = "true"
    return Message(
        kind=Kind.RESPONSE,
        op=op,
        status=status,
        error=message.rcode not in _ANSWERS,
        match=key,
        attrs=attrs,
        names=_facts(message, key) if message.answers else (),
    )


def _questions(message: DnsMessage) -> dict[str, str | tuple[str, ...]]:
    questions = message.questions
    if not questions:
        return {}
    if len(questions) == 1:
        return {"dns.question.name": questions[0].name, "dns.question.type": type_name(questions[0].kind)}
    return {
        "dns.question.name": tuple(dict.fromkeys(q.name for q in questions)),
        "dns.question.type": tuple(dict.fromkeys(type_name(q.kind) for q in questions)),
    }


def _facts(message: DnsMessage, key: Match) -> tuple[tuple[bytes, str, int], ...]:
    """Give the addresses that the questions' names have, over aliases: under the name that was asked for.

    Where the question is not repeated, it is that of the query, which `key` has.
    """
    names = {q.name.lower(): q.name for q in message.questions} or ({key[1]: key[1]} if key[1] else {})
    found: list[tuple[bytes, str, int]] = []
    for answer in message.answers:
        if not names:  # mDNS announces without being asked
            asked: str | None = answer.name
        else:
            asked = names.get(answer.name.lower())
        if asked is None:
            continue
        if answer.kind in (A, AAAA):
            found.append((answer.data, asked, answer.ttl if answer.ttl < _FOREVER else 0))
        elif answer.kind in (CNAME, DNAME):
            names[answer.text.lower()] = asked
    return tuple(found[:_MAX_FACTS])
