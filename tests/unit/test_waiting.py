"""The tests' own waiting: what comes is given back, what does not is no failed assertion."""

import pytest

from tests.support import waiting
from tests.support.waiting import NotInTimeError, until


def test_it_gives_what_comes():
    looks = iter([0, "", "there"])
    assert until(lambda: next(looks), pause=0) == "there"


def test_what_does_not_come_is_said_and_is_no_assertion_error():
    with pytest.raises(NotInTimeError, match=r"not within 0 s: the state is 1"):
        until(lambda: False, 0, lambda: f"the state is {1}")
    assert not issubclass(NotInTimeError, AssertionError)


def test_a_machine_that_slept_over_the_deadline_looks_once_more(monkeypatch):
    now, looks = [0.0], []
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])

    def sleep(_seconds):
        now[0] = 100.0

    monkeypatch.setattr(waiting.time, "sleep", sleep)
    assert until(lambda: looks.append(1) or len(looks) == 2, 1.0)
