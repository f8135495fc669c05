"""The doors to the kernel that Python does not have: prctl, capabilities and bare system calls, by ctypes."""

import ctypes
import os
import platform
from collections.abc import Iterable

__all__ = [
    "CAPABILITIES",
    "PR",
    "bounding",
    "held",
    "limit",
    "machine",
    "prctl",
    "raise_ambient",
    "restrict",
    "syscall",
    "trim",
]

CAPABILITIES = {
    "DAC_READ_SEARCH": 2,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "NET_ADMIN": 12,
    "NET_RAW": 13,
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
    "PERFMON": 38,
    "BPF": 39,
}
"""The numbers of linux/capability.h, as far as this program speaks of them."""


class PR:
    """Numbers of linux/prctl.h."""

    SET_PDEATHSIG = 1
    GET_PDEATHSIG = 2
    SET_KEEPCAPS = 8
    GET_SECCOMP = 21
    SET_SECCOMP = 22
    CAPBSET_READ = 23
    CAPBSET_DROP = 24
    SET_SECUREBITS = 28
    SET_NO_NEW_PRIVS = 38
    GET_NO_NEW_PRIVS = 39
    CAP_AMBIENT = 47
    CAP_AMBIENT_RAISE = 2
    CAP_AMBIENT_CLEAR_ALL = 4


CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two words of 32 bits each
ROOT_GIVES_NOTHING = 0x0F  # securebits NOROOT and NO_SETUID_FIXUP, both locked: uid 0 is a user as any other
LAST_CAPABILITY = 63

_libc = ctypes.CDLL(None, use_errno=True)


def machine() -> str:
    return platform.machine()


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def syscall(number: int, *arguments: object) -> int:
    """Make a system call that libc has no name for; integers go as 64 bits."""
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *wide))


def prctl(option: int, *arguments: object) -> int:
    wide = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    wide += [ctypes.c_ulong(0)] * (4 - len(wide))
    return _checked(_libc.prctl(ctypes.c_int(option), *wide))


def _bits(names: Iterable[str]) -> int:
    return sum(1 << CAPABILITIES[name] for name in set(names))


def _capget() -> int:
    """Give the permitted set."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    data = (ctypes.c_uint32 * 6)()
    _checked(_libc.capget(header, data))
    return int(data[1]) | int(data[4]) << 32


def _capset(permitted: int, inheritable: int) -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    words = [w >> shift & 0xFFFFFFFF for shift in (0, 32) for w in (permitted, permitted, inheritable)]
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)(*words)))


def held() -> frozenset[str]:
    """Name the capabilities of this process (permitted), as far as `CAPABILITIES` names them."""
    have = _capget()
    return frozenset(name for name, number in CAPABILITIES.items() if have >> number & 1)


def limit(names: Iterable[str]) -> None:
    """Keep these capabilities, as far as they are there, effective and permitted; nothing is inherited."""
    _capset(_capget() & _bits(names), 0)


def raise_ambient(names: Iterable[str]) -> None:
    """Hand these down to the children of a process that is not root (root hands down all that it has)."""
    bits = _capget() & _bits(names)
    _capset(_capget(), bits)
    for number in range(LAST_CAPABILITY + 1):
        if bits >> number & 1:
            prctl(PR.CAP_AMBIENT, PR.CAP_AMBIENT_RAISE, number)


def bounding() -> int:
    """Give the bounding set: what an exec can still give back."""
    found = 0
    for number in range(LAST_CAPABILITY + 1):
        try:
            found |= prctl(PR.CAPBSET_READ, number) << number
        except OSError:
            break
    return found


def restrict(names: Iterable[str]) -> None:
    """Take all but these out of the bounding set (needs SETPCAP)."""
    excess = bounding() & ~_bits(names)
    for number in range(LAST_CAPABILITY + 1):
        if excess >> number & 1:
            prctl(PR.CAPBSET_DROP, number)


def trim() -> None:
    """Give the memory back that the C library keeps for later; where it is glibc."""
    release = getattr(_libc, "malloc_trim", None)
    if release is not None:
        release(ctypes.c_size_t(0))
