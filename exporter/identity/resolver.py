"""Answers the workers' questions: looks at once, again at 250 ms, then seldom; opens nothing and reads no clock itself.

`now` is monotonic. A question is dropped with its final answer, when its connection is gone, or when it is the oldest
of too many. Descriptors are read only while some socket has no holder.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

from exporter.identity.choice import choose, late
from exporter.identity.inquiries import Inquiries
from exporter.identity.netlink import PROTOCOLS, End, Socket
from exporter.identity.sources import Sources
from exporter.identity.stats import Stats
from exporter.identity.told import Place, Running, Use
from exporter.model import Answer, Ask, Gone, Owner, Watch

__all__ = ["Resolver"]

LIMIT = 32_768
"""Questions at a time."""
BATCH, AGAIN_TOO = 500, 100
"""New questions, and others, looked at between two looks at the channels: 20 ms."""
SECOND = 0.25
AWAITED = 0.1
"""How often it is seen whether the kernel has told of an end that was asked about, if nothing else is to do."""
AGAIN, PATIENCE = 0.05, 2.0
"""How often it is tried to see something newer than a question, and for how long."""
SLOWEST = 60.0
ATTEMPTS = 5
"""A socket that was never there on so many looks will not come."""
PORT = 65_535
SETTLED = 1.0
"""A process younger than that may still exec, and its parent may still hold its sockets: look again."""
SURE = frozenset({"exact", "shared", "wildcard"})
LISTENERS = 1.0
"""Seconds for which listeners are remembered."""
MEMORY = 8_192
"""Connections whose owners are remembered after their end, for who asks anew."""
ENDED = frozenset({"time_wait", "closed"})

Key = tuple[int, int]


class Question:
    """An Ask under way."""

    __slots__ = ("answer", "ask", "asked", "due", "end", "key", "tries")

    def __init__(self, key: Key, ask: Ask, now: float = 0.0) -> None:
        self.key = key
        self.asked = now
        self.ask = ask
        self.end = End(ask.transport, ask.local, ask.lport, ask.remote, ask.rport)
        self.tries = 0
        self.due = 0.0
        self.answer: Answer | None = None


class Finding(NamedTuple):
    """The socket whose holder is the owner, and what that says about the connection."""

    question: Question
    method: str
    socket: Socket | None
    quality: str
    alive: bool


class Resolver:
    """All open questions; answers stand in `out` as (channel, Answer)."""

    def __init__(self, sources: Sources, stats: Stats) -> None:
        """Take the sources to ask."""
        self.sources = sources
        self.holders = sources.holders
        self.stats = stats
        self.questions: dict[Key, Question] = {}
        self.new: list[Question] = []
        self.heap: list[tuple[float, int, Question]] = []
        self.order = count()
        self.pids: dict[int, list[int]] = {}  # holders of the inodes of this batch
        self.waiting: dict[int, list[Question]] = {}
        self.listeners: dict[
            tuple[int, bytes, int], tuple[float, Socket | None]
        ] = {}  # and when it was proved
        self.listened = 0.0
        self.remembered: dict[tuple[int, End], Owner] = {}
        self.seen: dict[int, float] = {}  # scopes prepared for this batch, and from when what they see is
        self.awaited: dict[Place, Question] = {}  # by ends of which the kernel may tell yet
        self.unread: dict[Key, Question] = {}  # whose tables are being read
        self.out: list[tuple[int, Answer]] = []
        self.inquiries = Inquiries(sources, stats, self.out)

    # -- questions -------------------------------------------------------------------------------------------------

    def ask(self, channel: int, ask: Ask, now: float) -> None:
        self.stats.asks += 1
        if not valid(ask):
            self.out.append((channel, Answer(ask.serial, None)))
            return
        question = Question((channel, ask.serial), ask, now)
        self.drop(question.key)
        if len(self.questions) >= LIMIT:
            self.evict()
        self.questions[question.key] = question
        if told := self.sources.told:
            self.awaited[told.place(ask.scope, question.end)] = question
        self.new.append(question)

    def evict(self) -> None:
        oldest = next(iter(self.questions.values()))
        self.drop(oldest.key)
        self.stats.errors["evicted"] += 1
        self.out.append((oldest.key[0], Answer(oldest.ask.serial, None)))

    def gone(self, channel: int, record: Gone) -> None:
        self.drop((channel, record.serial))
        self.inquiries.drop((channel, record.serial))

    def drop(self, key: Key) -> None:
        question = self.questions.pop(key, None)
        if question and (told := self.sources.told):
            place = told.place(question.ask.scope, question.end)
            if self.awaited.get(place) is question:
                del self.awaited[place]

    def forget(self, channel: int) -> None:
        """Drop all questions of a worker that has started anew."""
        for key in [key for key in self.questions if key[0] == channel]:
            self.drop(key)
        self.inquiries.forget(channel)

    def watch(self, channel: int, watch: Watch, now: float) -> None:
        """Tell whether the kernel lists a socket for exactly this end."""
        self.stats.watches += 1
        sockets = self.sources.sockets(watch.scope, now)
        alive = False
        if sockets and valid(watch):
            sockets.prepare(now)
            end = End(watch.transport, watch.local, watch.lport, watch.remote, watch.rport)
            found = sockets.lookup(end)
            alive = found is not None and found.match(end) == "exact" and found.state not in ENDED
        method = sockets.method if sockets else "none"
        self.out.append((channel, Answer(watch.serial, None, method, alive=alive)))

    def open(self, question: Question) -> bool:
        """Tell whether anybody still wants to know."""
        return self.questions.get(question.key) is question

    def stands(self, entry: tuple[float, int, Question]) -> bool:
        """Tell whether a question is still due when it once was said to be."""
        return entry[2].due == entry[0] and self.open(entry[2])

    def schedule(self, question: Question, due: float) -> None:
        question.due = due
        heappush(self.heap, (due, next(self.order), question))

    def deadline(self) -> float | None:
        """Say when there is work again; None: not before a question comes."""
        if self.new or (self.waiting and self.holders and self.holders.sweeping()) or self.sources.reading():
            return 0.0
        while self.heap and not self.stands(self.heap[0]):
            heappop(self.heap)  # nobody is woken for what nobody waits for
        dues = [self.heap[0][0]] if self.heap else []
        if (due := self.inquiries.deadline()) is not None:
            dues.append(due)
        if told := self.sources.told:
            if told.behind:
                return 0.0
            if self.awaited:
                dues.append(told.drained + AWAITED)
        return min(dues, default=None)

    # -- work ------------------------------------------------------------------------------------------------------

    def work(self, now: float) -> None:
        """Look at what is due, and go on with a sweep that others wait for."""
        self.listen(now)
        self.inquiries.work(now)
        self.read(now)
        findings = []
        for question in self.take(now):
            if answer := self.recall(question, now):
                question.tries += 1
                self.deliver(question, answer, now)
            elif self.fresh(question, now):
                findings.append(self.find(question, now))
        self.seen.clear()
        if self.holders:
            self.search(findings, now)
        for finding in findings:
            self.reply(finding, now)
        self.pids.clear()
        if now - self.listened > LISTENERS:
            self.listened = now
            self.listeners.clear()
        self.stats.pending = len(self.questions)
        if len(self.heap) > 2 * len(self.questions) + MEMORY:  # most of it are questions that were dropped
            self.heap = list(filter(self.stands, self.heap))
            heapify(self.heap)

    def read(self, now: float) -> None:
        """Go on with reading tables, and look again at questions that wait for that."""
        if tables := self.sources.reading():
            tables.step()
            if tables.reading is None:
                for question in self.unread.values():
                    self.schedule(question, now)
                self.unread.clear()

    def listen(self, now: float) -> None:
        """Take what the kernel told, and look again at once at questions about it."""
        if told := self.sources.told:
            for news in told.drain(now):
                if isinstance(news, Running):
                    self.inquiries.executed(news, now)
                elif question := self.awaited.get(news):
                    self.schedule(question, now)

    def recall(self, question: Question, now: float) -> Answer | None:
        """Answer from what the kernel told; None where that is not all, and others must be asked."""
        use = self.use(question, now)
        if use is None or not (use.sure or (use.accepted and question.tries == 0)):
            return None
        quality = "listener" if use.accepted else "exact"
        final = use.sure and not (use.bound and question.tries == 0)  # a child may use what its parent bound
        return Answer(question.ask.serial, use.owner, "ebpf", quality, alive=use.alive, final=final)

    def use(self, question: Question, now: float) -> Use | None:
        told, ask = self.sources.told, question.ask
        return told.find(ask.scope, question.end, ask.since, now) if told else None

    def take(self, now: float) -> Iterator[Question]:
        """Give what is new, then what is due; questions that were dropped or have another time are passed over.

        Of too many new ones the kernel's word is asked for each, which costs little, and the tables for the newest: a
        process may be gone in milliseconds, and behind those that have waited for longer nobody would be found in time.
        """
        new, self.new = self.new, []
        if len(new) > BATCH:
            if self.sources.told:
                yield from (question for question in new if self.open(question) and self.use(question, now))
                new = [question for question in new if not (question.tries or question.due)]
            self.new, new = new[:-BATCH], new[-BATCH:]
        yield from filter(self.open, reversed(new))
        for _ in range(AGAIN_TOO if new else BATCH):
            if not self.heap or self.heap[0][0] > now:
                return
            entry = heappop(self.heap)
            if self.stands(entry):
                yield entry[2]

    def fresh(self, question: Question, now: float) -> bool:
        """Prepare to look the socket up; false where what can be seen is older than the question, which then waits."""
        scope = question.ask.scope
        if scope not in self.seen:
            sockets = self.sources.sockets(scope, now)
            self.seen[scope] = sockets.prepare(now) if sockets else now
        if self.seen[scope] >= question.asked or now - question.asked >= PATIENCE:
            return True
        self.unread[question.key] = question
        self.schedule(question, now + AGAIN)
        return False

    def find(self, question: Question, now: float) -> Finding:
        """Look the socket up."""
        sockets = self.sources.sockets(question.ask.scope, now)
        question.tries += 1
        if sockets is None:
            return Finding(question, "none", None, "none", alive=False)
        end = question.end
        socket = sockets.lookup(end)
        if socket is None:
            return Finding(question, sockets.method, None, "none", alive=False)
        quality = socket.match(end)
        alive = quality == "exact" and socket.state not in ENDED
        if quality == "exact" and not socket.inode and not socket.holders:
            listener = self.listener(question, now)
            return Finding(question, sockets.method, listener, "listener" if listener else "dead", alive)
        return Finding(question, sockets.method, socket, quality, alive)

    def search(self, findings: list[Finding], now: float) -> None:
        """Look for the holders of all these sockets at once."""
        holders = self.holders
        if holders is None:
            return
        inodes = {f.socket.inode for f in findings if f.socket and f.socket.inode}
        self.pids = {inode: pids for inode in inodes if (pids := holders.certain(inode))}
        wanted = inodes - self.pids.keys()
        if wanted:
            missing = set(wanted)
            holders.look(missing, now)
            self.pids.update((inode, holders.known(inode)) for inode in wanted - missing)
            wanted = missing
        for finding in findings:
            if finding.socket and finding.socket.inode in wanted:
                self.waiting.setdefault(finding.socket.inode, []).append(finding.question)
        if not self.waiting:
            return
        if holders.sweeping() or holders.begin(now):
            holders.step()
        if not holders.sweeping():
            self.wake(now)

    def wake(self, now: float) -> None:
        """Look again at once at questions whose holders a sweep has found; who was not found waits for his time."""
        for inode, questions in self.waiting.items():
            if self.holders and (place := self.holders.found.get(inode)):
                self.holders.keep(place)
                for question in questions:
                    self.schedule(question, now)
        self.waiting.clear()

    # -- answers ---------------------------------------------------------------------------------------------------

    def reply(self, finding: Finding, now: float) -> None:
        """Answer with what was found; where that is nobody, with whom the kernel told."""
        question = finding.question
        answer = self.judge(finding, now)
        if answer.owner is None and (use := self.use(question, now)):
            quality = "listener" if use.accepted else "exact"
            answer = Answer(answer.serial, use.owner, "ebpf", quality, alive=use.alive, final=answer.final)
        self.deliver(question, answer, now)

    def deliver(self, question: Question, answer: Answer, now: float) -> None:
        """Answer, and decide whether and when to look again."""
        before = question.answer
        if before and before.owner and before.quality in SURE and answer.quality not in SURE:
            # What was seen stays true: the socket is gone, not its owner.
            answer = Answer(answer.serial, before.owner, before.method, before.quality, alive=answer.alive)
        if answer != before:
            question.answer = answer
            self.out.append((question.key[0], answer))
        if answer.final:
            self.drop(question.key)
            self.stats.answers[answer.method, answer.quality] += 1
            if answer.owner and answer.alive and answer.quality in SURE:
                self.remember(question, answer.owner)
        elif question.due <= now:
            interval = self.sources.settings.interval
            wait = SECOND if question.tries == 1 else min(SLOWEST, interval * 2 ** max(0, question.tries - 2))
            self.schedule(question, now + wait)

    def remember(self, question: Question, owner: Owner) -> None:
        if len(self.remembered) >= MEMORY:
            del self.remembered[next(iter(self.remembered))]
        self.remembered[question.ask.scope, question.end] = owner

    def judge(self, finding: Finding, now: float) -> Answer:
        """Make the answer that holds for now."""
        question, method, socket, quality, alive = finding
        serial = question.ask.serial
        final = question.tries >= ATTEMPTS
        if socket is None:
            owner = self.remembered.get((question.ask.scope, question.end)) if quality == "dead" else None
            return Answer(serial, owner, method, quality, alive=alive, final=final or quality == "dead")
        owner, shared = self.owner(socket, now)
        if owner is None and quality == "exact" and (found := self.by_listener(question, now)):
            owner, quality = found, "listener"
        if owner is None:
            quality = "shared" if shared else "none"
            return Answer(serial, None, method, quality, alive=alive, final=False)
        if late(owner, question.ask.since) and not self.inherited(owner, question, now):
            return Answer(serial, None, method, "none", alive=alive, final=final)
        if quality == "listener":
            return Answer(
                serial, owner, method, quality, alive=alive, final=final or (not alive and question.tries > 1)
            )
        young = late(owner, question.ask.since - SETTLED) and question.tries < 3  # noqa: PLR2004 (0, 250 ms, 2 s)
        return Answer(serial, owner, method, "shared" if shared else quality, alive=alive, final=not young)

    def owner(self, socket: Socket, now: float) -> tuple[Owner | None, bool]:
        """Give who uses a socket, and whether several hold it."""
        pids = list(socket.holders)
        if not pids and self.holders:
            pids = self.pids.get(socket.inode) or self.holders.certain(socket.inode)
        owners = [owner for pid in pids if (owner := self.sources.processes.owner(pid, now))]
        if len(owners) == 1:
            return owners[0], False
        return choose(owners), len(owners) > 1

    def by_listener(self, question: Question, now: float) -> Owner | None:
        """Give the owner of the listener, while who accepted the connection is not known."""
        listener = self.listener(question, now)
        return self.owner(listener, now)[0] if listener else None

    def listener(self, question: Question, now: float) -> Socket | None:
        """Find the listener behind a question's end; it is looked up seldom, as its holder is proved anew each time."""
        scope, end = question.ask.scope, question.end
        if end.transport != "tcp":
            return None
        key = (scope, end.local, end.lport)
        proved, listener = self.listeners.get(key, (0.0, None))
        if proved != now:
            if listener is None or not (self.holders and self.holders.known(listener.inode)):
                sockets = self.sources.sockets(scope, now)
                listener = sockets.listener(end) if sockets else None
            self.listeners[key] = (now, listener)
        return listener

    def inherited(self, owner: Owner, question: Question, now: float) -> bool:
        """Tell whether a process that started late got the connection from the listener's process, its ancestor."""
        listener = self.listener(question, now)
        if listener is None:
            return False
        pids = [pid for pid, _ in owner.ancestors]
        if self.holders:
            return any(self.holders.holds(pid, listener.inode) for pid in pids)
        return not set(pids).isdisjoint(listener.holders)


def valid(record: Ask | Watch) -> bool:
    """Tell whether there can be such a socket at all."""
    sizes = {len(record.local), len(record.remote)}
    ports = 0 <= record.lport <= PORT and 0 <= record.rport <= PORT
    return ports and record.transport in PROTOCOLS and sizes in ({4}, {16})
