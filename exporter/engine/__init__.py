"""The engine: what turns frames into the ledger's numbers. Pure."""

from exporter.engine.core import Engine

__all__ = ["Engine"]
