"""Classic BPF: a small assembler, and the filter of a socket (Documentation/networking/filter.rst of the kernel)."""

import ctypes
import errno
import os
import socket
from array import array
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import NamedTuple

__all__ = ["Instruction", "Op", "Step", "assemble", "attach", "attached", "returning", "room", "set_option"]

SO_ATTACH_FILTER = SO_GET_FILTER = 26
LONGEST = 4096
"""Instructions that the kernel takes (BPF_MAXINSNS)."""

INSTRUCTION = Struct("=HBBI")
PROGRAM = Struct("@HP")

Instruction = tuple[int, int, int, int]
"""Code, jumps if true and if false, constant."""


class Op:
    """Codes. A is the accumulator, X the index register; `*_at` add X to their constant; cells are scratch memory."""

    load, load_length, load_cell = 0x00, 0x80, 0x60
    load_word, load_half = 0x20, 0x28
    load_word_at, load_half_at, load_byte_at = 0x40, 0x48, 0x50
    index, index_cell = 0x01, 0x61
    store, store_index = 0x02, 0x03
    add, add_index, sub_index, mod = 0x04, 0x0C, 0x1C, 0x94
    and_, xor_index, shift_left, shift_right = 0x54, 0xAC, 0x64, 0x74
    to_index, from_index = 0x07, 0x87
    jump, equal, at_least, any_bit = 0x05, 0x15, 0x35, 0x45
    ret = 0x06


class Step(NamedTuple):
    """One instruction with its jumps as labels; "" goes on with the next."""

    op: int
    value: int = 0
    then: str = ""
    other: str = ""


def assemble(steps: Iterable[Step | str], end: str) -> list[Instruction]:
    """Resolve the labels; a bare string is one, and `end` is the label of what follows the last step."""
    places: dict[str, int] = {}
    flat: list[Step] = []
    for step in steps:
        if isinstance(step, str):
            places[step] = len(flat)
        else:
            flat.append(step)
    places[end] = len(flat)
    program = []
    for at, step in enumerate(flat, 1):
        then, other = (places[label] - at if label else 0 for label in (step.then, step.other))
        if step.op == Op.jump:
            program.append((step.op, 0, 0, then))
        else:
            program.append((step.op, then, other, step.value))
    return program


def room(size: int, short: str) -> list[Step | str]:
    """Go to `short` unless `size` bytes follow X: a filter that reads beyond the end drops the packet."""
    return [
        Step(Op.load_length),
        Step(Op.sub_index),
        Step(Op.at_least, 1 << 31, short),
        Step(Op.at_least, size, "", short),
    ]


def returning(program: Iterable[Instruction], snaplen: int) -> list[Instruction]:
    """Let a program keep `snaplen` bytes of what it takes, so that the kernel copies no more into the ring."""
    return [(*step[:3], snaplen) if step[0] == Op.ret and step[3] else step for step in program]


def attach(fd: int, program: Sequence[Instruction]) -> None:
    """Replace a socket's filter; packets that were taken before stay."""
    code = array("B", b"".join(INSTRUCTION.pack(*step) for step in program))
    address, _ = code.buffer_info()
    set_option(fd, SO_ATTACH_FILTER, PROGRAM.pack(len(program), address))


def set_option(fd: int, option: int, value: bytes) -> None:
    """Set an option of a socket of whatever kind, known by its descriptor."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, os.dup(fd)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, option, value)


def attached(fd: int) -> list[Instruction]:
    """Give a socket's filter, [] if it has none. The kernel counts instructions where Python would count bytes."""
    libc = ctypes.CDLL(None, use_errno=True)
    room = (ctypes.c_uint64 * LONGEST)()
    count = ctypes.c_uint32(LONGEST)
    done = libc.getsockopt(fd, socket.SOL_SOCKET, SO_GET_FILTER, ctypes.byref(room), ctypes.byref(count))
    if done < 0:
        number = ctypes.get_errno()
        if number in {errno.ENOENT, errno.EACCES}:  # none, or one that is not classic
            return []
        raise OSError(number, os.strerror(number))
    data = bytes(room)[: count.value * INSTRUCTION.size]
    return [step for step in INSTRUCTION.iter_unpack(data) if len(step) == 4]
