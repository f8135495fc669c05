"""QUIC's states as an observer sees them: by packet types and what Initials carry (RFC 9000 sections 10 and 17.2)."""

__all__ = ["step"]

TRANSITIONS = {
    ("unknown", "initial"): "initial",
    ("unknown", "handshake"): "handshaking",
    ("unknown", "short"): "connected",
    ("initial", "handshake"): "handshaking",
    ("initial", "short"): "connected",
    ("handshaking", "short"): "connected",
    ("connected", "close"): "draining",
    ("initial", "close"): "closed",
    ("handshaking", "close"): "closed",
    ("unknown", "close"): "draining",
    ("draining", "close"): "closed",
}


def step(state: str, event: str) -> str:
    """Walk the table; what it does not list changes nothing. `active`: a flow that was not known to be QUIC yet."""
    return TRANSITIONS.get(("unknown" if state == "active" else state, event), state)
