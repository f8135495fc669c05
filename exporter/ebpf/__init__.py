"""The kernel's side and what talks to it: programs that count, owners in socket storage, and their loader.

The supervisor loads and attaches (`kernel`); a worker reads its part by inherited descriptors (`shard`), the identity
process the events and iterators (`owners`). `layout` is shared.h in Python; `libbpf` and `maps` alone know ctypes.
"""
