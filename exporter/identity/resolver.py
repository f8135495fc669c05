"""Answers the workers' questions: looks at once, again at 250 ms, then seldom; opens nothing and reads no clock itself.

`now` is monotonic. Descriptors are read only while some socket has no holder.
"""

from exporter.identity.inquiries import Inquiries
from exporter.identity.judge import Finding, Judge
from exporter.identity.netlink import End
from exporter.identity.questions import Question, Questions, valid
from exporter.identity.records import Running, Use
from exporter.identity.sources import Sources
from exporter.identity.stats import Stats
from exporter.model import Answer, Ask, Gone, Watch

__all__ = ["Resolver"]

SECOND = 0.25
AWAITED = 0.1
"""How often it is seen whether the kernel has told of an end that was asked about, if nothing else is to do."""
AGAIN, PATIENCE = 0.05, 2.0
"""How often it is tried to see something newer than a question, and for how long."""
SLOWEST = 60.0
SURE = frozenset({"exact", "shared", "wildcard"})
ENDED = frozenset({"time_wait", "closed"})


class Resolver:
    """Looks for the owners that are asked for; answers stand in `out` as (channel, Answer)."""

    def __init__(self, sources: Sources, stats: Stats) -> None:
        """Take the sources to ask."""
        self.sources = sources
        self.holders = sources.holders
        self.stats = stats
        self.questions = Questions()
        self.judge = Judge(sources)
        self.waiting: dict[int, list[Question]] = {}  # by inodes whose holders a sweep may find
        self.seen: dict[int, float] = {}  # scopes prepared for this batch, and from when what they see is
        self.unread: dict[tuple[int, int], Question] = {}  # whose tables are being read
        self.out: list[tuple[int, Answer]] = []
        self.inquiries = Inquiries(sources, stats, self.out)

    # -- questions -------------------------------------------------------------------------------------------------

    def ask(self, channel: int, ask: Ask, now: float) -> None:
        self.stats.asks += 1
        if not valid(ask):
            self.out.append((channel, Answer(ask.serial, None)))
            return
        question = Question((channel, ask.serial), ask, now)
        if told := self.sources.told:
            question.place = told.place(ask.scope, question.end)
        if evicted := self.questions.add(question):
            self.stats.errors["evicted"] += 1
            self.out.append((evicted.key[0], Answer(evicted.ask.serial, None)))

    def gone(self, channel: int, record: Gone) -> None:
        self.questions.drop((channel, record.serial))
        self.inquiries.drop((channel, record.serial))

    def forget(self, channel: int) -> None:
        """Drop all questions of a worker that has started anew."""
        self.questions.forget(channel)
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

    def deadline(self) -> float | None:
        """Say when there is work again; None: not before a question comes."""
        if (
            self.questions.new
            or (self.waiting and self.holders and self.holders.sweeping())
            or self.sources.reading()
        ):
            return 0.0
        dues = [due for due in (self.questions.due(), self.inquiries.deadline()) if due is not None]
        if told := self.sources.told:
            if told.behind:
                return 0.0
            if self.questions.awaited:
                dues.append(told.drained + AWAITED)
        return min(dues, default=None)

    # -- work ------------------------------------------------------------------------------------------------------

    def hear(self, now: float) -> None:
        """Take what the kernel told, and say which processes were asked about: quick, and what numbers wait for."""
        self.listen(now)
        self.inquiries.work(now)

    def work(self, now: float) -> None:
        """Look at what is due, and go on with a sweep that others wait for."""
        self.hear(now)
        self.read(now)
        findings = []
        known = (lambda question: self.use(question, now)) if self.sources.told else None
        for question in self.questions.take(now, known):
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
        self.judge.rest(now)
        self.stats.pending = len(self.questions)
        self.questions.sift()

    def shrink(self) -> None:
        """Give memory back after many questions."""
        self.questions.shrink()
        self.inquiries.shrink()
        if told := self.sources.told:
            told.shrink()

    def read(self, now: float) -> None:
        """Go on with reading tables, and look again at questions that wait for that."""
        if tables := self.sources.reading():
            tables.step()
            if tables.reading is None:
                for question in self.unread.values():
                    self.questions.schedule(question, now)
                self.unread.clear()

    def listen(self, now: float) -> None:
        """Take what the kernel told, and look again at once at questions about it."""
        if told := self.sources.told:
            for news in told.drain(now):
                if isinstance(news, Running):
                    self.inquiries.executed(news, now)
                elif question := self.questions.awaited.get(news):
                    self.questions.schedule(question, now)

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

    def fresh(self, question: Question, now: float) -> bool:
        """Prepare to look the socket up; false where what can be seen is older than the question, which then waits."""
        scope = question.ask.scope
        if scope not in self.seen:
            sockets = self.sources.sockets(scope, now)
            self.seen[scope] = sockets.prepare(now) if sockets else now
        if self.seen[scope] >= question.asked or now - question.asked >= PATIENCE:
            return True
        self.unread[question.key] = question
        self.questions.schedule(question, now + AGAIN)
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
            listener = self.judge.listener(question, now)
            return Finding(question, sockets.method, listener, "listener" if listener else "dead", alive)
        return Finding(question, sockets.method, socket, quality, alive)

    def search(self, findings: list[Finding], now: float) -> None:
        """Look for the holders of all these sockets at once."""
        holders = self.holders
        if holders is None:
            return
        inodes = {f.socket.inode for f in findings if f.socket and f.socket.inode}
        pids = self.judge.pids
        pids.update((inode, found) for inode in inodes if (found := holders.certain(inode)))
        wanted = inodes - pids.keys()
        if wanted:
            missing = set(wanted)
            holders.look(missing, now)
            pids.update((inode, holders.known(inode)) for inode in wanted - missing)
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
                    self.questions.schedule(question, now)
        self.waiting.clear()

    # -- answers ---------------------------------------------------------------------------------------------------

    def reply(self, finding: Finding, now: float) -> None:
        """Answer with what was found; where that is nobody, with whom the kernel told."""
        question = finding.question
        answer = self.judge.judge(finding, now)
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
            self.questions.drop(question.key)
            self.stats.answers[answer.method, answer.quality] += 1
            if answer.owner and answer.alive and answer.quality in SURE:
                self.judge.remember(question, answer.owner)
        elif question.due <= now:
            interval = self.sources.settings.interval
            wait = SECOND if question.tries == 1 else min(SLOWEST, interval * 2 ** max(0, question.tries - 2))
            self.questions.schedule(question, now + wait)
