"""What leaves the exporter: Prometheus exposition, HTTP."""
