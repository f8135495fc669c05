"""Handshakes over a wire that loses 1 % of frames and lets 10 % come late: none is missed, none counted twice."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.containers import contained
from tests.e2e.live import secure, web
from tests.e2e.live.place import ADDRESS, Case, Did, Place
from tests.e2e.live.rig import SOURCES, Live, watched
from tests.e2e.live.rough import Rough
from tests.e2e.netns import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw, pytest.mark.bpf]

LOSS, LATE, DELAY = 0.01, 0.1, 0.003
SEED = 6
FULL, SHORT = 200, 40
PORT = 18446
SEGMENT = 1448
"""The most that a segment of this wire carries."""
END = Path(secure.__file__).with_name("pq_end.py")
GROUP = "X25519MLKEM768"
FAR = frozenset({("pcap", "server")})
"""A TAP device does not tell who is behind it."""


def resistant(place: Place) -> None:
    folder = place.folder("pq")
    key, signed = web.certificate(place, str(folder))
    place.start(*secure.python(place, END, "serve", str(PORT), signed, key, folder / "ready"))
    wait_for("a server of TLS", (folder / "ready").exists, 10, says=place.said)


def asking(times: int) -> Callable[[Place], Did]:
    def ask(place: Place) -> Did:
        said = place.run(*secure.python(place, END, "ask", ADDRESS, str(PORT), str(times)), timeout=60)
        size, group = said.split()
        assert int(size) > SEGMENT
        assert group == GROUP
        return Did({}, {("tls", "1.3"): times})

    return ask


@pytest.fixture(scope="module")
def rough() -> Iterator[Rough]:
    made = Rough(LOSS, LATE, DELAY, SEED)
    yield made
    made.close()


@pytest.fixture(scope="module")
def live(rough: Rough, public: Path, tool: Callable[[str], str]) -> Iterator[Live]:
    with (
        contained(rough.here, rough.there) as (here, there),
        watched(Place(rough.here, here, there, public, tool)) as live,
    ):
        yield live


@pytest.mark.parametrize("source", SOURCES)
def test_a_hello_of_two_segments_is_read(live: Live, rough: Rough, source: str, *, short: bool) -> None:
    times = SHORT if short else FULL
    python = secure.PYTHON
    case = Case(
        f"TLS 1.3, {GROUP}",
        "tls",
        python,
        resistant,
        asking(times),
        handshakes={"tls": times},
        named=(python,),
        unseen=FAR,
    )
    live.judge(case, source)
    print(rough.counts)
    assert rough.counts["lost"]
    assert rough.counts["late"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("case", [web.OLD_TLS, web.NEW_TLS, secure.OVER_QUIC], ids=lambda case: case.name)
def test_other_handshakes_are_read_too(live: Live, source: str, case: Case) -> None:
    live.judge(case._replace(unseen=FAR), source)
