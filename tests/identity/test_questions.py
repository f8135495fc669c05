"""Whose turn it is, and that nothing is kept of questions that nobody asks any more."""

import gc
import sys

from exporter.identity.questions import LIMIT, Question, Questions
from exporter.model import Ask

LO = bytes((127, 0, 0, 1))


def question(serial, *, place=None):
    made = Question((0, serial), Ask(serial, 0, "tcp", LO, 1, LO, 2, 0.0))
    made.place = place
    return made


def asked(count):
    questions = Questions()
    for serial in range(count):
        questions.add(question(serial, place=(1, serial)))
    return questions


def size(questions):
    return sys.getsizeof(questions.open) + sys.getsizeof(questions.awaited)


def test_new_ones_have_their_turn_newest_first_and_again_when_they_are_due():
    questions = asked(3)
    first = list(questions.take(0.0, None))
    assert [one.key[1] for one in first] == [2, 1, 0]
    for at, one in enumerate(first):
        questions.schedule(one, 5.0 - at)
    assert questions.due() == 3.0
    assert not list(questions.take(2.9, None))
    assert [one.key[1] for one in questions.take(4.0, None)] == [0, 1]


def test_only_the_last_time_that_was_set_holds():
    questions = asked(1)
    (one,) = questions.take(0.0, None)
    questions.schedule(one, 1.0)
    questions.schedule(one, 2.0)
    assert questions.due() == 2.0
    assert not list(questions.take(1.5, None))
    assert list(questions.take(2.0, None)) == [one]


def test_what_was_asked_anew_or_dropped_has_no_turn():
    questions = asked(2)
    old = questions.open[0, 1]
    questions.add(question(1, place=(1, 7)))
    questions.drop((0, 0))
    assert not questions.holds(old)
    assert [one.place for one in questions.take(0.0, None)] == [(1, 7)]
    assert list(questions.awaited) == [(1, 7)]


def test_the_oldest_of_too_many_goes():
    questions = asked(LIMIT)
    evicted = questions.add(question(LIMIT))
    assert evicted.key == (0, 0)
    assert len(questions) == LIMIT
    assert (1, 0) not in questions.awaited


def test_memory_comes_back_when_they_are_over():
    questions = asked(20_000)
    while questions.new:
        for one in questions.take(0.0, None):
            questions.schedule(one, 60.0)
    full = size(questions)
    for serial in range(19_000):
        questions.drop((0, serial))
    questions.sift()
    questions.shrink()
    del one
    assert sum(isinstance(each, Question) for each in gc.get_objects()) <= 2 * 1_000 + 500
    assert size(questions) < full / 8
    assert questions.due() == 60.0  # who still asks keeps his turn
    assert len(questions) == len(questions.awaited) == 1_000
