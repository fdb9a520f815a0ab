"""From q to alarms that somebody may be woken by: one episode, opened once, cleared once, and seldom."""

import random
from dataclasses import replace

import numpy as np
import pytest

from processors.engine.profile import (
    AlarmLimits,
    DwellLimits,
    FlickerLimits,
    RangeLimits,
    RecordLimits,
    SpikeLimits,
    StuckLimits,
    ValueMeaning,
)
from processors.engine.settings import Sides
from schemas.readings import AnomalySeverity, AnomalyState, Reading
from tests.support.engines import (
    SECOND,
    START,
    WINDOWED,
    apply_in,
    batch,
    cleared,
    engine_of,
    only,
    opened,
    second_of,
    series,
)

SPIKE = SpikeLimits(
    threshold=6.0,
    record=1.0,
    warmup=20.0,
    memory=RecordLimits(cap=1.0, share=0.0),  # no spike is a habit
)


def alarming(**fields):
    """Limits of alarms without refractory and heat, but for those given."""
    return AlarmLimits(**{"warmup": 30, "calm": 5, "accept": 10_000, "refractory": 0, "heat": 0.0, **fields})


def spiky(*spikes, count=400, size=40.0, **fields):
    """What an engine with the channel spike alone makes of noise with spikes at these places."""
    profile = only(spike=SPIKE, alarm=alarming(**fields))
    return apply_in(engine_of(profile), noise(*spikes, count=count, size=size))


def noise(*spikes, count=400, size=40.0, seed=1):
    values = 50 + np.random.default_rng(seed).standard_normal(count).clip(-2, 2)
    values[list(spikes)] += size
    return series(values)


def openings(anomalies):
    return [second_of(a.opened_at) for a in opened(anomalies)]


def endings(anomalies):
    return [second_of(a.cleared_at) for a in cleared(anomalies)]


def test_an_episode_ends_with_the_last_of_some_calm_readings():
    found = spiky(100)
    assert [a.state for a in found] == [AnomalyState.OPENED, AnomalyState.CLEARED]
    assert (openings(found), endings(found)) == ([100], [105])


def test_a_deviation_amid_the_calm_readings_keeps_it_open():
    found = spiky(100, 104, 108, 112)
    assert (openings(found), endings(found)) == ([100], [117])
    assert [a.readings for a in found] == [1, 4]


def test_two_that_are_further_apart_are_two():
    found = spiky(100, 110)
    assert (openings(found), endings(found)) == ([100, 110], [105, 115])
    assert len({a.anomaly_id for a in found}) == 2


def test_warming_raises_nothing():
    assert openings(spiky(35, 60, warmup=50)) == [60]
    assert spiky(35, 60, warmup=500) == []


def test_behind_an_opening_there_is_none_for_a_while():
    assert openings(spiky(100, 149, 220, refractory=50)) == [100, 220]


def test_but_for_a_far_stronger_one():
    values = noise(100, count=400)
    strong = series([4000.0 if i == 130 else r.value for i, r in enumerate(values)])
    limits = {"refractory": 200, "urgent_after": 20, "urgent": 3.0}
    profile = only(spike=SPIKE, alarm=alarming(**limits))
    assert openings(apply_in(engine_of(profile), strong)) == [100, 130]
    sooner = series([4000.0 if i == 115 else r.value for i, r in enumerate(values)])
    assert openings(apply_in(engine_of(profile), sooner)) == [100]


def test_heat_asks_for_more_and_cools():
    at = [100 + 60 * k for k in range(8)]
    every = openings(spiky(*at, count=700))
    assert every == at
    hot = openings(spiky(*at, count=700, heat=5.0, heat_decay_s=1e9))
    assert hot == at[:1]
    cooling = openings(spiky(*at, count=700, heat=5.0, heat_decay_s=60.0))
    assert cooling[0] == at[0]
    assert 1 < len(cooling) < len(at)


def test_a_level_that_stays_is_accepted_within_so_many_readings():
    values = np.concatenate([50 + np.random.default_rng(1).uniform(-1, 1, 200), np.full(500, 500.0)])
    values[200:] += np.random.default_rng(2).uniform(-1, 1, 500)
    range_ = RangeLimits(threshold=0.5, share=0.0, shrink=0.0, warmup=50.0)
    profile = only(range=range_, alarm=alarming(accept=40))
    found = apply_in(engine_of(profile), series(values))
    assert (openings(found), endings(found)) == ([200], [240])


def test_an_episode_lasts_as_long_as_readings_stay_out_of_the_band():
    values = 50 + np.random.default_rng(1).uniform(-1, 1, 400)
    values[200:230] += 100.0
    profile = only(range=RangeLimits(threshold=0.5, warmup=50.0), alarm=alarming(calm=3))
    found = apply_in(engine_of(profile), series(values))
    assert (openings(found), endings(found)) == ([200], [232])
    assert found[1].readings == 30


def test_what_was_expected_is_said_as_it_opens():
    found, _ = spiky(100)
    assert found.lower < found.expected < found.upper < found.value
    assert found.expected == pytest.approx(50, abs=1)
    assert found.mean == found.expected
    assert (found.channel, found.kind) == ("spike", "spike")
    assert found.reason.startswith(f"m {found.value:.4g} is ")
    assert f"(expected {found.lower:.4g} to {found.upper:.4g})" in found.reason


def test_a_drop_is_no_spike():
    assert [a.kind for a in spiky(100, size=-40.0)] == ["drop", "drop"]


def test_the_worse_the_more_severe():
    worst = [spiky(100, size=size)[-1] for size in (7.5, 20.0, 400.0)]
    assert [a.score for a in worst] == sorted(a.score for a in worst)
    ranks = [list(AnomalySeverity).index(a.severity) for a in worst]
    assert ranks == sorted(ranks)
    assert (worst[0].score > 0.5, worst[-1].severity) == (True, AnomalySeverity.CRITICAL)
    assert worst[0].severity is not AnomalySeverity.CRITICAL


def test_an_episode_that_gets_worse_says_so_when_it_ends():
    values = noise(100)
    worse = series([900.0 if i == 102 else r.value for i, r in enumerate(values)])
    first, last = apply_in(engine_of(only(spike=SPIKE, alarm=alarming())), worse)
    assert last.anomaly_id == first.anomaly_id
    assert (last.value, first.value == last.value) == (900.0, False)
    assert last.score > first.score
    assert last.severity is AnomalySeverity.CRITICAL


@pytest.mark.parametrize(
    ("sides", "expected"), [(Sides.BOTH, [100, 200]), (Sides.ABOVE, [100]), (Sides.BELOW, [200])]
)
def test_only_the_chosen_sides_count(sides, expected):
    values = [r.value - (80.0 if i == 200 else 0.0) for i, r in enumerate(noise(100))]
    profile = only(spike=SPIKE, alarm=alarming(sides=sides))
    assert openings(apply_in(engine_of(profile), series(values))) == expected


def test_what_is_too_near_to_what_was_expected_does_not_count():
    assert openings(spiky(100, minimum_deviation=30.0)) == [100]
    assert spiky(100, minimum_deviation=50.0) == []


# -- what the numbers mean


def test_values_that_cannot_be_are_invalid_and_nothing_learns_from_them():
    values = 50 + np.random.default_rng(1).uniform(-1, 1, 200)
    values[100:103] = 140.0
    meaning = ValueMeaning(lowest=0.0, highest=100.0)
    profile = only(spike=SPIKE, meaning=meaning, alarm=alarming())
    engine = engine_of(profile)
    found = apply_in(engine, series(values))
    assert [(a.channel, a.kind) for a in found] == [("invalid", "invalid")] * 2
    assert (openings(found), endings(found)) == ([100], [103])
    assert found[0].expected is None
    assert "m 140 cannot be" in found[0].reason
    assert found[1].readings == 3


def test_stuck_is_told_and_ends_with_the_first_reading_that_moves():
    values = 50 + np.random.default_rng(1).uniform(-1, 1, 200)
    values[100:150] = values[99]
    profile = only(stuck=StuckLimits(threshold=20.0), alarm=alarming())
    found = apply_in(engine_of(profile), series(values))
    assert [a.kind for a in found] == ["stuck", "stuck"]
    assert (openings(found), endings(found)) == ([119], [150])
    assert "for 20 readings" in found[0].reason


def test_both_slots_may_be_open_at_once():
    values = 50 + np.random.default_rng(1).uniform(-1, 1, 200)
    values[100:150] = 90.0
    range_ = RangeLimits(threshold=0.5, share=0.0, warmup=50.0)
    profile = only(range=range_, stuck=StuckLimits(threshold=20.0), alarm=alarming(accept=1000))
    engine = engine_of(profile)
    apply_in(engine, series(values[:140]))
    (number,) = range(len(engine))
    view = engine.view(engine.index.names[number])
    assert [a.channel for a in view.open_anomalies] == ["range", "stuck"]
    assert engine.counts()["open"] == 2
    assert len(cleared(apply_in(engine, series(values)[140:], first_offset=140))) == 2


def turning(*lengths):
    return np.concatenate([np.full(length, float(i % 2)) for i, length in enumerate(lengths)])


FLICKER = FlickerLimits(threshold=3.0, record=2.0, warmup=50.0)
DWELL = DwellLimits(threshold=40.0, warmup=50.0)


def test_a_switch_is_found_out_and_judged_as_one():
    values = np.concatenate([turning(*[15] * 40), turning(*[1] * 20), turning(*[15] * 4), np.ones(300)])
    profile = only(flicker=FLICKER, dwell=DWELL, spike=SPIKE, range=RangeLimits(), alarm=alarming())
    found = apply_in(engine_of(profile), series(values))
    assert [(a.channel, a.kind) for a in opened(found)] == [("flicker", "flicker"), ("dwell", "stuck_on")]
    flicker, dwell = opened(found)
    assert 600 <= second_of(flicker.opened_at) < 620
    assert second_of(dwell.opened_at) > 700
    assert "toggled" in flicker.reason
    assert "m has been on for" in dwell.reason


def test_a_series_that_says_something_else_after_all_is_no_switch():
    values = np.concatenate([np.zeros(100), 50 + np.random.default_rng(1).uniform(-1, 1, 300)])
    values[300] = 200.0
    profile = only(spike=SPIKE, dwell=DWELL, alarm=alarming())
    assert openings(apply_in(engine_of(profile), series(values))) == [300]


def test_a_counter_is_judged_by_its_growth():
    growth = 5 + np.random.default_rng(1).uniform(-1, 1, 400)
    growth[300] = 60.0
    total = growth.cumsum()
    total[200:] -= total[200]  # it was exchanged
    profile = only(spike=SPIKE, meaning=ValueMeaning(counter=True), alarm=alarming())
    found = apply_in(engine_of(profile), series(total))
    assert openings(found) == [300]
    assert found[0].value == pytest.approx(60.0 * 3600)


def test_a_direction_is_judged_by_its_turns():
    turns = np.random.default_rng(1).uniform(-5, 5, 400)
    turns[300] = 170.0
    direction = (350 + turns.cumsum()) % 360.0
    profile = only(spike=SPIKE, meaning=ValueMeaning(period=360.0), alarm=alarming())
    found = apply_in(engine_of(profile), series(direction))
    assert openings(found) == [300]
    assert found[0].value == pytest.approx(170.0)


def test_a_counter_is_judged_by_its_growth_in_the_window_too():
    """What the window compares and what is told of it are one thing: growth per hour, not the total beside it."""
    profile = replace(WINDOWED, meaning=ValueMeaning(counter=True, switch=False))
    rng, total, readings = random.Random(3), 1000.0, []
    for tick in range(80):
        total += 500.0 if tick == 70 else rng.uniform(0.9, 1.1)
        readings.append(Reading("d", "m", START + tick * SECOND, total))
    told = engine_of(profile).apply(batch(readings)).anomalies
    (leap,) = (anomaly for anomaly in told if anomaly.state is AnomalyState.OPENED)
    assert leap.opened_at == START + 70 * SECOND
    assert leap.value == pytest.approx(500.0 * 3600)
    assert leap.mean == pytest.approx(3600, rel=0.05)
    assert leap.lower < 3600 < leap.upper < leap.value
