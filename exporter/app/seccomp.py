"""A seccomp filter by hand: no new process, no other program, no privilege, and sockets of the named families only.

It is a list of what is refused, not of what is allowed: Python, libc and libpcap differ in the calls that they make,
and a child that fails on a new libc would be switched to `--process.sandbox off`. What is refused answers with an
error and does not kill, so that libraries fall back.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Collection, Iterable
from typing import NamedTuple

from exporter.app.kernel import PR, machine, prctl

__all__ = ["DENIED", "SPECIAL", "Sockets", "install", "program", "supported"]

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Machine → column of the tables below, AUDIT_ARCH_ number of linux/audit.h."""

DENIED: dict[str, tuple[int | None, int | None]] = {
    # other programs and processes
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "kcmp": (312, 272),
    "ptrace": (101, 117),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # privileges
    "capset": (126, 91),
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    "setgroups": (116, 159),
    "personality": (135, 92),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # wide doors into the kernel
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    # the machine itself
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "ioperm": (173, None),
    "iopl": (172, None),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
}
"""Name → number on x86_64 and on aarch64."""

SPECIAL = {
    "socket": (41, 198),
    "clone": (56, 220),
    "clone3": (435, 435),
    "tgkill": (234, 131),
    "rt_tgsigqueueinfo": (297, 240),
    "ioctl": (16, 29),
    "bpf": (321, 280),
    "connect": (42, 203),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
}
"""What is allowed or not by its arguments, or by the role."""

LOAD, JUMP_EQUAL, JUMP_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
ALLOW, ERROR = 0x7FFF0000, 0x00050000
X32 = 0x40000000
CLONE_THREAD = 0x00010000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
MODE_FILTER = 2
AF_UNIX, SOCK_RAW = 1, 3
MAP_COMMANDS = (1, 2, 3, 24, 27)
"""BPF_MAP_LOOKUP_ELEM, _UPDATE_ELEM, _DELETE_ELEM, _LOOKUP_BATCH and _DELETE_BATCH of linux/bpf.h."""

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, constant."""


ALLOWED: Instruction = (RETURN, 0, 0, ALLOW)
REFUSED: Instruction = (RETURN, 0, 0, ERROR | errno.EPERM)
REFUSED_FAMILY: Instruction = (RETURN, 0, 0, ERROR | errno.EAFNOSUPPORT)
UNKNOWN_CALL: Instruction = (RETURN, 0, 0, ERROR | errno.ENOSYS)


class Sockets(NamedTuple):
    """What a process may do with sockets."""

    families: tuple[int, ...]
    mute: bool
    """It connects to nobody and sends only on what it was given."""


def _case(number: int, body: list[Instruction]) -> list[Instruction]:
    """If the call's number is this, do the body, which ends in a return."""
    return [(JUMP_EQUAL, 0, len(body), number), *body]


def _one_of(
    argument: int, values: Iterable[int], found: Instruction, other: Instruction
) -> list[Instruction]:
    """Look at the lower half of an argument (x86_64 and aarch64 are both little-endian)."""
    tests = [step for value in values for step in ((JUMP_EQUAL, 0, 1, value), found)]
    return [(LOAD, 0, 0, ARGUMENTS + 8 * argument), *tests, other]


def _sockets(families: Collection[int]) -> list[Instruction]:
    """Let socket() make these families, and the one that libpcap asks interfaces with (without it, it crashes)."""
    if not families:
        return [REFUSED_FAMILY]
    family = _one_of(0, families, ALLOWED, REFUSED_FAMILY)[:-1]
    other = _one_of(1, (SOCK_RAW,), ALLOWED, REFUSED_FAMILY)
    return [*family, (JUMP_EQUAL, 0, len(other), AF_UNIX), *other, REFUSED_FAMILY]


def _mute(special: dict[str, int]) -> list[Instruction]:
    """Allow to send on what is connected or bound already, and to nobody else."""
    code = [step for name in ("connect", "sendmsg", "sendmmsg") for step in _case(special[name], [REFUSED])]
    address = ARGUMENTS + 8 * 4  # sendto's fifth argument, both halves
    body: list[Instruction] = [(LOAD, 0, 0, address), (JUMP_EQUAL, 0, 3, 0), (LOAD, 0, 0, address + 4)]
    return code + _case(special["sendto"], [*body, (JUMP_EQUAL, 0, 1, 0), ALLOWED, REFUSED])


def program(arch: str, sockets: Sockets, pid: int, *, maps: bool = False) -> list[Instruction]:
    """Assemble the filter for a process that may open these sockets, use BPF maps or not, and signal itself only."""
    column, audit = ARCHITECTURES[arch]
    code: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, audit),
        REFUSED,
        (LOAD, 0, 0, NUMBER),
    ]
    if arch == "x86_64":
        code += [(JUMP_LEAST, 0, 1, X32), UNKNOWN_CALL]
    special = {name: numbers[column] for name, numbers in SPECIAL.items()}
    code += _case(special["socket"], _sockets(sockets.families))
    code += _mute(special) if sockets.mute else []
    code += _case(special["ioctl"], _one_of(1, (TIOCSTI, TIOCLINUX), REFUSED, ALLOWED))
    code += _case(special["bpf"], _one_of(0, MAP_COMMANDS if maps else (), ALLOWED, REFUSED))
    for name in ("tgkill", "rt_tgsigqueueinfo"):
        code += _case(special[name], _one_of(0, (pid,), ALLOWED, REFUSED))
    thread = [(LOAD, 0, 0, ARGUMENTS), (JUMP_ANY_BIT, 0, 1, CLONE_THREAD), ALLOWED, REFUSED]
    code += _case(special["clone"], thread)
    code += _case(special["clone3"], [UNKNOWN_CALL])  # its flags are in memory; libc falls back to clone
    for numbers in DENIED.values():
        if (number := numbers[column]) is not None:
            code += _case(number, [REFUSED])
    return [*code, ALLOWED]


def supported() -> bool:
    """Tell whether the kernel takes filters and this machine's call numbers are known."""
    if machine() not in ARCHITECTURES:
        return False
    try:
        prctl(PR.SET_SECCOMP, MODE_FILTER, None)  # no program: EFAULT where filters exist
    except OSError as error:
        return error.errno == errno.EFAULT
    return True


def install(sockets: Sockets, *, maps: bool = False) -> None:
    """Filter the calling thread and those that it will start, for good; needs no_new_privs."""
    code = program(machine(), sockets, os.getpid(), maps=maps)
    packed = b"".join(struct.pack("=HBBI", *step) for step in code)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(buffer)))
    prctl(PR.SET_SECCOMP, MODE_FILTER, header)
