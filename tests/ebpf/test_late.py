"""A flood of new connections by a process whose name comes late: all of it is that process', turn by turn."""

import time

import pytest

from exporter import ledgerfile
from exporter import metrics as m
from exporter.app import ebpf_part
from exporter.config import Config
from exporter.ebpf.kernel import Sizes
from exporter.model import Answer, Owner, Whose
from tests.ebpf.test_crash import Life
from tests.ebpf.test_turns import PACKET, run

pytestmark = [pytest.mark.bpf, pytest.mark.root, pytest.mark.netns]

FLOWS = 2048
ENDLESS, ROUNDS = 20_000_000, 3


@pytest.fixture
def drain(pair):
    """A namespace whose packets to 198.18.0.0/15 go to a hardware address that nobody has."""
    pair.near.run("ip", "neigh", "add", "192.0.2.9", "lladdr", "02:00:00:00:00:99", "dev", "v0")
    pair.near.run("ip", "route", "add", "198.18.0.0/15", "via", "192.0.2.9")
    return pair.near


@pytest.fixture
def life(watch):
    """A worker that has just begun, with tables that a flood fills at once."""
    watching = watch(Sizes(flows=FLOWS, overflow=64, ring=1 << 20, budgets=4096))
    made = Life(watching.kernel.handles[0], memoryview(bytearray(ledgerfile.size(Config().metrics))))
    for _ in range(2):
        made.second()
    yield made
    made.close()


def turn(life, unnamed):
    """What is due each second; all have names at once but these processes, whose questions are given."""
    life.clock += 1.1
    life.worker._due["tick"] = life.worker._due["reap"] = 0
    life.worker._by_clock(life.clock)
    owners, kept = life.worker.engine.context.owners, []
    for whose in [record for record in owners.outbox if isinstance(record, Whose)]:
        if whose.pid in unnamed:
            kept.append(whose)
        else:
            name(life, whose, "other")
    owners.outbox.clear()
    life.worker._due["reap"] = 0
    life.worker._by_clock(life.clock + 0.01)
    return kept


def name(life, whose, word):
    owner = Owner(word, pid=whose.pid, start=float(whose.start))
    life.worker.engine.answer(Answer(whose.serial, owner, "ebpf", "exact"), life.clock)


def sent(life, process):
    """Bytes sent, as the ledger's file has them."""
    snapshot = ledgerfile.read(life.worker.buffer)
    labels = ledgerfile.Labels()
    labels.extend(snapshot)
    entries = labels.families.get(m.TRANSMIT_BYTES, {})
    return sum(snapshot.values[slot] for slot, (key, _) in entries.items() if key[1].process == process)


def stop(child):
    child.terminate()
    child.wait()
    child.stdout.close()


def test_all_of_a_flood_is_its_process_though_the_name_comes_after_three_turns(life, drain, flood):
    """Most of it found the kernel's table full. Before the name it is in the ledger's file, but in no row."""
    questions, child = [], run(drain, flood, 0, ENDLESS)
    before = sent(life, "unknown")
    for _ in range(ROUNDS):
        time.sleep(0.3)
        questions += turn(life, {child.pid})
    assert len(questions) == 1
    assert ledgerfile.read(life.worker.buffer).notes
    assert sent(life, "unknown") == before
    stop(child)
    after = drain.counters("v0")
    turn(life, {child.pid})
    name(life, questions[0], "flood")
    for _ in range(2):
        turn(life, set())
    packets = after["tx_packets"] + after["tx_dropped"]
    print(f"{packets} packets, {len(life.worker.engine.context.table)} connections")
    assert packets > FLOWS * ROUNDS
    assert sent(life, "flood") == packets * PACKET
    assert sent(life, "unknown") == before
    assert not ledgerfile.read(life.worker.buffer).notes


def test_a_turn_that_takes_long_is_followed_by_shorter_ones(life, drain, flood, monkeypatch):
    monkeypatch.setattr(ebpf_part, "TOOK", 0.0)
    rooms = [life.part._sockets.room]
    child = run(drain, flood, 0, ENDLESS)
    for _ in range(6):
        turn(life, set())
        rooms.append(life.part._sockets.room)
        time.sleep(0.05)
    stop(child)
    assert rooms[:4] == [16_384, 8_192, 4_096, 2_048]
    assert rooms[-1] == ebpf_part.LEAST
    monkeypatch.setattr(ebpf_part, "TOOK", 60.0)
    for _ in range(5):
        turn(life, set())
    assert life.part._sockets.room == 16_384
