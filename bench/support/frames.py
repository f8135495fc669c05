"""Whole conversations as frames, for the engine alone: TCP over Ethernet, client 10.9.0.2, server 10.9.0.1."""

import struct
from collections.abc import Sequence

__all__ = ["MAC", "SERVER", "conversation"]

MAC, FAR_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
CLIENT, SERVER = bytes((10, 9, 0, 2)), bytes((10, 9, 0, 1))
FIN, SYN, PUSH, ACK = 1, 2, 8, 16
SEGMENT = 1448
OPTIONS = bytes((2, 4, 1460 >> 8, 1460 & 255, 4, 2, 1, 1))
ENDS = ((CLIENT, SERVER), (SERVER, CLIENT))


class Talk:
    """Keeps the sequence numbers of both sides."""

    def __init__(self, client: int, server: int) -> None:
        self.ports = (client, server)
        self.next = [1000, 9000]
        self.frames: list[bytes] = []

    def say(self, side: int, flags: int, data: bytes = b"", options: bytes = b"") -> None:
        """Add a segment of a side: 0 is the client."""
        a, b = ENDS[side]
        ports = self.ports[side], self.ports[1 - side]
        acked = self.next[1 - side] if flags & ACK else 0
        offset = 0x50 + (len(options) // 4 << 4)
        tcp = struct.pack(">HHIIBBHHH", *ports, self.next[side], acked, offset, flags, 512, 0, 0)
        size = 20 + len(tcp) + len(options) + len(data)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, 1, 0x4000, 64, 6, 0, a, b)
        macs = FAR_MAC + MAC if side else MAC + FAR_MAC
        self.frames.append((macs + b"\x08\x00" + ip + tcp + options + data).ljust(60, b"\0"))
        self.next[side] += len(data) + (1 if flags & (SYN | FIN) else 0)


def conversation(client: int, server: int, flights: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """Give the frames of a connection from SYN to the last ACK; `flights` are (side, what it says), in order."""
    talk = Talk(client, server)
    talk.say(0, SYN, options=OPTIONS)
    talk.say(1, SYN | ACK, options=OPTIONS)
    talk.say(0, ACK)
    for side, said in flights:
        for at in range(0, len(said), SEGMENT):
            talk.say(side, ACK | PUSH, said[at : at + SEGMENT])
        talk.say(1 - side, ACK)
    for side, flags in ((1, FIN | ACK), (0, ACK), (0, FIN | ACK), (1, ACK)):
        talk.say(side, flags)
    return talk.frames
