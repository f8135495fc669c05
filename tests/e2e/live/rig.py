"""The rig of live tests: a place, an exporter of each source that counts there, and what must come of it."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.e2e.containers import Container
from tests.e2e.live.place import ROLES, Case, Did, Place
from tests.e2e.netns import Pair, wait_for
from tests.e2e.running import Asked, Exporter
from tests.e2e.scrape import BYTES, Scrape

SOURCES = {"pcap": ("127.0.0.1", ("--capture.interface", Pair.interface)), "ebpf": ("127.0.0.2", ())}
"""Both count all the time. Each is asked at an address of its own; scrapes of one are nothing to the other."""
SOONER = ("--flow.publish-interval", "0.25")
REQUESTS, VERSIONS = "netproc_requests_total", "netproc_protocol_versions_total"
HANDSHAKES = "netproc_handshake_duration_seconds_count"
COUNTED = 15.0
STARTED = 2.5
"""Seconds after which what was said until a server took connections is counted."""
AGAIN = 0.6
"""Seconds in which what is counted too often would show."""
NO_NAME = "unknown"

Table = dict[str, Counter[tuple[str, ...]]]


class Live:
    """A place, its exporters, and what has happened: each case's traffic is made once and seen by both."""

    def __init__(self, place: Place, exporters: dict[str, Exporter]) -> None:
        self.place = place
        self.exporters = exporters
        self.done: dict[str, tuple[Did | None, dict[str, Scrape]]] = {}

    def talk(self, case: Case) -> tuple[Did | None, dict[str, Scrape]]:
        """Run a case's clients, if this was not done; give what they did, and scrapes of before."""
        if case.name not in self.done:
            if self.place.serve(case.serve):
                time.sleep(STARTED)
            bases = {source: exporter.scrape() for source, exporter in self.exporters.items()}
            self.done[case.name] = case.ask(self.place), bases
        return self.done[case.name]

    def judge(self, case: Case, source: str) -> None:
        """All that clients did is counted, no more, and of no other protocol; print it."""
        did, bases = self.talk(case)
        exporter, want, found = self.exporters[source], case.table(did, source), {}

        def counted() -> Scrape | None:
            scrape = exporter.scrape(bases[source])
            found.update(self._table(source, scrape, case))
            return scrape if found == want else None

        def says() -> str:
            return f"want {want}\nhave {found}\nlost {exporter.scrape().losses()}\n{self.place.said()}"

        wait_for("all is counted", counted, COUNTED, every=0.2, says=says)
        time.sleep(AGAIN)
        scrape = counted()
        assert scrape, says()
        spoken = self._protocols(source, scrape)
        whose = {self.place.label(case.process), *case.further} & spoken.keys()
        whose = spoken.keys() if (source, "server") in case.unseen else whose
        assert set().union(*(spoken[process] for process in whose)) == {case.protocol} | case.beside, spoken
        show(source, case, found)

    def _rows(self, source: str, scrape: Scrape, name: str, *labels: str) -> Counter[tuple[str, ...]]:
        """Sum by labels what is of this place: the kernel counts for all of the machine, by container."""
        if source == "pcap":
            return scrape.by(name, *labels)
        cells: tuple[Container, ...] = (self.place.here, self.place.there)
        return sum((scrape.by(name, *labels, container=cell.label) for cell in cells), Counter())

    def _table(self, source: str, scrape: Scrape, case: Case) -> Table:
        """Give what was counted, as `Case.table` has what must be."""
        handshakes: Counter[tuple[str, ...]] = Counter()
        for process in map(self.place.label, case.named):
            handshakes += scrape.by(HANDSHAKES, "handshake", process=process)
            handshakes -= scrape.base.by(HANDSHAKES, "handshake", process=process)
        handshakes.pop(("tcp",), None)
        return {
            "requests": self._rows(source, scrape, REQUESTS, "protocol", "role", "operation", "status"),
            "versions": self._rows(source, scrape, VERSIONS, "protocol", "version"),
            "handshakes": handshakes,
        }

    def _protocols(self, source: str, scrape: Scrape) -> dict[str, set[str]]:
        """Name what each process' bytes are said to be; a handshake's, at its listener, are of no protocol yet."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for name in BYTES:
            for process, protocol in self._rows(source, scrape, name, "process", "protocol"):
                found[process] |= {protocol} - {NO_NAME}
        return found


@contextmanager
def watched(place: Place) -> Iterator[Live]:
    """Start an exporter of each source beside the clients; each must end as it should."""
    with ExitStack() as stack:
        exporters = {}
        for source, (address, only) in SOURCES.items():
            flags = ("--capture.source", source, "--web.listen-address", f"{address}:10187", *only, *SOONER)
            asked = Asked(place.here, address)
            exporters[source] = Exporter(place.beside, place.public, *flags, asked=asked)
            stack.callback(exporters[source].stop)
        yield Live(place, exporters)
    for exporter in exporters.values():
        assert "Traceback" not in exporter.said(), exporter.said()


def show(source: str, case: Case, found: Table) -> None:
    """Print a case's row: requests as of one end, connections by version and handshakes as of all."""
    role = next(role for role in reversed(ROLES) if (source, role) not in case.unseen)
    ends = Counter({what[2:]: count for what, count in found["requests"].items() if what[1] == role})
    said = [f"{operation} {status} {count}" for (operation, status), count in sorted(ends.items())]
    for what in ("versions", "handshakes"):
        said += [f"{' '.join(labels)} {what} {count}" for labels, count in sorted(found[what].items())]
    print(f"\n| {case.name} | {case.protocol} | {case.process} | {source} | {', '.join(said)} |", end="")
