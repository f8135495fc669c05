"""A short form of `make fuzz`, with a fixed seed."""

import random

from tests.conftest import CORPUS
from tests.fuzz import dissectors


def test_dissectors():
    done = dissectors.run(random.Random(1), 3, CORPUS if CORPUS.is_dir() else None)
    assert done.executions > 100
