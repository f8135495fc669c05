"""Landlock: this process and its threads may only read the named files, and bind and connect nowhere."""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from exporter.app.kernel import syscall

__all__ = ["abi", "restrict_files"]

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
PATH_BENEATH = 1  # LANDLOCK_RULE_PATH_BENEATH

# linux/landlock.h. ABI: kernel. 1: 5.13, 2: 5.19, 3: 6.2, 4: 6.7, 5: 6.10, 6: 6.12, 7: 6.15
READ_FILE, READ_DIR, WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""ABI → rights over files that it brought: all of them, then REFER, TRUNCATE, IOCTL_DEV."""
NET_ABI, BIND_TCP, CONNECT_TCP = 4, 1 << 0, 1 << 1
SCOPE_ABI, SCOPES = 6, (1 << 0) | (1 << 1)  # abstract Unix sockets, signals: to our own kind only


def abi() -> int:
    """Give the version of Landlock that the kernel speaks; 0: none."""
    try:
        return syscall(CREATE_RULESET, None, 0, VERSION)
    except OSError:
        return 0


def _create(version: int, *, connect: bool) -> int:
    files = sum(rights for since, rights in FILE_RIGHTS.items() if since <= version)
    attributes = struct.pack("=Q", files)
    if version >= NET_ABI:
        attributes += struct.pack("=Q", BIND_TCP if connect else BIND_TCP | CONNECT_TCP)
    if version >= SCOPE_ABI:
        attributes += struct.pack("=Q", SCOPES)
    return syscall(CREATE_RULESET, ctypes.c_char_p(attributes), len(attributes), 0)


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Add one path, if it is there: a missing one cannot be read anyway."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= READ_FILE | WRITE_FILE
        rule = struct.pack("=Qi", rights, fd)
        syscall(ADD_RULE, ruleset, PATH_BENEATH, ctypes.c_char_p(rule), 0)
    finally:
        os.close(fd)


def restrict_files(readable: Iterable[str], *, connect: bool = False) -> None:
    """Restrict the calling thread for good; needs no_new_privs. `connect`: TCP connections may be made."""
    ruleset = _create(abi(), connect=connect)
    try:
        for path in readable:
            _allow(ruleset, path, READ_FILE | READ_DIR)
        _allow(ruleset, "/dev/null", READ_FILE | WRITE_FILE)
        syscall(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
