"""libbpf by ctypes: objects, programs and links. `maps` has the calls on maps; nothing else knows ctypes.

A failure is a `BpfError` with a reason from a small set; libbpf's own words are in `log`, the last of them in the text.
"""

import ctypes
import errno
import os
from collections import deque
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import NamedTuple

from exporter.errors import NetprocError

__all__ = ["BpfError", "Link", "Object", "Run", "check", "keep_statistics", "libc", "library", "log", "zero"]

NAMES = ("libbpf.so.1", "libbpf.so.0")
REASONS = {
    errno.EPERM: "permission",
    errno.EACCES: "verifier",
    errno.ENOENT: "missing",
    errno.ENOMEM: "memory",
    errno.EINVAL: "kernel",
    errno.E2BIG: "kernel",
    errno.EOPNOTSUPP: "kernel",
    errno.ENOSYS: "kernel",
    errno.ESRCH: "kernel",
}

log: deque[str] = deque(maxlen=64)
"""What libbpf said, newest last."""
Printer = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)


class BpfError(NetprocError):
    """A call failed; `reason` is a label: permission, verifier, missing, memory, kernel, library or system."""

    def __init__(self, what: str, code: int = 0, reason: str = "") -> None:
        """Say what was tried; `code` is the errno."""
        said = f": {log[-1]}" if log and code else ""
        super().__init__(f"{what}: {os.strerror(code)}{said}" if code else what)
        self.code = code
        self.reason = reason or REASONS.get(code, "system")


class Run(NamedTuple):
    """What a test run of a program gave."""

    value: int
    nanoseconds: int
    """Of one of its repetitions."""


class TestRunOptions(ctypes.Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_char_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_char_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


SIGNATURES: dict[str, tuple[object, ...]] = {  # result, then arguments
    "libbpf_set_print": (c_void_p, Printer),
    "bpf_object__open_file": (c_void_p, c_char_p, c_void_p),
    "bpf_object__load": (c_int, c_void_p),
    "bpf_object__close": (None, c_void_p),
    "bpf_object__next_map": (c_void_p, c_void_p, c_void_p),
    "bpf_object__next_program": (c_void_p, c_void_p, c_void_p),
    "bpf_map__name": (c_char_p, c_void_p),
    "bpf_map__fd": (c_int, c_void_p),
    "bpf_map__set_max_entries": (c_int, c_void_p, c_uint32),
    "bpf_map__set_initial_value": (c_int, c_void_p, c_char_p, c_size_t),
    "bpf_map__reuse_fd": (c_int, c_void_p, c_int),
    "bpf_program__name": (c_char_p, c_void_p),
    "bpf_program__fd": (c_int, c_void_p),
    "bpf_program__set_autoload": (c_int, c_void_p, ctypes.c_bool),
    "bpf_program__attach": (c_void_p, c_void_p),
    "bpf_program__attach_cgroup": (c_void_p, c_void_p, c_int),
    "bpf_program__attach_iter": (c_void_p, c_void_p, c_void_p),
    "bpf_prog_test_run_opts": (c_int, c_int, c_void_p),
    "bpf_link__fd": (c_int, c_void_p),
    "bpf_link__destroy": (c_int, c_void_p),
    "bpf_iter_create": (c_int, c_int),
    "bpf_map_create": (c_int, c_int, c_char_p, c_uint32, c_uint32, c_uint32, c_void_p),
    "bpf_map_update_elem": (c_int, c_int, c_char_p, c_char_p, c_uint64),
    "bpf_map_delete_elem": (c_int, c_int, c_char_p),
    "bpf_map_lookup_elem": (c_int, c_int, c_char_p, c_void_p),
    "bpf_map_lookup_batch": (c_int, c_int, *(c_void_p,) * 4, POINTER(c_uint32), c_void_p),
    "bpf_map_delete_batch": (c_int, c_int, c_char_p, POINTER(c_uint32), c_void_p),
    "bpf_enable_stats": (c_int, c_int),
}


def _say(level: int, text: bytes, arguments: int) -> int:
    """Keep warnings. A va_list is passed by address on x86_64 and aarch64 alike."""
    if level == 0:
        buffer = ctypes.create_string_buffer(4096)
        libc().vsnprintf(buffer, c_size_t(len(buffer)), text, c_void_p(arguments))
        log.append(buffer.value.decode(errors="replace").strip().removeprefix("libbpf: "))
    return 0


PRINTER = Printer(_say)
"""Held here: libbpf calls it for as long as the process lives."""


@cache
def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@cache
def library() -> ctypes.CDLL:
    """Load libbpf; BpfError with the reason `library` where it is absent or older than 1.0's names."""
    for name in NAMES:
        try:
            loaded = ctypes.CDLL(name, use_errno=True)
            for function, (result, *arguments) in SIGNATURES.items():
                entry = getattr(loaded, function)
                entry.restype, entry.argtypes = result, arguments
        except (OSError, AttributeError) as error:
            log.append(str(error))
            continue
        loaded.libbpf_set_print(PRINTER)
        return loaded
    raise BpfError(f"no usable libbpf: {log[-1]}", reason="library")


def check(result: int | None, what: str) -> int:
    """Give a handle or a result of 0 and more; libbpf 1 gives negative errnos, or NULL and errno."""
    if result is None or result == 0 or result < 0:
        code = -result if result else ctypes.get_errno()
        raise BpfError(what, code)
    return result


def zero(result: int, what: str) -> None:
    if result < 0:
        raise BpfError(what, -result)


class Link:
    """An attached program. It holds as long as the descriptor is open anywhere."""

    def __init__(self, handle: int) -> None:
        """Own it."""
        self._handle = handle
        self.fd: int = library().bpf_link__fd(handle)

    def read(self) -> bytes:
        """Run an iterator to its end."""
        fd = check(library().bpf_iter_create(self.fd), "iterator")
        with open(fd, "rb") as rows:  # noqa: PTH123  (a descriptor)
            return rows.read()

    def close(self) -> None:
        library().bpf_link__destroy(self._handle)


class Object:
    """A compiled object: opened, changed, loaded, attached."""

    def __init__(self, path: str) -> None:
        """Open without asking anything of the kernel."""
        self._lib = library()
        handle = self._lib.bpf_object__open_file(os.fsencode(path), None)
        self._handle = check(handle, f"open {path}")
        self.maps = self._names(self._lib.bpf_object__next_map, self._lib.bpf_map__name)
        self.programs = self._names(self._lib.bpf_object__next_program, self._lib.bpf_program__name)

    def _names(self, step: "ctypes._NamedFuncPointer", name: "ctypes._NamedFuncPointer") -> dict[str, int]:
        found, handle = {}, step(self._handle, None)
        while handle:
            found[name(handle).decode()] = handle
            handle = step(self._handle, handle)
        return found

    def set_constants(self, value: bytes) -> None:
        """Set the one `const volatile` structure that the object has."""
        handle = next(handle for name, handle in self.maps.items() if name.endswith(".rodata"))
        zero(self._lib.bpf_map__set_initial_value(handle, value, len(value)), "constants")

    def resize(self, name: str, entries: int) -> None:
        zero(self._lib.bpf_map__set_max_entries(self.maps[name], entries), f"size of {name}")

    def share(self, name: str, fd: int) -> None:
        """Take a map that exists."""
        zero(self._lib.bpf_map__reuse_fd(self.maps[name], fd), f"share {name}")

    def leave_out(self, name: str) -> None:
        """Do not load this program."""
        self._lib.bpf_program__set_autoload(self.programs[name], False)  # noqa: FBT003  (C)

    def load(self) -> None:
        zero(self._lib.bpf_object__load(self._handle), "load")

    def map_fd(self, name: str) -> int:
        return int(self._lib.bpf_map__fd(self.maps[name]))

    def program_fd(self, name: str) -> int:
        return int(self._lib.bpf_program__fd(self.programs[name]))

    def attach(self, name: str, cgroup: int | None = None) -> Link:
        """Attach where the program's section says, or to a cgroup by its descriptor."""
        program = self.programs[name]
        if cgroup is not None:
            return Link(check(self._lib.bpf_program__attach_cgroup(program, cgroup), f"attach {name}"))
        return Link(check(self._lib.bpf_program__attach(program), f"attach {name}"))

    def iterate(self, name: str) -> Link:
        return Link(check(self._lib.bpf_program__attach_iter(self.programs[name], None), f"attach {name}"))

    def run(self, name: str, data: bytes, repeat: int = 1) -> Run:
        """Run a program on a packet (with an Ethernet header before it)."""
        options = TestRunOptions(ctypes.sizeof(TestRunOptions), data, None, len(data), repeat=repeat)
        zero(self._lib.bpf_prog_test_run_opts(self.program_fd(name), byref(options)), f"run {name}")
        return Run(options.retval, options.duration)

    def close(self) -> None:
        self._lib.bpf_object__close(self._handle)


def keep_statistics() -> int:
    """Have the kernel measure all programs while this descriptor is open."""
    return check(library().bpf_enable_stats(0), "statistics")
