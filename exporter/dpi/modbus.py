"""Modbus over TCP: MODBUS Application Protocol V1.1b3, MODBUS Messaging on TCP/IP Implementation Guide V1.0b.

Read are functions and exceptions; never a value. A message is Modbus if its header's zeros and its lengths fit its
function.
"""

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_HEADER = 7
_MAX_LENGTH = 254
_FUNCTIONS = {
    1: "read_coils",
    2: "read_discrete_inputs",
    3: "read_holding_registers",
    4: "read_input_registers",
    5: "write_single_coil",
    6: "write_single_register",
    7: "read_exception_status",
    8: "diagnostics",
    11: "get_comm_event_counter",
    12: "get_comm_event_log",
    15: "write_multiple_coils",
    16: "write_multiple_registers",
    17: "report_server_id",
    20: "read_file_record",
    21: "write_file_record",
    22: "mask_write_register",
    23: "read_write_multiple_registers",
    24: "read_fifo_queue",
    43: "encapsulated_interface_transport",
}
_EXCEPTIONS = {
    1: "illegal_function",
    2: "illegal_data_address",
    3: "illegal_data_value",
    4: "server_device_failure",
    5: "acknowledge",
    6: "server_device_busy",
    8: "memory_parity_error",
    10: "gateway_path_unavailable",
    11: "gateway_target_device_failed_to_respond",
}
_ACKNOWLEDGED = 5
_SPANS = {1: 2000, 2: 2000, 3: 125, 4: 125, 15: 1968, 16: 123}
"""How many coils or registers may be asked for at once (section 6)."""


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data[2:5] != b"\0\0\0"[: len(data[2:5])]:
        return NO
    if len(data) < 8:
        return NO if len(data) > 5 and not 2 < data[5] <= _MAX_LENGTH else MORE
    size, function = data[5], data[7]
    if not 2 < size <= _MAX_LENGTH or function & 0x7F not in _FUNCTIONS:
        return NO
    if len(data) < 6 + size:
        return MORE
    body = data[8 : 6 + size]
    if function & 0x80:
        return YES if len(body) == 1 and body[0] in _EXCEPTIONS else NO
    return YES if _request(function, body) or _response(function, body) else NO


def _ranged(function: int, body: bytes, span: int) -> bool:
    """Tell the same of a request about a range of coils or registers, with values where they are written."""
    if len(body) < 4 or not 0 < (count := body[2] << 8 | body[3]) <= span:
        return False
    if function < 5:
        return len(body) == 4
    size = (count + 7) // 8 if function == 15 else 2 * count
    return len(body) == 5 + size and body[4] == size


def _request(function: int, body: bytes) -> bool:
    """Tell whether a request of this function may have this body."""
    if span := _SPANS.get(function):
        return _ranged(function, body, span)
    match function:
        case 5:
            return len(body) == 4 and body[2:4] in (b"\0\0", b"\xff\0")
        case 6 | 8 | 24:
            return len(body) == (2 if function == 24 else 4)
        case 20 | 21 | 23:
            at = 8 if function == 23 else 0
            return len(body) > 8 and body[at] == len(body) - at - 1
        case 22:
            return len(body) == 6
        case 43:
            return len(body) == 3 and body[0] == 14 and 0 < body[1] <= 4
    return False


def _response(function: int, body: bytes) -> bool:
    """Tell whether a response of this function may have this body; writes are answered by what they began with."""
    match function:
        case 1 | 2 | 3 | 4 | 12 | 17 | 20 | 23:
            return len(body) > 1 and body[0] == len(body) - 1
        case 15 | 16:
            return len(body) == 4 and 0 < (body[2] << 8 | body[3]) <= _SPANS[function]
        case 24:
            return len(body) > 3 and (body[0] << 8 | body[1]) == len(body) - 2
        case 43:
            return len(body) > 5 and body[0] == 14 and 0 < body[1] <= 4
    return False


class _Modbus(Framed):
    """One connection. What side asks is known by the first message that can only be one or the other."""

    __slots__ = ("_client",)

    resumable = True

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._client: int | None = None

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        zeros = data[at + 2 : at + 5]
        if zeros != b"\0\0\0"[: len(zeros)]:
            raise ParseError("header")
        if len(data) - at < _HEADER:
            return MORE_NEEDED
        size = data[at + 5]
        if not 2 <= size <= _MAX_LENGTH:
            raise ParseError("length")
        return 6 + size, 6 + size

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        function, body = data[7], data[8:]
        match = (data[:2], data[6])
        op = _FUNCTIONS.get(function & 0x7F, "other")
        attrs = {"modbus.unit": str(data[6])}
        if self._client is None:
            self._client = self._asks(side, function, body)
        if side == self._client and not function & 0x80:
            found.append(Message(kind=Kind.REQUEST, op=op, match=match, attrs=attrs))
            return
        status, failed = "ok", False
        if function & 0x80:
            code = body[0] if body else 0
            status, failed = _EXCEPTIONS.get(code, "other"), code != _ACKNOWLEDGED
        found.append(
            Message(kind=Kind.RESPONSE, op=op, status=status, error=failed, match=match, attrs=attrs)
        )

    def resumes(self, side: int, data: bytes) -> bool:
        return _probe(side, data, Ends(b"", 0, b"", 0)) == YES

    def _asks(self, side: int, function: int, body: bytes) -> int:
        """Which side is the client: what may be both (an echo, a diagnosis) was sent by it, coming first."""
        if function & 0x80 or (_response(function, body) and not _request(function, body)):
            return 1 - side
        return side


DISSECTOR = Dissector(
    name="modbus",
    transports=frozenset({"tcp"}),
    ports=frozenset({502}),
    operations=frozenset(_FUNCTIONS.values()),
    statuses=frozenset({*_EXCEPTIONS.values(), "ok"}),
    probe=_probe,
    parser=_Modbus,
    reads="functions, unit, exceptions",
    specification="MODBUS Application Protocol V1.1b3",
)
