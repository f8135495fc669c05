"""A short form of `make fuzz`, with a fixed seed."""

import random

from tests.conftest import CORPUS
from tests.fuzz import dissectors


def test_dissectors():
    assert dissectors.run(random.Random(1), 3, CORPUS if CORPUS.is_dir() else None) > 100
