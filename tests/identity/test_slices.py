"""Work that takes long is done in slices, between which questions are answered."""

import gc
import os
import socket
import time

import pytest

from exporter.identity.listing import list_sockets
from exporter.identity.procfs import Procfs
from exporter.identity.stats import Stats
from exporter.identity.tables import Tables
from exporter.model import Ask, Listing

LO = socket.inet_aton("127.0.0.1")
MANY = 15_000
SLICE = 0.04
"""Seconds of processor time: 0.005 is meant, all of it together takes 0.2 and more."""

CROWD = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
ends = []
for _ in range(int(sys.argv[1])):
    one = socket.socket(type=socket.SOCK_DGRAM)
    one.connect(("127.0.0.1", 9))
    ends.append(one)
print("up", flush=True)
sys.stdin.read()
"""


def slices(work):
    """Give what comes of each slice, and the processor time of the longest."""
    longest, found = 0.0, []
    gc.freeze()  # in a whole run, one round of the collector over what other tests have left takes 0.1 s
    try:
        while True:
            begun = time.process_time()
            try:
                found.append(next(work))
            except StopIteration:
                return found, longest
            longest = max(longest, time.process_time() - begun)
    finally:
        gc.unfreeze()


@pytest.mark.root
@pytest.mark.parametrize("method", ["netlink", "procfs"])
def test_a_listing_of_many_sockets(rig, run, closing, method):
    crowd, line = run(CROWD, MANY)
    assert line == "up"
    rig = rig(method=method)
    got, longest = slices(list_sockets(rig.resolver, rig.now))
    rows = [row for record in got if isinstance(record, Listing) for row in record.rows]
    theirs = [row for row in rows if row.rport == 9 and row.owner and row.owner.pid == crowd.pid]
    assert len(theirs) == MANY
    assert longest < SLICE
    assert got.count(None) > 20


@pytest.mark.root
def test_a_question_amid_a_listing_and_what_is_left_of_one(rig, run, closing):
    run(CROWD, 2_000)
    server = closing(socket.create_server(("127.0.0.1", 0)))
    client = closing(socket.create_connection(server.getsockname()))
    rig = rig()
    listing = list_sockets(rig.resolver, rig.now)
    for _ in range(3):
        assert next(listing) is None
        answer = rig.ask(client.getsockname(), server.getsockname())
        assert (answer.owner.pid, answer.alive) == (os.getpid(), True)
    listing.close()  # a worker has started anew
    got, _ = slices(list_sockets(rig.resolver, rig.now))
    assert sum(len(record.rows) for record in got if record) >= 2_000


def test_a_large_table_is_read_in_slices(tree):
    heading = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    )
    row = "{0:6d}: 0100007F:{1:04X} 0100007F:0050 01 00000000:00000000 00:00000000 00000000  1000 0 {0} 1 0 20 4\n"
    (tree.root / "7" / "net").mkdir(parents=True)
    lines = (row.format(number, number % 65_536) for number in range(1, 60_001))
    (tree.root / "7" / "net" / "tcp").write_text(heading + "".join(lines))
    (tree.root / "7" / "stat").write_text("")
    tables = Tables(Procfs(str(tree.root)), lambda: [7], Stats())

    def work():
        yield tables.prepare(5.0)
        while tables.reading is not None:
            yield tables.step()

    seen, longest = slices(work())
    assert seen[0] < 0.0  # nothing yet
    assert longest < SLICE
    assert tables.prepare(5.001) == 5.0
    assert len(tables.rows) == 60_000
    assert {found.inode for found in tables.dump("tcp")} == set(range(1, 60_001))


def test_the_newest_of_too_many_questions_is_answered_first(rig, closing):
    """As in a flood: tens of thousands ask about sockets that there are not."""
    server = closing(socket.create_server(("127.0.0.1", 0)))
    client = closing(socket.create_connection(server.getsockname()))
    rig = rig()
    for serial in range(1, 30_001):
        port = 1 + serial % 60_000
        rig.resolver.ask(0, Ask(serial, 0, "udp", LO, 1, LO, port, time.time()), rig.now)
    near, far = client.getsockname()[1], server.getsockname()[1]
    rig.resolver.ask(0, Ask(77_777, 0, "tcp", LO, near, LO, far, time.time()), rig.now)
    answers = {}
    while not ((found := answers.get(77_777)) and found.owner):  # at the second look, after a sweep in slices
        begun = time.process_time()
        rig.resolver.work(rig.now)
        assert time.process_time() - begun < 0.25
        answers.update((answer.serial, answer) for answer in rig.answers())
        assert rig.resolver.questions.new  # others still wait
    assert answers[77_777].owner.pid == os.getpid()
    while rig.resolver.questions.new:  # and nobody is forgotten
        rig.resolver.work(rig.now)
        answers.update((answer.serial, answer) for answer in rig.answers())
    assert len(answers) == 30_001
