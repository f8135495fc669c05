"""Benchmarks: each module here with a function `run(short) -> dict[name, Value]` is one; they share `support`."""
