"""Real servers and clients of every common protocol: each is named, and what clients did is counted, at both ends.

`-s` prints what was counted.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.containers import contained
from tests.e2e.live import mail, messages, names, secure, stores, web
from tests.e2e.live.place import Case, Place
from tests.e2e.live.rig import REQUESTS, SOURCES, Live, watched
from tests.e2e.netns import Pair, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw, pytest.mark.bpf]

CASES = [case for family in (web, secure, names, stores, messages, mail) for case in family.CASES]


@pytest.fixture(scope="module")
def live(public: Path, tool: Callable[[str], str]) -> Iterator[Live]:
    """Two containers on a wire, for all cases."""
    pair = Pair()
    try:
        with contained(pair.here, pair.there) as (here, there):
            place = Place(pair.here, here, there, public, tool)
            with watched(place) as live:
                far_end_is_seen(live)
                yield live
    finally:
        pair.close()


def far_end_is_seen(live: Live) -> None:
    """Who captures has to find out first who lives behind the wire."""
    live.place.serve(web.nginx)

    def seen() -> int:
        web.curl(live.place, "-o", "/dev/null", f"{web.CLEAR_URL}/page")
        return live.exporters["pcap"].scrape().sum(REQUESTS, role="server")

    wait_for("the far end is seen", seen, 10, every=0.5)
    time.sleep(2)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_clients_did_is_counted(live: Live, source: str, case: Case) -> None:
    live.judge(case, source)
