"""The handshake messages of Google's QUIC: a tag, and pairs of tags and values ("QUIC Crypto", revision of 2016)."""

from struct import Struct

from exporter.formats.text import clean, host_name

__all__ = ["OPERATIONS", "hello"]

_HEADER = Struct("<4sHH")
_ENTRY = Struct("<4sI")
_MAX_TAGS = 128
OPERATIONS = {b"CHLO": "client_hello", b"REJ\0": "rejection", b"SREJ": "rejection", b"SHLO": "server_hello"}


def hello(data: bytes) -> tuple[str, dict[str, str | tuple[str, ...]]] | None:
    """Give what a message is and says, as far as it is there; None: it is none."""
    op = OPERATIONS.get(data[:4])
    if op is None or len(data) < _HEADER.size:
        return None
    count = _HEADER.unpack_from(data)[1]
    start = _HEADER.size + count * _ENTRY.size
    if count > _MAX_TAGS or start > len(data):
        return None
    attrs: dict[str, str | tuple[str, ...]] = {}
    at = start
    for tag, end in _ENTRY.iter_unpack(data[_HEADER.size : start]):
        stop = start + end
        if not at <= stop <= len(data):
            break
        value, at = data[at:stop], stop
        if tag == b"SNI\0" and (name := host_name(value)):
            attrs["server.address"] = name
        elif tag == b"UAID" and value:
            attrs["user_agent.original"] = clean(value)
    return op, attrs
