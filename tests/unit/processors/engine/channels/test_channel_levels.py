"""Range, shift and pattern: values, means and days that are not those of the series."""

import numpy as np
import pytest

from processors.engine.channels import extent, pattern, shift
from processors.engine.profile import PatternLimits, RecordLimits, ShiftLimits
from tests.unit.processors.engine.channels.channel_runs import limits_of, new_state

TOLERANCE, SHRINK, SHARE = 1.0, 0.01, 0.1


def extent_of(low, high):
    state = new_state(extent.STATE)
    extent.begin(state, low)
    extent.widen(state, high, 0.0, SHRINK, SHARE)
    return state


def widen(state, *values):
    for value in values:
        extent.widen(state, value, TOLERANCE, SHRINK, SHARE)


def test_a_value_beyond_that_does_not_alarm_widens_the_extent():
    state = extent_of(0.0, 10.0)
    widen(state, 10.5, -0.9)
    assert (state["low"], state["high"]) == (-0.9, 10.5)
    assert extent.overshoot(state, 10.0) < 0.0
    assert extent.overshoot(state, 12.5) == 2.0
    assert extent.overshoot(state, -1.9) == pytest.approx(1.0)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_one_that_alarms_widens_a_shadow_and_the_extent_by_its_share(side):
    state = extent_of(-10.0, 10.0)
    widen(state, side * 30.0)
    assert extent.overshoot(state, side * 30.0) == 0.0
    assert extent.overshoot(state, side * 31.0) == pytest.approx(1.0)
    high = state["high"] if side > 0 else -state["low"]
    assert high == pytest.approx(10.0 + SHARE * 20.0)


def test_the_shadow_shrinks_so_that_the_same_fault_alarms_again():
    state = extent_of(0.0, 10.0)
    widen(state, 30.0)
    widen(state, *[5.0] * 10)
    soon = extent.overshoot(state, 30.0)
    widen(state, *[5.0] * 1000)
    assert soon < extent.overshoot(state, 30.0) <= 30.0 - state["high"]


def test_a_level_that_stays_is_taken_over():
    state = extent_of(0.0, 10.0)
    widen(state, *[30.0] * 60)
    widen(state, *[5.0] * 3000)  # the shadow is gone
    assert extent.overshoot(state, 30.0) < TOLERANCE


SHIFT = ShiftLimits(threshold=0.1, spread=0.05)


def shifts(values, spread=4.0, limits=SHIFT):
    state, at = new_state(shift.STATE), limits_of("shift", limits=limits)
    return np.array([shift.step(state, at, i, float(v), spread) for i, v in enumerate(values)])


@pytest.mark.parametrize("change", [np.full(500, 10.0), -1.5 * np.arange(500)], ids=["level", "drift"])
def test_a_level_and_a_drift_are_shifts_and_noise_is_none(change):
    values = np.random.default_rng(1).normal(20.0, 1.0, 2000)
    assert shifts(values).max() < 1.0
    values[1500:] += change
    q = shifts(values)
    assert q[:1500].max() < 1.0
    assert q[1500:1540].max() >= 1.0


def test_a_level_that_stays_is_a_shift_no_more():
    values = np.random.default_rng(1).normal(20.0, 1.0, 4000)
    values[1500:] += 10.0
    assert shifts(values)[1600:].max() < 1.0


def test_a_shift_forgets_an_absurd_value_when_it_has_left_the_window():
    """A running sum would keep the rounding of a value of 1e30 for ever, and an infinite one would stay infinite."""
    values = np.random.default_rng(1).normal(20.0, 1.0, 400)
    for absurd in (1e30, 1e150):
        state, limits = new_state(shift.STATE), limits_of("shift", limits=ShiftLimits(share=0.0))
        other = new_state(shift.STATE)
        for i, value in enumerate(values.tolist()):
            shift.step(state, limits, i, absurd if i == 5 else value, 4.0)
            shift.step(other, limits, i, value, 4.0)
        assert state["ring"].tobytes() == other["ring"].tobytes()
        assert np.isfinite(state["extent"].tolist()).all()


DAY_PANES = 288
PATTERN = PatternLimits(threshold=2.0, memory=RecordLimits(cap=2.0, block=1.0))


def patterns(values, limits=PATTERN):
    state, at = new_state(pattern.STATE), limits_of("pattern", limits=limits)
    step_s = 86_400.0 / DAY_PANES
    q = [pattern.step(state, at, i, (i + 0.5) * step_s, float(v)) for i, v in enumerate(values)]
    return np.array(q), state


def days(count, seed=1):
    panes = np.arange(count * DAY_PANES)
    noise = np.random.default_rng(seed).normal(0.0, 0.3, len(panes))
    return 20 + 8 * np.sin(2 * np.pi * panes / DAY_PANES) + noise


def test_usual_days_are_no_news():
    q, state = patterns(days(14))
    assert q[3 * DAY_PANES :].max() < 1.0
    assert state["expected"] == pytest.approx(20.0, abs=1.0)


def test_a_day_without_its_swing_is_unusual_within_the_usual_range():
    values = days(10)
    begin = 8 * DAY_PANES
    values[begin : begin + DAY_PANES // 2] = 20.0
    q, _ = patterns(values)
    assert q[3 * DAY_PANES : begin].max() < 1.0
    assert q[begin : begin + DAY_PANES // 2].max() >= 1.0


def test_a_pattern_survives_values_that_do_not_fit_into_its_profile():
    values = days(5)
    values[[700, 701, 702, 1000]] = 1e150, -1e150, 1e150, 3.4e38
    _, state = patterns(values)
    for name in ("profile", "ring"):
        assert np.isfinite(state[name]).all()
    assert np.isfinite([state[name] for name in ("power", "sum", "mean", "var", "expected")]).all()
