"""A short form of `make fuzz`, with a fixed seed."""

import random

from tests.conftest import CORPUS
from tests.fuzz import decode, dissectors, segments

SEEDS = CORPUS if CORPUS.is_dir() else None


def test_dissectors():
    done = dissectors.run(random.Random(1), 3, SEEDS)
    assert done.executions > 100


def test_decode():
    done = decode.run(random.Random(1), 2, SEEDS)
    assert done.executions > 100


def test_segments():
    done = segments.run(random.Random(1), 2, SEEDS)
    assert done.executions > 100
