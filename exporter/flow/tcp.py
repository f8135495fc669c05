"""TCP's state machine as an observer sees it (RFC 9293 section 3.3.2), from one end's point of view.

We are no endpoint: captures start in mid-stream, see one side, lose packets. So an event that the table does not list
leaves the state as it is, and is counted. A segment is one to three events, in this order: what it acknowledges, what
it opens, what it ends. Whether an acknowledgement covers a FIN, or a reset lies in the window, is decided before an
event exists (`sequence.py`): a table of states cannot know numbers.
"""

__all__ = [
    "CLOSED",
    "ENDED",
    "ESTABLISHED",
    "OPENING",
    "SYN_RECEIVED",
    "SYN_SENT",
    "TIME_WAIT",
    "TRANSITIONS",
    "UNKNOWN",
]

UNKNOWN = "unknown"
SYN_SENT = "syn_sent"
SYN_RECEIVED = "syn_received"
ESTABLISHED = "established"
FIN_WAIT_1 = "fin_wait_1"
FIN_WAIT_2 = "fin_wait_2"
CLOSE_WAIT = "close_wait"
CLOSING = "closing"
LAST_ACK = "last_ack"
TIME_WAIT = "time_wait"
CLOSED = "closed"

OPENING = frozenset({SYN_SENT, SYN_RECEIVED})
ENDED = frozenset({TIME_WAIT, CLOSED})

# Events, as this end sees them. `acked`: the other end acknowledges our FIN. `data` is a segment with ACK that neither
# opens nor ends; `data_in` in SYN_SENT means that the SYN-ACK was lost to us, not to the end.
TRANSITIONS: dict[tuple[str, str], str] = {
    (UNKNOWN, "syn_out"): SYN_SENT,
    (UNKNOWN, "syn_in"): SYN_RECEIVED,
    (UNKNOWN, "synack_out"): SYN_RECEIVED,
    (UNKNOWN, "synack_in"): ESTABLISHED,
    (UNKNOWN, "data_out"): ESTABLISHED,
    (UNKNOWN, "data_in"): ESTABLISHED,
    (UNKNOWN, "fin_out"): FIN_WAIT_1,
    (UNKNOWN, "fin_in"): CLOSE_WAIT,
    (SYN_SENT, "synack_in"): ESTABLISHED,
    (SYN_SENT, "syn_in"): SYN_RECEIVED,  # simultaneous open
    (SYN_SENT, "data_out"): ESTABLISHED,
    (SYN_SENT, "data_in"): ESTABLISHED,
    (SYN_SENT, "fin_out"): FIN_WAIT_1,
    (SYN_SENT, "fin_in"): CLOSE_WAIT,
    (SYN_RECEIVED, "data_in"): ESTABLISHED,
    (SYN_RECEIVED, "synack_in"): ESTABLISHED,
    (SYN_RECEIVED, "fin_out"): FIN_WAIT_1,
    (SYN_RECEIVED, "fin_in"): CLOSE_WAIT,
    (ESTABLISHED, "fin_out"): FIN_WAIT_1,
    (ESTABLISHED, "fin_in"): CLOSE_WAIT,
    (FIN_WAIT_1, "acked"): FIN_WAIT_2,
    (FIN_WAIT_1, "fin_in"): CLOSING,
    (FIN_WAIT_2, "fin_in"): TIME_WAIT,
    (CLOSING, "acked"): TIME_WAIT,
    (CLOSE_WAIT, "fin_out"): LAST_ACK,
    (LAST_ACK, "acked"): CLOSED,
}
for _state in (
    UNKNOWN,
    SYN_SENT,
    SYN_RECEIVED,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    CLOSE_WAIT,
    CLOSING,
    LAST_ACK,
):
    TRANSITIONS[_state, "reset"] = CLOSED

# What repeats or follows without changing anything: listed, so that it is not counted as unexpected.
_IDLE = {
    (SYN_SENT, "syn_out"),
    (SYN_RECEIVED, "syn_in"),
    (SYN_RECEIVED, "synack_out"),
    (SYN_RECEIVED, "data_out"),
    (ESTABLISHED, "synack_in"),
    (ESTABLISHED, "synack_out"),
    (FIN_WAIT_1, "fin_out"),
    (FIN_WAIT_2, "fin_out"),
    (FIN_WAIT_2, "acked"),
    (CLOSE_WAIT, "fin_in"),
    (CLOSING, "fin_in"),
    (CLOSING, "fin_out"),
    (LAST_ACK, "fin_out"),
    (LAST_ACK, "fin_in"),
    (TIME_WAIT, "fin_in"),
    (TIME_WAIT, "fin_out"),
    (TIME_WAIT, "acked"),
    (CLOSED, "acked"),
    (CLOSED, "fin_in"),
    (CLOSED, "fin_out"),
    (TIME_WAIT, "reset"),
    (CLOSED, "reset"),
} | {
    (state, event)
    for state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT, CLOSED)
    for event in ("data_in", "data_out")
}
for _pair in _IDLE:
    TRANSITIONS[_pair] = _pair[0]
