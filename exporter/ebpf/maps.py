"""Maps: made, written, read alone and in batches. On an inherited descriptor only `create` needs a privilege."""

import ctypes
import errno
import os
from collections.abc import Iterator
from ctypes import byref, c_size_t, c_uint32, c_uint64

from exporter.ebpf.libbpf import check, libc, library, zero

__all__ = ["batches", "create", "discard", "grace", "lookup", "remove", "update"]

MEMBARRIER = {"x86_64": 324, "aarch64": 283}
MEMBARRIER_CMD_GLOBAL = 1
BATCH = 1024


class CreateOptions(ctypes.Structure):
    """struct bpf_map_create_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("btf", c_uint32 * 4),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
        ("map_extra", c_uint64),
        ("numa_node", c_uint32),
        ("map_ifindex", c_uint32),
    )


def create(kind: int, name: str, sizes: tuple[int, int, int], flags: int = 0) -> int:
    """Make a map of (key size, value size, entries); give its descriptor."""
    options = CreateOptions(ctypes.sizeof(CreateOptions), map_flags=flags)
    return check(library().bpf_map_create(kind, name.encode(), *sizes, byref(options)), f"create {name}")


def update(fd: int, key: bytes, value: bytes) -> None:
    zero(library().bpf_map_update_elem(fd, key, value, 0), "update")


def discard(fd: int, key: bytes) -> None:
    """Remove a key, if it is there."""
    code = library().bpf_map_delete_elem(fd, key)
    if code != -errno.ENOENT:
        zero(code, "delete")


def lookup(fd: int, key: bytes, size: int) -> bytes | None:
    buffer = ctypes.create_string_buffer(size)
    code = library().bpf_map_lookup_elem(fd, key, buffer)
    if code == -errno.ENOENT:
        return None
    zero(code, "lookup")
    return buffer.raw


def batches(fd: int, key: int, value: int) -> Iterator[tuple[bytes, bytes]]:
    """Give all keys and values of a hash map, so many at a time, each as one string. Nothing may write meanwhile."""
    size, token, first = BATCH, ctypes.create_string_buffer(64), True
    while True:
        keys, values = ctypes.create_string_buffer(size * key), ctypes.create_string_buffer(size * value)
        count = c_uint32(size)
        start = None if first else token
        code = library().bpf_map_lookup_batch(fd, start, token, keys, values, byref(count), None)
        if code == -errno.ENOSPC and size < 1 << 20:  # a bucket with more than that
            size *= 4
            continue
        if code not in {0, -errno.ENOENT}:
            zero(code, "batch")
        if count.value:
            yield keys.raw[: count.value * key], values.raw[: count.value * value]
        if code:
            return
        first = False


def remove(fd: int, keys: bytes, count: int) -> None:
    """Remove so many keys."""
    zero(library().bpf_map_delete_batch(fd, keys, byref(c_uint32(count)), None), "delete")


def grace() -> bool:
    """Wait until no program runs that began before (8 to 20 ms, no privilege); False where the kernel cannot tell."""
    number = MEMBARRIER.get(os.uname().machine)
    return number is not None and libc().syscall(number, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0
