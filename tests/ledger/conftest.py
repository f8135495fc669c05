"""A ledger's memory file."""

import mmap

import pytest

from exporter import ledgerfile
from exporter.config import Metrics


@pytest.fixture
def tmp_buffer():
    return memoryview(mmap.mmap(-1, ledgerfile.size(Metrics())))
