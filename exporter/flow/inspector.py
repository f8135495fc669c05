"""Which application protocol a connection speaks, and what it says: probing, then one parser.

All dissectors of the transport are asked about the first bytes, those first whose ports fit; ports prove nothing. What
answers NO is not asked again; of datagrams the first few are asked about one by one, as one may be damaged, or be of a
conversation's middle. Whatever a dissector raises beside `ParseError` is a counted fault, never more. Probing and
buffers are bounded; a connection that nobody claims within the budget stays unknown and costs nothing more.
"""

import msgspec

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.flow.exchange import Exchange
from exporter.flow.inspection import Inspection
from exporter.model import Message

__all__ = ["DATAGRAMS", "Inspector", "Said"]

PROBE_BYTES = 4096
DATAGRAMS = 3
"""The NO to a datagram is final from this one on: more would find nothing else (measured), and cost what they cost."""
MAX_ERRORS = 8
"""So many datagrams that are not what they began as, and the flow is none of it."""
MAX_SKIP = 1 << 58
BOTH = 3
MAX_SWITCHES = 8
"""Changes of protocol on one connection; more are no conversation."""

Said = tuple[Dissector, Message, int]
"""A message, who read it, and whose it is: one segment may end one protocol and begin the next, or tell what the other
side's was."""

Candidates = tuple[tuple[Dissector, ...], tuple[Dissector, ...]]
NOBODY: Candidates = ((), ())


class Inspector:
    """One connection's inspection. `dissector` is known once `protocol` is not empty; `active` until it gives up.

    What another connection announced is read as that from the first byte on, if it can be: a stream need have no mark
    of its own. Of datagrams those are left out that somebody else claims, or that say nothing to the announced
    protocol: it waits for the first one that does (media behind STUN or RTCP on one port).
    """

    __slots__ = (
        "_announced",
        "_buffers",
        "_candidates",
        "_ends",
        "_heard",
        "_parser",
        "_seen",
        "_shared",
        "_silent",
        "_since",
        "_switches",
        "active",
        "dissector",
        "exchange",
        "first",
        "named",
        "switched",
    )

    def __init__(self, shared: Inspection, ends: Ends, protocol: str = "", announced: str = "") -> None:
        """Begin with every dissector of the transport; or go on with one, between two of the protocol's messages.

        `announced`: what another connection said that this one will be, and still has to show itself as.
        """
        self._shared = shared
        self._ends = ends
        self._announced = shared.by_name.get(announced)
        self._buffers: tuple[tuple[int, bytes], ...] = ()
        self._parser: Parser | None = None
        self._heard = 0
        """The sides whose bytes the parser has understood, a bit each."""
        self._seen = 0
        self._silent = 0
        self._since = 0.0
        """When it was first noticed that nobody has claimed the connection; 0: not yet."""
        self._switches = 0
        self.active = True
        self.dissector: Dissector | None = None
        self.exchange: Exchange | None = None
        self.first = 0.0
        """When the first message came."""
        self.named = ""
        """The server's name that was told first."""
        self.switched = False
        """Another protocol has taken over since this was last looked at: all that follows is wanted again."""
        if protocol:
            self._begin(shared.by_name[protocol])
            self._heard = BOTH
        else:
            self._candidates = self._everyone()
            self.active = bool(self._candidates[0])

    def _everyone(self) -> Candidates:
        """By side: what one side says rules out nothing about the other (what a server answers to a bad request)."""
        found = self._shared.candidates(self._ends)
        return found, found

    def feed(self, side: int, data: bytes) -> list[Said]:
        """Read the next bytes of a side (or a datagram): what was said."""
        if not self.active or not data:
            return []
        if self._parser is not None:
            return self._parse(side, data)
        self._seen += 1
        if self._ends.transport != "udp" and self._announced is not None:
            said, self._announced = self._as_announced(side, data), None
            if said:
                return said
        return self._probe(side, data)

    def resting(self) -> bool:
        """Tell whether another one, begun with the same protocol, would go on just as well as this one."""
        if self._parser is None or self._heard != BOTH or self.exchange is not None:
            return False
        if self._announced is not None:
            return False
        if self._seen or self._silent or self._switches:
            return False
        try:
            return self._parser.idle()
        except Exception:  # noqa: BLE001 - a dissector's defect must not end the worker
            self._fault()
        return False

    def skip(self, side: int) -> int:
        """Tell how many further bytes of a side are of no interest; the answer is handed over, not repeated."""
        if not self.active or self._silent >> side & 1:
            return MAX_SKIP
        if self._parser is None:
            return 0
        try:
            skip = self._parser.skip(side)
        except Exception:  # noqa: BLE001 - a dissector's defect must not end the worker
            self._fault()
            return MAX_SKIP
        if skip >= 0:
            return skip
        self._silent |= 1 << side
        if self._silent == BOTH:  # neither side has anything more to say
            self._give_up()
        return MAX_SKIP

    def lost(self, side: int) -> None:
        """Say that wanted bytes of a side are missing."""
        try:
            resumes = self._parser.gap(side) if self._parser is not None else self._announced is not None
        except Exception:  # noqa: BLE001 - a dissector's defect must not end the worker
            self._fault()
            return
        if not resumes:
            self._give_up()

    def tire(self, now: float) -> None:
        """Give up what nobody has claimed for the budget's time; to be told the time now and then."""
        if self._parser is not None or not self.active:
            return
        if not self._since:
            self._since = now
        elif now - self._since >= self._shared.budget.time:
            self._give_up()

    def close(self, side: int) -> list[Said]:
        """Say that a side sends no more."""
        dissector = self.dissector
        if self._parser is None or dissector is None:
            return []
        try:
            return [(dissector, self._kept(message), side) for message in self._parser.close(side)]
        except Exception:  # noqa: BLE001 - a dissector's defect must not end the worker
            self._fault()
        return []

    def _parse(self, side: int, data: bytes) -> list[Said]:
        out: list[Said] = []
        parser, dissector, wrong = self._parser, self.dissector, False
        if parser is None or dissector is None:
            return out
        try:
            for message in parser.feed(side, data):
                out.append((dissector, self._kept(message), side))
                if message.switch is not None:
                    return out + self._switch(parser, message.switch)
            self._heard |= 1 << side
        except ParseError:
            wrong = True
        except Exception:  # noqa: BLE001 - a defect, which must not end the worker
            self._fault()
            return out
        if not out and self._announced is not None:
            out = self._as_announced(side, data)
            wrong = wrong and not out
        return out + self._misread(side, data) if wrong else out

    def _kept(self, message: Message) -> Message:
        """Drop the attributes that are not asked for; the server's name is noted all the same."""
        attrs, keep = message.attrs, self._shared.keep
        if not attrs:
            return message
        if not self.named and isinstance(name := attrs.get("server.address"), str):
            self.named = name
        if keep is None or attrs.keys() <= keep:
            return message
        return msgspec.structs.replace(message, attrs={key: attrs[key] for key in attrs if key in keep})

    def _misread(self, side: int, data: bytes) -> list[Said]:
        """Go on after an error: with the next datagram, or with who knows better what a stream's other side speaks."""
        if self._ends.transport == "udp":
            self._shared.fault(self._name())
            self._seen += 1
            if self._seen >= MAX_ERRORS:
                self._give_up()
            return []
        first = not self._heard >> side & 1 and self._heard
        wrong = self.dissector
        self._fault()
        if not first:
            return []
        others = tuple(d for d in self._shared.candidates(self._ends) if d is not wrong)
        self.active = bool(others)
        self._candidates = (others, others)
        self._heard = self._seen = 0
        return self.feed(side, data)

    def _probe(self, side: int, data: bytes) -> list[Said]:
        seen = data
        if self._ends.transport != "udp":
            if self._buffers:
                seen = b"".join([d for s, d in self._buffers if s == side]) + data
            self._buffers = (*self._buffers, (side, data))
        head, ends, left = seen[:PROBE_BYTES], self._ends, []
        for dissector in self._candidates[side]:  # a function for each would be a quarter of the whole cost
            try:
                answer = dissector.probe(side, head, ends)
            except Exception:  # noqa: BLE001 - a dissector's defect must not end the worker
                self._shared.fault(dissector.name)
                continue
            if answer == NO:
                continue
            if answer == YES:
                return self._claim(dissector, side, data)
            left.append(dissector)
        if self._ends.transport != "udp" or self._seen >= DATAGRAMS:
            other = self._candidates[1 - side]
            self._candidates = (other, tuple(left)) if side else (tuple(left), other)
        budget = self._shared.budget
        spent = self._seen >= budget.packets or len(seen) >= min(budget.bytes, PROBE_BYTES)
        if self._announced is not None and (said := self._as_announced(side, data)):
            return said
        if spent or not (any(self._candidates) or self._announced is not None):
            self._give_up()
        return []

    def _as_announced(self, side: int, data: bytes) -> list[Said]:
        """Read data as what was announced; nothing, if that has nothing to say to it."""
        announced = self._announced
        if announced is None:
            return []
        try:
            if not list(announced.parser(self._ends).feed(side, data)):
                return []
        except ParseError:
            return []
        except Exception:  # noqa: BLE001 - a dissector's defect must not end the worker
            self._announced = None
            self._shared.fault(announced.name)
            return []
        self._announced = None
        self._silent = 0
        self._begin(announced)
        return self._parse(side, data)

    def _claim(self, dissector: Dissector, side: int, data: bytes) -> list[Said]:
        earlier, self._buffers = self._buffers, ()
        self._begin(dissector)
        if len(earlier) < 2:  # the usual case: the first bytes say it
            return self.feed(side, data)
        out: list[Said] = []
        for its_side, piece in earlier:
            out += self.feed(its_side, piece)
        return out

    def _begin(self, dissector: Dissector) -> None:
        self.dissector = dissector
        self._candidates = NOBODY
        self._seen = self._heard = 0
        self._since = 0.0
        try:
            self._parser = dissector.parser(self._ends)
        except Exception:  # noqa: BLE001 - a dissector's defect must not end the worker
            self._fault()

    def _switch(self, parser: Parser, name: str) -> list[Said]:
        """Hand over to another protocol, or to whoever recognises what comes next."""
        following = self._shared.by_name.get(name)
        left = [(side, parser.rest(side)) for side in (0, 1)]
        self._switches += 1
        unread = (
            name != "" and following is None
        )  # it has a name and no dissector: the label stays what it was
        if unread or self._switches > MAX_SWITCHES:
            self._give_up()
            return []
        self._parser = None
        self._seen = 0
        self._silent = 0
        self.switched = True
        if following is not None:
            self._begin(following)
        else:
            self._candidates = self._everyone()
        out: list[Said] = []
        for side, data in left:
            out += self.feed(side, data)
        return out

    def _name(self) -> str:
        return self.dissector.name if self.dissector else ""

    def _fault(self) -> None:
        self._shared.fault(self._name())
        self._give_up()

    def _give_up(self) -> None:
        self.active = False
        self._parser = None
        self._candidates = NOBODY
        self._buffers = ()
