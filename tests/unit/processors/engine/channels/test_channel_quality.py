"""Stuck, flicker, dwell and gap: what is wrong with the data, and what is merely how a series is."""

import numpy as np
import pytest

from processors.engine.channels import gap, stuck, switching
from processors.engine.profile import DwellLimits, FlickerLimits, GapLimits, StuckLimits
from tests.unit.processors.engine.channels.channel_runs import limits_of, new_state

STUCK = StuckLimits(threshold=30.0, record=4.0, repeats=0.1)


def stucks(values):
    state, limits = new_state(stuck.STATE), limits_of("stuck", limits=STUCK)
    q, last = [], 0.0
    for i, value in enumerate(np.asarray(values, float).tolist()):
        q.append(stuck.step(state, limits, i, value, last))
        last = value
    return np.array(q)


def test_a_value_that_stays_is_stuck_at_the_threshold_until_it_moves():
    values = np.random.default_rng(1).normal(20.0, 1.0, 300)
    values[200:250] = values[199]
    q = stucks(values)
    assert np.flatnonzero(q >= 1.0).tolist() == list(range(229, 250))
    assert q[250] == 0.0


def test_a_constant_series_is_not_stuck():
    values = np.full(500, 20.0)
    assert stucks(values)[:40].max() >= 1.0  # nobody can know yet
    coarse = np.repeat(np.random.default_rng(1).normal(20.0, 1.0, 100), 5)
    coarse = np.concatenate([coarse, np.full(60, 20.0)])
    assert stucks(coarse).max() < 1.0, "it repeats itself as a habit"


def test_a_resting_value_is_learnt():
    """A fan that is off reads 0: again and again, ever longer, and at last for a night."""
    rng = np.random.default_rng(1)
    turns = [np.concatenate([rng.normal(900.0, 20.0, 400), np.zeros(25)]) for _ in range(6)]
    q = stucks(np.concatenate([*turns, np.zeros(500)]))
    assert q.max() < 1.0
    elsewhere = stucks(np.concatenate([*turns, rng.normal(900.0, 20.0, 50), np.full(200, 917.0)]))
    assert elsewhere.max() >= 1.0, "stuck at another value is stuck"


def test_a_rest_that_alarmed_does_not_hide_the_next():
    """Else a fan that stalled for hours once could stall for hours ever after."""
    rng = np.random.default_rng(1)
    usual = [part for _ in range(20) for part in (rng.normal(900.0, 20.0, 60), np.zeros(20))]
    stall = [rng.normal(900.0, 20.0, 60), np.zeros(240)]
    values = np.concatenate([*usual, *stall, *usual[:8], *stall])
    state, limits = new_state(stuck.STATE), limits_of("stuck", limits=STUCK)
    dwell = limits_of("dwell", limits=DwellLimits(threshold=60.0, warmup=100.0))
    q, last = [], 0.0
    for i, value in enumerate(values.tolist()):
        stuck.step(state, limits, i, value, last)
        q.append(stuck.rest(state, dwell, i, value))
        last = value
    q = np.array(q)
    first = sum(map(len, usual)) + 60
    assert q[:first].max() < 1.0
    assert q[first : first + 240].max() >= 1.0
    assert q[first + 240 : -240].max() < 1.0
    assert q[-240:].max() >= 1.0


def switch(values, flicker_limits, dwell_limits):
    state = new_state(switching.STATE)
    flicker, dwell = limits_of("flicker", limits=flicker_limits), limits_of("dwell", limits=dwell_limits)
    found = []
    for i, value in enumerate(values):
        toggled = i > 0 and value != values[i - 1]
        found.append(
            (
                switching.flicker(state, flicker, i, toggled),
                switching.dwell(state, dwell, i, value > 0, toggled),
            )
        )
    return np.array(found).T


FLICKER = FlickerLimits(threshold=3.0, record=2.0, warmup=100.0)
DWELL = DwellLimits(threshold=30.0, warmup=100.0)


def shifts_of(*lengths):
    """0 and 1 in turn, each for so many readings."""
    return np.concatenate([np.full(length, float(i % 2)) for i, length in enumerate(lengths)])


def test_a_switch_that_toggles_all_the_time_flickers():
    values = np.concatenate([shifts_of(*[20] * 30), np.tile([0.0, 1.0], 10)])
    flicker, _ = switch(values, FLICKER, DWELL)
    assert flicker[:600].max() < 1.0
    assert flicker[600:].max() >= 1.0


def test_one_that_always_toggles_does_not():
    early = FlickerLimits(threshold=3.0, record=2.0, warmup=10.0)
    flicker, _ = switch(np.tile([0.0, 1.0], 300), early, DWELL)
    assert flicker[200:].max() < 1.0


@pytest.mark.parametrize("state", [0, 1])
def test_one_that_stays_longer_than_ever_dwells(state):
    usual = [20] * (40 + state)
    flicker, dwell = switch(shifts_of(*usual, 400), FLICKER, DWELL)
    assert dwell[: len(usual) * 20].max() < 1.0
    assert dwell[-1] >= 1.0
    assert flicker.max() < 1.0


def test_a_stay_is_held_against_the_stays_in_the_same_state():
    """Off for 25 and on for 2: on for 25 would be as usual for off."""
    values = shifts_of(*[25, 2] * 40)
    wide = DwellLimits(threshold=5.0, record=1.6, mean=7.0, warmup=100.0)
    assert switch(values, FLICKER, wide)[1].max() < 1.0
    assert switch(np.concatenate([values, np.zeros(1), np.ones(25)]), FLICKER, wide)[1].max() >= 1.0


def test_before_it_knows_the_series_it_does_not_judge():
    values = shifts_of(*[5] * 19)
    flicker, dwell = switch(values, FLICKER, DWELL)
    assert (flicker.max(), dwell.max()) == (0.0, 0.0)


SECOND = 1_000_000.0
GAP = GapLimits(threshold=6.0, record=1.5)


def intervals(*lengths, lag=0.0):
    state, limits = new_state(gap.STATE), limits_of("gap", limits=GAP)
    for length in lengths:
        gap.step(state, limits, length * SECOND, lag * SECOND)
    return state, gap.deadline_us(state, limits)


def test_the_deadline_is_a_multiple_of_the_usual_interval():
    assert intervals(*[10] * 20)[1] == 0, "not known yet"
    assert intervals(*[10] * 30)[1] == pytest.approx(60 * SECOND)


def test_it_is_longer_for_a_series_that_speaks_now_and_then():
    assert intervals(*[10] * 30, *[10, 50] * 10)[1] > 70 * SECOND


def test_one_gap_says_little_and_many_are_how_the_series_is():
    _, before = intervals(*[10] * 30)
    _, once = intervals(*[10] * 30, 10_000)
    _, often = intervals(*[10] * 30, *[95] * 40)
    assert before < once < 1.5 * before
    assert often > 95 * SECOND


def test_a_device_that_lags_is_given_so_much_longer_for_a_while():
    state, deadline = intervals(*[10] * 30, lag=3600.0)
    assert gap.patience_us(state) == 3600 * SECOND
    assert deadline == pytest.approx(60 * SECOND)
    for _ in range(5000):
        gap.step(state, limits_of("gap", limits=GAP), 10 * SECOND, 0.0)
    assert gap.patience_us(state) < 60 * SECOND
