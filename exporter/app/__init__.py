"""The processes: supervisor, worker, identity, exporter. The only places that wire things together."""
