"""The engine at large: what it tells of episodes, what it makes of odd input, and what it keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.engine.book import OneProfile, moving_average
from processors.engine.profile import Profile
from processors.engine.record import StateRecordError, unpack
from processors.engine.series_index import SeriesName
from processors.engine.settings import Sides
from processors.engine.states import RECENT_TIMES, SERIES
from schemas.dead_letters import DeadLetterReason
from schemas.readings import AnomalyState, Reading
from tests.support import engines
from tests.support.engines import (
    PANES,
    PRESETS,
    SECOND,
    START,
    WINDOW_US,
    WINDOWED,
    apply_in,
    batch,
    engine_of,
)

every_preset = pytest.mark.parametrize("profile", PRESETS.values(), ids=PRESETS)


def noisy(count, *, seed=1, outliers=()):
    """A reading a second around 50, within 2, outliers 30 above."""
    values = 50 + np.random.default_rng(seed).standard_normal(count).clip(-2, 2)
    return [
        Reading("d", "m", START + i * SECOND, v + 30 * (i in outliers), "spike" if i in outliers else None)
        for i, v in enumerate(values.tolist())
    ]


# -- the preset moving-average: the window


def test_a_deviation_opens_one_anomaly_and_its_end_clears_it():
    opened, cleared = apply_in(engine_of(WINDOWED), noisy(60, outliers={40, 41}))
    assert (opened.state, cleared.state) == (AnomalyState.OPENED, AnomalyState.CLEARED)
    assert opened.anomaly_id == cleared.anomaly_id
    assert opened.opened_at == cleared.opened_at == START + 40 * SECOND
    assert cleared.cleared_at == START + 42 * SECOND
    assert (opened.readings, cleared.readings) == (1, 2)
    assert opened.fault == cleared.fault == "spike"
    assert (opened.kind, opened.channel) == ("deviation", "window")
    assert opened.lower < opened.mean < opened.upper < opened.value
    assert opened.expected == opened.mean
    distance = (opened.value - opened.mean) / (WINDOWED.window.k * opened.std)
    assert opened.score == pytest.approx(1 - 2**-distance)


def test_every_deviation_is_told_also_many_in_a_short_time():
    outliers = set(range(20, 200, 5))
    opened = engines.opened(apply_in(engine_of(WINDOWED), noisy(200, outliers=outliers)))
    assert {engines.second_of(a.opened_at) for a in opened} == outliers


def test_mean_and_std_are_those_of_the_window_before_the_reading():
    readings = noisy(200, outliers={150})
    (opened, _) = apply_in(engine_of(WINDOWED), readings)
    pane_us = WINDOW_US // PANES
    newest = readings[150].time // pane_us
    window = [r.value for r in readings[:150] if newest - PANES < r.time // pane_us <= newest]
    assert opened.mean == pytest.approx(np.mean(window), rel=1e-12)
    assert opened.std == pytest.approx(np.std(window, ddof=1), rel=1e-12)


@pytest.mark.parametrize(
    ("sides", "expected"), [(Sides.ABOVE, [40]), (Sides.BELOW, [50]), (Sides.BOTH, [40, 50])]
)
def test_only_the_chosen_sides_count(sides, expected):
    readings = noisy(60, outliers={40})
    readings[50] = Reading("d", "m", readings[50].time, 20.0)
    engine = engine_of(moving_average(WINDOW_US, PANES, 4.0, 10, sides))
    opened = engines.opened(apply_in(engine, readings))
    assert [engines.second_of(a.opened_at) for a in opened] == expected


def test_a_new_level_is_accepted_after_a_window():
    readings = noisy(60) + [Reading("d", "m", START + (60 + i) * SECOND, 80.0 + i % 3) for i in range(200)]
    engine = engine_of(WINDOWED)
    events = apply_in(engine, readings)
    assert [a.state for a in events] == [AnomalyState.OPENED, AnomalyState.CLEARED]
    assert events[1].cleared_at - events[0].opened_at <= WINDOW_US
    assert engine.view(engines.SERIES).mean == pytest.approx(81, abs=0.1)


def test_a_late_reading_from_before_an_episode_does_not_end_it():
    readings = noisy(60, outliers={40})[:41]
    engine = engine_of(WINDOWED)
    missing = readings.pop(35)
    assert [a.state for a in apply_in(engine, [*readings, missing])] == [AnomalyState.OPENED]
    (still,) = engine.view(engines.SERIES).open_anomalies
    assert still.opened_at == START + 40 * SECOND


@given(
    st.lists(st.integers(0, 40), unique=True, min_size=1, max_size=RECENT_TIMES),
    st.randoms(use_true_random=False),
)
def test_any_order_within_lateness_gives_the_same_window(seconds, rng):
    readings = [Reading("d", "m", START + s * SECOND, float(s % 7)) for s in seconds]
    shuffled = list(readings)
    rng.shuffle(shuffled)
    lenient = moving_average(WINDOW_US, PANES, k=1e300, minimum_readings=2)
    one, other = engine_of(lenient), engine_of(lenient)
    apply_in(one, readings)
    apply_in(other, shuffled)
    a, b = one.view(engines.SERIES), other.view(engines.SERIES)
    assert a.window_readings == b.window_readings == len(readings)
    assert a.mean == pytest.approx(b.mean, rel=1e-12)
    assert (a.std is None) == (b.std is None)
    assert a.std is None or a.std == pytest.approx(b.std, rel=1e-9, abs=1e-12)
    assert (a.last_time, a.last_value, a.late, a.repeated) == (b.last_time, b.last_value, b.late, b.repeated)


def test_a_series_that_no_window_judges_shows_what_its_last_readings_were():
    engine = engine_of(Profile())
    apply_in(engine, noisy(200))
    view = engine.view(engines.SERIES)
    values = [reading.value for reading in noisy(200)]
    assert view.window_readings == 60
    assert view.mean == pytest.approx(np.mean(values[-60:]), abs=0.5)
    assert view.std == pytest.approx(np.std(values), rel=0.5)
    apply_in(
        engine, [Reading("s", "m", START + i * SECOND, float(i % 2)) for i in range(50)], first_offset=200
    )
    switch = engine.view(SeriesName("s", "m"))
    assert (switch.window_readings, switch.mean, switch.std) == (0, None, None)


def test_a_window_that_is_switched_on_begins_anew():
    off, on = engine_of(Profile()), engine_of(WINDOWED)
    apply_in(off, noisy(60))
    on.restore(engines.SERIES, *unpack(engines.record(off)))
    assert on.view(engines.SERIES).window_readings == 0
    apply_in(on, noisy(80)[60:], first_offset=60)
    assert on.view(engines.SERIES).window_readings == 20


def test_another_window_keeps_all_but_the_window():
    engine = engine_of(WINDOWED)
    apply_in(engine, noisy(60, outliers={59}))
    changed = engine_of(moving_average(90 * SECOND, 3, minimum_readings=10))
    changed.restore(engines.SERIES, *unpack(engines.record(engine)))
    view = changed.view(engines.SERIES)
    assert (view.state, view.window_readings, view.mean, view.readings) == ("WARMING", 0, None, 60)
    assert (changed.counts()["watched"], changed.counts()["warming"]) == (0, 1)
    (still,) = view.open_anomalies
    assert still.fault == "spike"
    apply_in(changed, noisy(80)[60:], first_offset=60)
    assert changed.view(engines.SERIES).window_readings == 20


def test_whether_a_series_is_watched_goes_by_the_panes_of_its_window_alone():
    """The state has room for more panes than the window has: what left the window does not count."""
    engine = engine_of(moving_average(WINDOW_US, PANES, minimum_readings=15))
    apply_in(engine, noisy(30))
    assert engine.view(engines.SERIES).state == "WATCHED"
    apply_in(engine, [Reading("d", "m", START + 85 * SECOND, 50.0)], first_offset=30)
    view = engine.view(engines.SERIES)
    assert (view.state, engine.counts()["watched"]) == ("WARMING", 0)
    assert view.window_readings < 15


# -- every preset


@every_preset
def test_a_warming_series_raises_nothing(profile):
    engine = engine_of(profile)
    warmup = profile.alarm.warmup
    assert apply_in(engine, noisy(warmup - 1, outliers={3, 7, 8})) == []
    assert engine.view(engines.SERIES).state == "WARMING"
    apply_in(engine, noisy(warmup + 20)[warmup:], first_offset=warmup)
    assert engine.view(engines.SERIES).state == "WATCHED"


@every_preset
def test_a_repeated_reading_counts_once_and_an_old_one_is_not_scored(profile):
    engine = engine_of(profile)
    readings = noisy(100)
    apply_in(engine, readings)
    episodes = engine.counts()["episodes"]
    again = [readings[99], readings[80], Reading("d", "m", START - 3600 * SECOND, 999.0)]
    assert apply_in(engine, again, first_offset=100) == []
    view = engine.view(engines.SERIES)
    assert (view.readings, view.repeated, view.late, view.episodes) == (100, 2, 1, episodes)


@every_preset
def test_what_is_no_reading_is_rejected_with_its_reason_and_the_rest_goes_on(profile):
    good = noisy(3)
    bad = [None, b"", b"\x00\x00", b"\x01abcdefgh", Reading("d", "m", START, float("nan"))]
    engine = engine_of(profile)
    applied = engine.apply(batch([good[0], *bad, good[1]]))
    assert [(rejected.row, rejected.reason) for rejected in applied.rejected] == [
        (1, DeadLetterReason.NULL_VALUE),
        (2, DeadLetterReason.TOO_SHORT),
        (3, DeadLetterReason.TOO_SHORT),
        (4, DeadLetterReason.BAD_MAGIC),
        (5, DeadLetterReason.NON_FINITE_VALUE),
    ]
    assert engine.counts()["readings"] == 2


@every_preset
@settings(max_examples=15)
@given(
    names=st.sets(st.tuples(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=5)), max_size=60)
)
def test_every_series_has_a_state_of_its_own(profile, names):
    usable = [n for n in names if "\0" not in n[0] + n[1]]
    readings = [Reading(d, m, START, float(i)) for i, (d, m) in enumerate(usable)]
    engine = engine_of(profile)
    apply_in(engine, readings, [len(readings) // 2])
    assert len(engine) == len(usable)
    for i, (device, metric) in enumerate(usable):
        assert engine.view(SeriesName(device, metric)).last_value == float(i)


@every_preset
def test_many_series_survive_the_index_growing(profile):
    readings = [Reading(f"device-{i}", "m", START, float(i)) for i in range(3000)]
    engine = engine_of(profile)
    apply_in(engine, readings, range(0, 3000, 700))
    assert len(engine) == 3000
    assert engine.view(SeriesName("device-2321", "m")).last_value == 2321.0


@every_preset
def test_the_fault_of_an_open_episode_survives_a_restore(profile):
    readings = noisy(100, outliers={80})
    engine = engine_of(profile)
    apply_in(engine, readings[:81])
    restored = engine_of(profile)
    restored.restore(engines.SERIES, *unpack(engines.record(engine)))
    ended = engines.cleared(apply_in(restored, readings[81:], first_offset=81))
    assert [a.fault for a in ended if a.opened_at == readings[80].time] == ["spike"]
    assert restored.faults_of(0) == {}


def test_an_older_record_does_not_replace_a_newer_one():
    engine = engine_of(WINDOWED)
    apply_in(engine, noisy(20))
    old = unpack(engines.record(engine))
    apply_in(engine, noisy(40)[20:], first_offset=20)
    new = engines.record(engine)
    engine.restore(engines.SERIES, *old)
    assert engines.record(engine) == new


def test_another_book_counts_from_the_next_reading_on():
    engine = engine_of(moving_average(WINDOW_US, PANES, 1e6, 10))
    readings = noisy(60, outliers={40, 50})
    assert apply_in(engine, readings[:45]) == []
    engine.use(OneProfile(WINDOWED))
    (opened, _) = apply_in(engine, readings[45:], first_offset=45)
    assert engines.second_of(opened.opened_at) == 50


def test_a_state_is_small():
    assert SERIES.itemsize <= 2500


@given(st.binary(max_size=40))
def test_foreign_state_records_are_refused(record):
    with pytest.raises(StateRecordError):
        unpack(record)


def test_damaged_state_records_are_refused():
    engine = engine_of(WINDOWED)
    apply_in(engine, noisy(5))
    record = engines.record(engine)
    broken_faults = [record + more for more in (b"{", b"[]", b'{"x": "spike"}')]
    for damaged in (record[:-1], b"\1" + record[1:], *broken_faults):
        with pytest.raises(StateRecordError):
            unpack(damaged)
