"""The state machine alone: every transition that RustNet has, and that the table is closed under what can come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.flow import tcp

STATES = (
    "unknown",
    "syn_sent",
    "syn_received",
    "established",
    "fin_wait_1",
    "fin_wait_2",
    "close_wait",
    "closing",
    "last_ack",
    "time_wait",
    "closed",
)
EVENTS = tuple(sorted({event for _, event in tcp.TRANSITIONS}))


@pytest.mark.parametrize(
    ("before", "event", "after"),
    [
        ("unknown", "syn_in", "syn_received"),
        ("unknown", "syn_out", "syn_sent"),
        ("unknown", "data_in", "established"),
        ("unknown", "data_out", "established"),
        ("syn_sent", "synack_in", "established"),
        ("syn_received", "data_in", "established"),  # RustNet's defect (a): there only when this end speaks
        ("established", "fin_out", "fin_wait_1"),
        ("established", "fin_in", "close_wait"),
        ("fin_wait_1", "acked", "fin_wait_2"),
        ("fin_wait_1", "fin_in", "closing"),
        ("fin_wait_2", "fin_in", "time_wait"),
        ("closing", "acked", "time_wait"),
        ("close_wait", "fin_out", "last_ack"),
        ("last_ack", "acked", "closed"),
        ("syn_sent", "syn_in", "syn_received"),  # simultaneous open
        ("syn_sent", "data_out", "established"),  # defect (b): the SYN-ACK was lost to us
        ("unknown", "fin_out", "fin_wait_1"),  # defect (f): never established
        ("unknown", "fin_in", "close_wait"),
    ],
)
def test_transition(before, event, after):
    assert tcp.TRANSITIONS[before, event] == after


@pytest.mark.parametrize("state", [s for s in STATES if s not in tcp.ENDED])
def test_reset_closes_every_living_state(state):
    assert tcp.TRANSITIONS[state, "reset"] == "closed"


@pytest.mark.parametrize(
    ("state", "event"),
    [("close_wait", "acked"), ("established", "syn_in"), ("closed", "syn_out"), ("syn_sent", "x")],
)
def test_unlisted(state, event):
    assert (state, event) not in tcp.TRANSITIONS


def test_what_is_over_stays_over():
    for state in tcp.ENDED:
        for event in EVENTS:
            assert tcp.TRANSITIONS.get((state, event), state) == state


@given(st.lists(st.sampled_from(EVENTS), max_size=30))
def test_no_way_leads_back(events):
    """Whatever comes, a connection only grows older: opening, open, closing, over."""
    age = {"unknown": 0, "syn_sent": 1, "syn_received": 2, "established": 3}
    age |= dict.fromkeys(("fin_wait_1", "close_wait"), 4)
    age |= dict.fromkeys(("fin_wait_2", "closing", "last_ack"), 5) | dict.fromkeys(("time_wait", "closed"), 6)
    state = "unknown"
    for event in events:
        after = tcp.TRANSITIONS.get((state, event), state)
        assert age[after] >= age[state]
        state = after
