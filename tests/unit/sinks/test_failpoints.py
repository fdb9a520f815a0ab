import signal

import pytest

from schemas.failpoints import VARIABLE, fail_point_for


def _deaths(setting: str | None, passed: list[str]) -> int:
    return len(_strikes(setting, passed))


def _strikes(setting: str | None, passed: list[str]) -> list[signal.Signals]:
    strikes: list[signal.Signals] = []
    fail_point = fail_point_for({} if setting is None else {VARIABLE: setting}, strikes.append)
    for name in passed:
        fail_point(name)
    return strikes


def test_the_signal_can_be_chosen() -> None:
    assert _strikes("a", ["a"]) == [signal.SIGKILL]
    assert _strikes("a:1:SIGSTOP", ["a"]) == [signal.SIGSTOP]


def test_a_zombie_may_die_later() -> None:
    assert _strikes("a:2:SIGSTOP,b:1", ["a", "a", "b", "a"]) == [signal.SIGSTOP, signal.SIGKILL]


@pytest.mark.parametrize(
    ("setting", "passed", "deaths"),
    [
        (None, ["a"], 0),
        ("a", ["b"], 0),
        ("a", ["b", "a"], 1),
        ("a:2", ["a"], 0),
        ("a:2", ["a", "b", "a"], 1),
        ("a:2", ["a", "a", "a"], 1),
    ],
)
def test_dies_at_the_nth_passing_of_its_point(setting: str | None, passed: list[str], deaths: int) -> None:
    assert _deaths(setting, passed) == deaths


@pytest.mark.parametrize("setting", ["a:0", "a:x", "a:1:SIGNONE", "a,b:0"])
def test_nonsense_is_said(setting: str) -> None:
    with pytest.raises(ValueError, match=r"number|invalid|signal"):
        _deaths(setting, [])
