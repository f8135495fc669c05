"""The connection table: states, timeouts, reassembly, inspection, exchanges and rates. Pure."""
