"""Reads the vector files: tests/dpi/vectors/NAME.yaml, a list of cases for the dissector NAME.

A case:
  name      one line
  source    where the bytes are from
  transport tcp (default) or udp
  ports     [of side 0, of side 1]; default [50000, 50001], which are nobody's
  protocol  who may claim it; default: the file's name
  data      pieces in order, each one key: `client` or `server` (side 0, side 1), then how it is written:
            nothing: text, lines end in CRLF; `text`: as it stands; `hex`: digits, spaces and comments after # ignored
  messages  all that must be said, in order. Each: side (client), kind (request), op, status, error, version, attrs,
            switch, names (address name), certificate (subject, issuer, names, not_after). What is left out is empty.
  rest      what is left for the protocol that takes over, text by side
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml

from exporter.dissector import Ends
from exporter.model import Kind, Message

VECTORS = Path(__file__).parent / "vectors"
SIDES = {"client": 0, "server": 1}
KNOWN = {"name", "source", "transport", "ports", "protocol", "data", "messages", "rest"}


@dataclass(frozen=True)
class Case:
    name: str
    source: str
    protocol: str
    ends: Ends
    data: tuple[tuple[int, bytes], ...]
    messages: tuple[tuple[int, dict[str, Any]], ...]
    rest: dict[str, str] | None

    @property
    def stream(self) -> bool:
        return self.ends.transport == "tcp"


def decoded(form: str, text: str) -> bytes:
    if form == "hex":
        return bytes.fromhex(re.sub(r"#.*|\s", "", str(text)))
    if form == "text":
        return text.encode("latin-1")
    return text.replace("\n", "\r\n").encode("latin-1")


def said(message: Message) -> dict[str, Any]:
    """A message as vectors write it: what is empty is left out."""
    found: dict[str, Any] = {
        key: value
        for key in ("op", "status", "error", "version", "switch")
        if (value := getattr(message, key)) not in ("", False, None)
        or (key == "switch" and value is not None)
    }
    if message.kind is not Kind.REQUEST:
        found["kind"] = message.kind.value
    if message.attrs:
        found["attrs"] = {k: list(v) if isinstance(v, tuple) else v for k, v in message.attrs.items()}
    if message.names:
        found["names"] = [f"{ip_address(address)} {name}" for address, name, _ in message.names]
    if message.certificate is not None:
        each = message.certificate
        found["certificate"] = {
            "subject": each.subject,
            "issuer": each.issuer,
            "names": list(each.names),
            "not_after": int(each.not_after),
        }
    return found


def _case(raw: dict[str, Any], protocol: str) -> Case:
    assert raw.keys() <= KNOWN, raw.keys() - KNOWN
    data = []
    for piece in raw["data"]:
        ((key, text),) = piece.items()
        side, _, form = key.partition(" ")
        data.append((SIDES[side], decoded(form, text)))
    messages = []
    for message in raw.get("messages", ()):
        wanted = dict(message)
        messages.append((SIDES[wanted.pop("side", "client")], wanted))
    ports = raw.get("ports", (50000, 50001))
    ends = Ends(b"\x0a\0\0\1", ports[0], b"\x0a\0\0\2", ports[1], raw.get("transport", "tcp"))
    name = raw.get("protocol", protocol)
    return Case(raw["name"], raw["source"], name, ends, tuple(data), tuple(messages), raw.get("rest"))


def cases() -> list[Case]:
    """All cases of all files."""
    found = []
    for path in sorted(VECTORS.glob("*.yaml")):
        found += [_case(raw, path.stem) for raw in yaml.safe_load(path.read_text(encoding="utf-8"))]
    return found
