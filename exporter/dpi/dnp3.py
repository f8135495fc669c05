"""DNP3 over TCP and UDP: IEEE 1815-2012 clauses 4 (application layer), 8 (transport function) and 9 (link layer).

Read are the application's functions and the errors in a response's internal indications; never an object or a value. A
header's checksum proves the protocol. Only the first fragment of a message is looked at.
"""

from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.dnp3_frames import HEADER, MORE_FRAME, NO_FRAME, START, frame_size, user_data
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.formats.stream import until
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_CONFIRM, _RESPONSE, _UNSOLICITED, _AUTHENTICATION_RESPONSE = 0, 129, 130, 131
_FUNCTIONS = (
    "confirm",
    "read",
    "write",
    "select",
    "operate",
    "direct_operate",
    "direct_operate_no_response",
    "immediate_freeze",
    "immediate_freeze_no_response",
    "freeze_clear",
    "freeze_clear_no_response",
    "freeze_at_time",
    "freeze_at_time_no_response",
    "cold_restart",
    "warm_restart",
    "initialize_data",
    "initialize_application",
    "start_application",
    "stop_application",
    "save_configuration",
    "enable_unsolicited",
    "disable_unsolicited",
    "assign_class",
    "delay_measurement",
    "record_current_time",
    "open_file",
    "close_file",
    "delete_file",
    "get_file_information",
    "authenticate_file",
    "abort_file",
    "activate_configuration",
    "authentication_request",
    "authentication_request_no_response",
)
_TOLD = frozenset({0, 6, 8, 10, 12, 33})
"""Functions that are not answered."""
_INDICATIONS = (
    (0x01, "function_not_supported"),
    (0x02, "object_unknown"),
    (0x04, "parameter_error"),
    (0x08, "event_buffer_overflow"),
    (0x10, "already_executing"),
    (0x20, "configuration_corrupt"),
)
"""The second byte of a response's indications (clause 4.2.5)."""
_FAILURES = 0x27
_FIRST = 0x40
_READ = HEADER + 18


def _probe(side: int, data: bytes, ends: Ends) -> int:
    size = frame_size(data, 0)
    if ends.transport == "udp":
        return YES if HEADER <= size <= len(data) else NO
    return MORE if size == MORE_FRAME else NO if size == NO_FRAME else YES


class _Dnp3(Framed):
    """What was asked last under each sequence number (there are 16): an answer does not repeat its function."""

    __slots__ = ("_asked", "_stream")

    resumable = True

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._stream = ends.transport == "tcp"
        self._asked: dict[int, str] = {}

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if self._stream:
            return super().feed(side, data)
        found: list[Message] = []
        at = 0
        while at < len(data):
            size = frame_size(data, at)
            if not HEADER <= size <= len(data) - at:
                return until(ParseError("frame"), found)
            self.read(side, data[at : at + size], found)
            at += size
        return found

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        size = frame_size(data, at)
        if size == MORE_FRAME:
            return MORE_NEEDED
        if size == NO_FRAME:
            raise ParseError("frame")
        return size, min(size, _READ)

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        block = user_data(data)
        if len(block) < 3 or not block[0] & _FIRST:
            return
        serial, function = block[1] & 15, block[2]
        if function in (_RESPONSE, _AUTHENTICATION_RESPONSE):
            op = self._asked.pop(serial, "")
            status, failed = _status(block)
            found.append(Message(kind=Kind.RESPONSE, op=op, status=status, error=failed, match=serial))
        elif function == _UNSOLICITED:
            status, failed = _status(block)
            found.append(Message(kind=Kind.NOTICE, op="unsolicited_response", status=status, error=failed))
        else:
            op = _FUNCTIONS[function] if function < len(_FUNCTIONS) else "other"
            kind = Kind.NOTICE if function in _TOLD else Kind.REQUEST
            if kind is Kind.REQUEST:
                self._asked[serial] = op
            found.append(Message(kind=kind, op=op, match=serial))

    def resumes(self, side: int, data: bytes) -> bool:
        return data[:2] == START and frame_size(data, 0) > 0


def _status(block: bytes) -> tuple[str, bool]:
    """Read a response's indications: the first error, and whether what was asked has failed."""
    bits = block[4] if len(block) > 4 else 0
    for bit, name in _INDICATIONS:
        if bits & bit:
            return name, bool(bits & _FAILURES)
    return "ok", False


DISSECTOR = Dissector(
    name="dnp3",
    transports=frozenset({"tcp", "udp"}),
    ports=frozenset({20000}),
    operations=frozenset({*_FUNCTIONS, "unsolicited_response"}),
    statuses=frozenset({name for _, name in _INDICATIONS} | {"ok"}),
    probe=_probe,
    parser=_Dnp3,
    reads="functions, errors from the internal indications",
    specification="IEEE 1815-2012",
)
