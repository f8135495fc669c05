import pytest

from exporter.flow import quic


def walk(state, *events):
    for event in events:
        state = quic.step(state, event)
    return state


@pytest.mark.parametrize(
    ("events", "state"),
    [
        (("initial",), "initial"),
        (("initial", "client_hello", "retry"), "initial"),
        (("initial", "handshake", "short"), "connected"),
        (("initial", "handshake", "short", "initial", "handshake"), "connected"),
        (("initial", "close"), "closed"),
        (("close",), "draining"),
        (("short", "close", "close"), "closed"),
    ],
)
def test_states(events, state):
    """A flow is `active` until it is known to be QUIC, `unknown` where the kernel tells of it first."""
    assert walk("active", *events) == state
    assert walk("unknown", *events) == state


def test_other_events_change_nothing():
    assert walk("active", "client_hello") == "active"
    assert walk("closed", "initial", "short", "close") == "closed"
