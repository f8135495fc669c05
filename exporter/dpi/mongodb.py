"""MongoDB's wire protocol: MongoDB manual, "MongoDB Wire Protocol"; BSON 1.1.

Read are each message's command, its database and collection, and whether its reply says ok; never a document's values.
Messages are matched by their number. What is compressed is counted and not read.
"""

from struct import Struct

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.bson import elements, text
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_REPLY, _UPDATE, _INSERT, _QUERY, _GET_MORE, _DELETE, _KILL_CURSORS = 1, 2001, 2002, 2004, 2005, 2006, 2007
_COMPRESSED, _MSG = 2012, 2013
_CODES = frozenset({_REPLY, _UPDATE, _INSERT, _QUERY, _GET_MORE, _DELETE, _KILL_CURSORS, _COMPRESSED, _MSG})
_SILENT = {_UPDATE: "update", _INSERT: "insert", _DELETE: "delete", _KILL_CURSORS: "killCursors"}
"""Messages of old that have no reply."""

# fmt: off
_COMMANDS = frozenset({
    "abortTransaction", "aggregate", "authenticate", "buildInfo", "bulkWrite", "collStats", "collMod",
    "commitTransaction", "connectionStatus", "count", "create", "createIndexes", "createUser", "currentOp",
    "dbStats", "delete", "distinct", "drop", "dropDatabase", "dropIndexes", "endSessions", "explain",
    "find", "findAndModify", "getLastError", "getLog", "getMore", "getParameter", "hello", "hostInfo",
    "insert", "isMaster", "ismaster", "killCursors", "killOp", "killSessions", "listCollections",
    "listDatabases", "listIndexes", "logout", "mapReduce", "ping", "profile", "refreshSessions",
    "renameCollection", "replSetGetStatus", "replSetHeartbeat", "replSetUpdatePosition", "saslContinue",
    "saslStart", "serverStatus", "setParameter", "shutdown", "startSession", "top", "update", "validate",
    "whatsmyuri",
})
# fmt: on
_OF_USERS = frozenset({"createUser"})
"""What such a command is about is no collection."""
_HEADER = Struct("<IIII").unpack_from
_MAX_SIZE = 48_000_000
"""maxMessageSizeBytes."""
_READ = 2048
_MORE_TO_COME = 2
_REPLY_FAILED = 3
"""CursorNotFound and QueryFailure in an OP_REPLY's flags."""


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if len(data) < 21:
        if len(data) > 3 and not 16 <= int.from_bytes(data[:4], "little") <= _MAX_SIZE:
            return NO
        return NO if len(data) > 15 and _HEADER(data)[3] not in _CODES else MORE
    size, _, answers, code = _HEADER(data)
    if code not in _CODES or not 21 <= size <= _MAX_SIZE:
        return NO
    flags = int.from_bytes(data[16:20], "little")
    if code == _MSG:
        return YES if not flags & 0xFFFE_FFFC and data[20] in (0, 1) else NO
    if code == _COMPRESSED:
        return YES if flags in _CODES and size > 25 else NO
    if code == _REPLY:
        return YES if size >= 36 and answers and not flags & 0xFFFF_FFF0 else NO
    return _probe_old(data, size, flags, code)


def _probe_old(data: bytes, size: int, flags: int, code: int) -> int:
    """A message of old: a collection's full name, or the number of cursors."""
    if code == _KILL_CURSORS:
        return YES if flags == 0 and size >= 32 else NO
    if flags & 0xFFFF_FF00:
        return NO
    end = data.find(b"\0", 20, 20 + 256)
    name = data[20 : end if end >= 0 else 276]
    if not all(byte > 0x20 for byte in name[:1]) or not all(byte >= 0x20 for byte in name):
        return NO
    if end < 0:
        return MORE if len(name) < 255 else NO
    return YES if name.find(b".") > 0 and size > end else NO


class _Mongodb(Framed):
    """One connection; it has nothing to remember, as messages tell what they answer."""

    __slots__ = ()

    resumable = True

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if len(data) - at < 16:
            return MORE_NEEDED
        size, _, _, code = _HEADER(data, at)
        if code not in _CODES or not 16 <= size <= _MAX_SIZE:
            raise ParseError("header")
        return size, min(size, _READ)

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        _, serial, answers, code = _HEADER(data)
        if len(data) < 21:
            raise ParseError("header")
        if code in _SILENT:
            found.append(
                Message(
                    kind=Kind.NOTICE,
                    op=_SILENT[code],
                    attrs=_collection(data) if code != _KILL_CURSORS else {},
                )
            )
        elif code == _REPLY or (answers and code in (_MSG, _COMPRESSED)):
            found.append(_response(data, answers, code))
        else:
            found.append(_request(data, serial, code))

    def resumes(self, side: int, data: bytes) -> bool:
        return _probe(side, data, _NOBODY) == YES

    def idle(self) -> bool:
        return self.resting()


_NOBODY = Ends(b"", 0, b"", 0)


def _collection(data: bytes) -> dict[str, str]:
    """Give the database and the collection of a message of old."""
    database, _, collection = data[20:276].partition(b"\0")[0].partition(b".")
    return {"db.namespace": clean(database, 64)} | (
        {"db.collection.name": clean(collection, 128)} if collection and collection != b"$cmd" else {}
    )


def _request(data: bytes, serial: int, code: int) -> Message:
    """Name the command: of OP_MSG the first section's, of OP_QUERY what it asks `$cmd`."""
    attrs: dict[str, str] = {}
    kind, op, match = Kind.REQUEST, "compressed", serial
    if code == _GET_MORE:
        op, attrs = "getMore", _collection(data)
    elif code == _QUERY:
        attrs = _collection(data)
        name = data.find(b"\0", 20) + 1
        op = "find" if "db.collection.name" in attrs else _command(data, name + 8, {})
    elif code == _MSG:
        op = _command(data, 21, attrs) if not data[20] else "other"
        if int.from_bytes(data[16:20], "little") & _MORE_TO_COME:
            kind = Kind.NOTICE
    return Message(kind=kind, op=op, match=match, attrs=attrs)


def _command(data: bytes, at: int, attrs: dict[str, str]) -> str:
    """Give a command's name, which is its first element's; note the database, and the collection that it is about."""
    op = ""
    for name, kind, value in elements(data, at):
        if not op:
            op = name.decode("ascii", "replace")
            if kind == 2 and op in _COMMANDS - _OF_USERS:
                attrs["db.collection.name"] = clean(text(data, value), 128)
        elif name == b"$db" and kind == 2:
            attrs["db.namespace"] = clean(text(data, value), 64)
    return op if op in _COMMANDS else "other"


def _response(data: bytes, answers: int, code: int) -> Message:
    """Tell whether it says ok. What is longer than what is read was a success: errors are short."""
    error = False
    attrs: dict[str, str] = {}
    if code == _REPLY:
        error = bool(data[16] & _REPLY_FAILED)
    if code == _REPLY or (code == _MSG and not data[20]):
        for name, kind, value in elements(data, 36 if code == _REPLY else 21):
            if name == b"ok":
                error = error or not any(data[value : value + (8 if kind in (1, 18) else 4)])
            elif name in (b"writeErrors", b"$err"):
                error = True
            elif name == b"code" and kind == 16:
                attrs["db.response.status_code"] = str(int.from_bytes(data[value : value + 4], "little"))
    status = "error" if error else "ok"
    return Message(kind=Kind.RESPONSE, status=status, error=error, match=answers, attrs=attrs)


DISSECTOR = Dissector(
    name="mongodb",
    transports=frozenset({"tcp"}),
    ports=frozenset({27017, 27018, 27019}),
    operations=_COMMANDS | {"compressed"},
    statuses=frozenset({"ok", "error"}),
    probe=_probe,
    parser=_Mongodb,
    reads="command, database, collection; ok or error code",
    specification="MongoDB Wire Protocol; BSON 1.1",
)
