"""What the benchmarks share: the result's type, namespaces, a traffic generator, readers, the cost of a process."""
