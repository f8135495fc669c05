"""VNC's remote framebuffer protocol over TCP: RFC 6143, versions 3.3, 3.7, 3.8 and Apple's 3.889.

Read are both sides' versions, the security types offered and chosen, and whether the server let the client in; never a
challenge or its answer. What comes after the handshake is not wanted, nor what a security type other than "none" and
"VNC authentication" does.
"""

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_SHAPE = b"RFB ddd.ddd\n"
_NONE, _VNC = 1, 2
_TYPES = {
    1: "none",
    2: "vnc",
    5: "ra2",
    6: "ra2ne",
    16: "tight",
    17: "ultra",
    18: "tls",
    19: "vencrypt",
    20: "sasl",
    21: "md5",
    22: "xvp",
    30: "apple_dh",
    33: "apple_kerberos",
    35: "apple_session",
    36: "apple_srp",
}
"""RFC 6143 section 7.1.2 and IANA's registry of its security types."""
_MAX_REASON = 4096


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data and data[0] != _SHAPE[0]:
        return NO
    for byte, wanted in zip(data, _SHAPE, strict=False):
        if not (0x30 <= byte <= 0x39 if wanted == 0x64 else byte == wanted):
            return NO
    return MORE if len(data) < len(_SHAPE) else YES


class _Vnc(Framed):
    """A handshake; `_step` says what comes next of the server, and of the client."""

    __slots__ = ("_chosen", "_minor", "_old", "_server", "_step")

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._step = ["version", "version"]
        self._server: int | None = None
        """The side that speaks first."""
        self._old = False
        """Version 3.3: the server chooses the security type."""
        self._minor = 0
        self._chosen = 0

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        left, step = len(data) - at, self._step[side]
        if step == "types":
            size = 4 if self._old else 1 + data[at]
            return (size, size) if size > 1 else self._reason(data, at + 1, 1)
        if step == "result":
            if left < 4:
                return MORE_NEEDED
            if self._minor >= 8 and data[at : at + 4] != b"\0\0\0\0":
                return self._reason(data, at + 4, 4)
            return 4, 4
        size = {"version": 12, "choice": 1, "challenge": 16, "response": 16}.get(step, 0)
        if not size:  # it is ahead of what we know
            return left, 1
        return size, size

    def _reason(self, data: bytes, at: int, before: int) -> tuple[int, int]:
        """Measure a text that says why not (section 7.1.3), with what is before it."""
        if len(data) - at < 4:
            return MORE_NEEDED
        size = int.from_bytes(data[at : at + 4], "big")
        if size > _MAX_REASON:
            raise ParseError("reason")
        return before + 4 + size, before

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        step = self._step[side]
        if step == "version":
            self._version(side, data, found)
        elif step == "types":
            self._types(side, data, found)
        elif step == "choice":
            self._choose(data[0], found)
        elif step == "challenge":
            self._step[side] = "result"
        elif step == "response":
            self._step[side] = ""
        elif step == "result":
            code = int.from_bytes(data[:4], "big")
            status = "ok" if not code else "failed"
            found.append(Message(kind=Kind.RESPONSE, op="authenticate", status=status, error=bool(code)))
            self._end()
        else:
            self._end()

    def _end(self) -> None:
        self.done = self.over = True

    def _version(self, side: int, data: bytes, found: list[Message]) -> None:
        if _probe(side, data, Ends(b"", 0, b"", 0)) != YES:
            raise ParseError("version")
        text = clean(data[4:11])
        version = f"{int(data[4:7])}.{int(data[8:11])}"
        minor = int(data[8:11])
        if self._server is None:
            self._server = side
            self._minor = minor
            self._step[side] = "types"
        else:
            self._minor = min(self._minor, minor)
            self._step[side] = "choice"
        self._old = self._minor < 7
        found.append(
            Message(kind=Kind.NOTICE, op="version", version=version, attrs={"vnc.protocol.version": text})
        )

    def _types(self, side: int, data: bytes, found: list[Message]) -> None:
        """The server's offer; in version 3.3 its choice, which is 0 where it refuses."""
        chosen = data[3] if self._old else 0
        types = [chosen] if self._old else list(data[1:])
        if types in ([], [0]):
            found.append(Message(kind=Kind.NOTICE, op="refuse", status="failed", error=True))
            self._end()
            return
        names = ",".join(_TYPES.get(each, str(each)) for each in types[:32])
        found.append(Message(kind=Kind.NOTICE, op="offer", attrs={"vnc.security_types": names}))
        self._step[side] = ""
        if self._old:
            self._choose(chosen, found)

    def _choose(self, chosen: int, found: list[Message]) -> None:
        server = self._server or 0
        name = _TYPES.get(chosen, str(chosen))
        found.append(Message(kind=Kind.REQUEST, op="authenticate", attrs={"vnc.security_type": name}))
        if chosen == _VNC:
            self._step[server], self._step[1 - server] = "challenge", "response"
        elif chosen == _NONE and self._minor >= 8:
            self._step[server], self._step[1 - server] = "result", ""
        else:
            if chosen == _NONE:  # before version 3.8 nothing answers
                found.append(Message(kind=Kind.RESPONSE, op="authenticate", status="ok"))
            self._end()


DISSECTOR = Dissector(
    name="vnc",
    transports=frozenset({"tcp"}),
    ports=frozenset({5900, 5901, 5902}),
    operations=frozenset({"version", "offer", "refuse", "authenticate"}),
    statuses=frozenset({"ok", "failed"}),
    probe=_probe,
    parser=_Vnc,
    reads="versions, security types offered and chosen, whether the client is let in",
    specification="RFC 6143",
)
