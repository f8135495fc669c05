"""Where real ends talk: clients in one container, servers in another, joined by a wire; and what a case is."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.e2e.containers import Container
from tests.e2e.netns import Namespace, Pair, wait_for
from tests.e2e.servers import Servers, renamed

Rows = Mapping[tuple[str, str], int]
"""(operation, status) → how many."""
NOTHING: Mapping[Any, int] = MappingProxyType({})
ADDRESS = Pair.there4
NAME = "www.example.test"
ROLES = ("client", "server")


class Place:
    """A client's container and a server's; each server is started once, by the first case that asks it."""

    def __init__(
        self, beside: Namespace, here: Container, there: Container, public: Path, tool: Callable[[str], str]
    ) -> None:
        self.beside = beside
        """The clients' namespace: whoever runs here is in no container."""
        self.here = here
        self.there = there
        self.tool = tool
        self.public = public
        self.own = renamed(tool, public)
        """Finds a program's copy, whose name no other process on the machine has."""
        self.servers = Servers(there, public, tool)
        self.started: set[Callable[[Place], None]] = set()

    def label(self, name: str) -> str:
        """Give a program's label: of its copy, if it was asked for."""
        own = f"{name}-{os.getpid()}"
        return own if (self.public / own).exists() else name

    def serve(self, start: Callable[["Place"], None]) -> bool:
        """Start a server, if this was not done; tell whether it was done now."""
        if start in self.started:
            return False
        self.started.add(start)
        start(self)
        return True

    def folder(self, name: str, owner: str = "root") -> Path:
        """Make a folder for a server, or for a client that needs one."""
        return self.servers.folder(name, owner)

    def run(self, *command: str | Path, **options: Any) -> str:
        """Run a client to its end; it must end well, unless `check=False`. Gives what it said."""
        done = self.here.run(self.tool(str(command[0])), *command[1:], **{"timeout": 20, **options})
        return done.stdout + done.stderr

    def start(self, *command: str | Path, **options: Any) -> None:
        """Start a server in the foreground; its words go to a file beside its own."""
        program = Path(self.tool(str(command[0])))
        with (self.servers.root / f"{program.name}.log").open("ab") as log:
            self.there.start(program, *command[1:], **{"stdout": log, "stderr": log, **options})

    def listens(self, port: int) -> None:
        """Wait until somebody takes connections there."""
        wait_for(
            f"a server on port {port}", lambda: self.there.connects("127.0.0.1", port), 25, says=self.said
        )

    def said(self) -> str:
        """What servers said last, for the words of a failure."""
        logs = self.servers.root.glob("**/*log")
        return "\n".join(f"{log}: {log.read_text(errors='replace')[-1500:]}" for log in logs if log.is_file())


class Did(NamedTuple):
    """What clients did, where the table cannot know it."""

    requests: Rows
    versions: Rows


class Case(NamedTuple):
    """Some clients of a server, and what they did."""

    name: str
    protocol: str
    process: str
    """The server's executable."""
    serve: Callable[[Place], None]
    ask: Callable[[Place], Did | None]
    """Runs the clients."""
    requests: Rows = NOTHING
    """What each end has to count."""
    versions: Rows = NOTHING
    """(protocol, version) → connections."""
    handshakes: Mapping[str, int] = NOTHING
    """Kind → how many, beside those of TCP; of `named` programs alone, as containers are not told there."""
    named: tuple[str, ...] = ()
    """Client and server that run as `Place.own`."""
    further: tuple[str, ...] = ()
    """Processes of the server to which connections are handed."""
    beside: frozenset[str] = frozenset()
    """Protocols that the server speaks beside its own."""
    unseen: frozenset[tuple[str, str]] = frozenset()
    """(source, role) of ends that do not see both what is asked and what is answered."""

    def table(self, did: Did | None, source: str) -> dict[str, Counter[tuple[str, ...]]]:
        """Give what must be counted: requests by protocol, role, operation, status; versions; handshakes."""
        requests, versions = did or (self.requests, self.versions)
        roles = [role for role in ROLES if (source, role) not in self.unseen]
        by_role = {(self.protocol, role, *what): count for what, count in requests.items() for role in roles}
        ends = len(roles)
        return {
            "requests": Counter(by_role),
            "versions": Counter({what: ends * count for what, count in versions.items()}),
            "handshakes": Counter({(kind,): ends * count for kind, count in self.handshakes.items()}),
        }
