"""Rare: a value between two modes, where the series hardly ever stays."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.engine.channels import rare
from processors.engine.profile import RareLimits
from tests.unit.processors.engine.channels.channel_runs import limits_of, new_state

LIMITS = RareLimits(threshold=3.0, readings=4.0, level=5.0)


def rarities(values, state=None, limits=LIMITS):
    state, at = new_state(rare.STATE) if state is None else state, limits_of("rare", limits=limits)
    low = high = float(values[0])
    q = []
    for i, value in enumerate(np.asarray(values, float).tolist()):
        low, high = min(low, value), max(high, value)
        q.append(rare.step(state, at, i, value, low, high))
    return np.array(q)


def two_modes(count, seed=1):
    rng = np.random.default_rng(seed)
    on = np.repeat(rng.random(count // 20 + 1) < 0.5, 20)[:count]
    return np.where(on, 10.0, 0.0) + rng.normal(0.0, 0.1, count)


def test_a_value_between_two_modes_is_rare():
    values = two_modes(3000)
    values[2500:2510] = 5.0
    q = rarities(values)
    assert q[:2500].max() < 1.0
    assert q[2500] < 1.0, "one reading may be on its way from one mode to the other"
    assert q[2500:2510].max() >= 1.0
    assert q[2560:].max() < 1.0


def test_where_it_stays_long_it_is_rare_no_more():
    values = two_modes(6000)
    values[2500:4500] = 5.0 + np.random.default_rng(2).normal(0.0, 0.1, 2000)
    q = rarities(values, limits=RareLimits(threshold=3.0, level=5.0, window=2000.0))
    assert q[2500:2600].max() >= 1.0
    assert q[4400:4500].max() < 1.0


def test_scale_makes_no_difference():
    values = two_modes(1000)
    values[900:] = 5.0
    assert rarities(values * 2.0**60).tobytes() == rarities(values).tobytes()


VALUES = st.floats(-100, 100) | st.sampled_from([1e6, -1e6, 1e150, -1e150])


@given(st.lists(VALUES, min_size=1, max_size=60))
def test_every_value_finds_a_bin_however_wide_they_must_become(more):
    """Merged pairs keep what they had: no more and no less lies in the bins than was put there."""
    state = new_state(rare.STATE)
    values = [*two_modes(100), *more]
    rarities(values, state, RareLimits(caution=0.0))
    assert state["width"] > 0.0
    assert state["total"] == len(values) - 60
    assert float(state["bins"].sum()) == pytest.approx(state["total"])
    assert (state["bins"] >= 0.0).all()
    last = float(values[-1])
    assert state["origin"] <= last <= state["origin"] + rare.BINS * state["width"]


@pytest.mark.parametrize("fine", [False, True])
def test_the_usual_value_near_a_rare_one_is_said(fine):
    state, limits = new_state(rare.STATE), replace(LIMITS, fine=fine)
    rarities(two_modes(3000), state, limits)
    at = limits_of("rare", limits=limits)
    assert rare.usual_near(state, at, 3.0, -1.0) == pytest.approx(0.0, abs=0.5)
    assert rare.usual_near(state, at, 7.0, -1.0) == pytest.approx(10.0, abs=0.5)
    assert rare.usual_near(state, at, 1e6, -1.0) == pytest.approx(10.0, abs=0.5)


def test_fine_bins_tell_a_level_from_one_that_is_near():
    """On and off are 0 and 10, and it turns at 10.8 for a while: a bin of the sixteen between them is 0.6 wide."""
    values = two_modes(3000)
    values[2500:2510] = 10.8
    assert rarities(values, limits=replace(LIMITS, fine=True))[2500:2510].max() >= 1.0
    assert rarities(values)[2500:2510].max() < 1.0


def test_it_forgets_by_halves():
    state = new_state(rare.STATE)
    rarities(two_modes(2000), state, RareLimits(window=500.0))
    assert 240.0 < state["total"] <= 500.0
    assert float(state["bins"].sum()) == pytest.approx(state["total"], rel=1e-4)
