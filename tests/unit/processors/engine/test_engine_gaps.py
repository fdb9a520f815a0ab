"""Silence: told by the partition's own event time, of no device that is merely ahead or behind."""

import pytest

from processors.engine.profile import AlarmLimits, GapLimits, SpikeLimits
from processors.engine.record import unpack
from processors.engine.series_index import SeriesName
from schemas.readings import AnomalyState, Reading
from tests.support.engines import (
    SECOND,
    START,
    apply_in,
    batch,
    cleared,
    engine_of,
    only,
    opened,
    record,
    second_of,
    series,
)

GAPS = only(gap=GapLimits(threshold=6.0, record=1.5))


def ticking(devices, ticks, *, silent=None, ahead=None, step=10):
    """A reading each `step` seconds of each device, but for (device, from, to) in ticks; `ahead` by device in s."""
    silent = silent or []
    for tick in range(ticks):
        for device in devices:
            if any(device == who and begin <= tick < end for who, begin, end in silent):
                continue
            seconds = tick * step + (ahead or {}).get(device, 0)
            yield Reading(device, "m", START + seconds * SECOND, 20.0 + tick % 7)


def test_a_device_that_falls_silent_is_missed_when_the_others_have_gone_on_long_enough():
    readings = list(ticking("abc", 100, silent=[("c", 50, 80)]))
    engine = engine_of(GAPS)
    missed, back = apply_in(engine, readings)
    assert (missed.device_id, missed.channel, missed.kind) == ("c", "gap", "missing_data")
    assert (missed.state, back.state) == (AnomalyState.OPENED, AnomalyState.CLEARED)
    assert missed.anomaly_id == back.anomaly_id
    assert second_of(missed.opened_at) == pytest.approx(490 + 60, abs=1)
    assert second_of(back.cleared_at) == 800
    assert missed.expected is None
    assert "no reading of m for 60 s" in missed.reason
    assert "310 s" not in missed.reason
    assert "5.17 min" in back.reason
    assert back.score > missed.score == 0.5
    assert engine.counts()["open"] == 0


def test_it_is_told_with_the_record_that_moved_the_clock():
    readings = list(ticking("abc", 100, silent=[("c", 50, 100)]))
    engine = engine_of(GAPS)
    stamps = [1_800_000_000_000 + i for i in range(len(readings))]
    applied = engine.apply(batch(readings, 0, stamps))
    (missed,), (row,) = applied.anomalies, applied.rows
    # the clock is the second newest device's: both others must have gone past the deadline
    assert (readings[row].device_id, second_of(readings[row].time)) == ("b", 550)
    assert missed.detected_at == stamps[row] * 1000


def test_one_device_whose_clock_runs_ahead_makes_nobody_late():
    readings = list(ticking("abc", 60))
    jumped = [
        Reading(r.device_id, r.metric, r.time + (86_400 * SECOND if r.device_id == "a" else 0), r.value)
        for r in list(ticking("abc", 120))[180:]
    ]
    found = apply_in(engine_of(GAPS), readings + jumped)
    assert {anomaly.device_id for anomaly in found} <= {"a"}


def test_a_device_whose_clock_lags_is_not_late_for_that():
    readings = list(ticking("abc", 300, ahead={"c": -3600}))
    assert apply_in(engine_of(GAPS), readings) == []


def test_a_lagging_device_that_falls_silent_is_missed_once_by_its_own_clock():
    readings = list(ticking("abc", 600, ahead={"c": -1800}, silent=[("c", 100, 500)]))
    missed, back = apply_in(engine_of(GAPS), readings)
    assert second_of(missed.opened_at) == pytest.approx(990 - 1800 + 60, abs=1)
    assert second_of(back.cleared_at) == 5000 - 1800


def test_a_lagging_device_is_missed_on_arrival_where_the_clock_still_waited():
    readings = list(ticking("abc", 200, ahead={"c": -1800}, silent=[("c", 100, 130)]))
    missed, back = apply_in(engine_of(GAPS), readings)
    assert second_of(missed.opened_at) == pytest.approx(990 - 1800 + 60, abs=1)
    assert second_of(back.cleared_at) == 1300 - 1800


def test_alone_in_its_partition_a_device_is_missed_when_it_is_back():
    readings = list(ticking("a", 60, silent=[("a", 40, 55)]))
    engine = engine_of(GAPS)
    quiet = apply_in(engine, readings[:40])
    missed, back = apply_in(engine, readings[40:], first_offset=40)
    assert quiet == []
    assert second_of(missed.opened_at) == pytest.approx(390 + 60, abs=1)
    assert second_of(back.cleared_at) == 550


def test_who_tells_makes_no_difference_to_the_episode():
    """By the clock or on arrival: the same gap begins at the same time and has the same id."""
    alone = apply_in(engine_of(GAPS), list(ticking("c", 60, silent=[("c", 40, 55)])))
    among = apply_in(engine_of(GAPS), list(ticking("abc", 60, silent=[("c", 40, 55)])))
    assert [(a.anomaly_id, a.state, a.cleared_at) for a in alone] == [
        (a.anomaly_id, a.state, a.cleared_at) for a in among
    ]


def test_readings_that_were_held_back_end_the_gap_where_it_began():
    """A device that was cut off sends what it has gathered meanwhile."""
    readings = list(ticking("abc", 60, silent=[("c", 40, 60)]))
    gathered = series([20.0] * 20, device="c", start=START + 400 * SECOND, step=10 * SECOND)
    missed, back = apply_in(engine_of(GAPS), [*readings, *gathered])
    assert back.anomaly_id == missed.anomaly_id
    assert back.cleared_at == missed.opened_at


def test_all_fall_silent_and_come_back_and_each_is_missed_once():
    readings = list(ticking("abcde", 200, silent=[(d, 50, 150) for d in "abcde"]))
    found = apply_in(engine_of(GAPS), readings)
    assert sorted(a.device_id for a in opened(found)) == list("abcde")
    assert sorted(a.device_id for a in cleared(found)) == list("abcde")


@pytest.mark.parametrize("others", ["", "bc"])
def test_silence_ends_what_is_open(others):
    profile = only(
        gap=GapLimits(threshold=6.0),
        spike=SpikeLimits(threshold=6.0),
        alarm=AlarmLimits(warmup=20, calm=5, refractory=0),
    )
    readings = list(ticking("a" + others, 60, silent=[("a", 40, 55)]))
    (last,) = (r for r in readings if r.device_id == "a" and r.time == START + 390 * SECOND)
    readings[readings.index(last)] = Reading("a", "m", last.time, 900.0, "spike")
    spike, ended, missed, back = (
        a for a in apply_in(engine_of(profile), readings) if second_of(a.opened_at) < 551
    )
    assert (spike.channel, spike.fault) == ("spike", "spike")
    assert (ended.anomaly_id, ended.state, ended.fault) == (spike.anomaly_id, AnomalyState.CLEARED, "spike")
    assert ended.cleared_at == missed.opened_at
    assert (missed.fault, back.state) == (None, AnomalyState.CLEARED)


def test_before_its_interval_is_known_a_series_is_not_missed():
    assert apply_in(engine_of(GAPS), list(ticking("abc", 100, silent=[("c", 10, 100)]))) == []


def test_a_profile_without_gaps_tells_none():
    profile = only(gap=GapLimits(on=False))
    assert apply_in(engine_of(profile), list(ticking("abc", 100, silent=[("c", 50, 80)]))) == []


def test_more_gaps_at_once_than_there_is_room_for_events():
    """A reading that finds thousands of series overdue tells all of them."""
    devices = [f"device-{number}" for number in range(2500)]
    engine = engine_of(GAPS)
    apply_in(engine, list(ticking([*devices, "x", "y"], 25)))
    late = [Reading(d, "m", START + 10_000 * SECOND, 1.0) for d in "xy"]
    found = apply_in(engine, late, first_offset=25 * 2502)
    assert len({a.device_id for a in opened(found)}) == 2502
    assert [a.device_id for a in cleared(found)] == ["x", "y"]


def test_gaps_are_told_in_the_order_of_their_deadlines_also_after_a_restore():
    """What is known of a restored series' deadline is at first too early, and in another order."""
    devices = [f"device-{number}" for number in range(12)]
    silences = [(d, 36 + number, 400) for number, d in enumerate(devices)]
    before = list(ticking([*devices, "x", "y"], 45, silent=silences))
    late = [Reading(d, "m", START + 10_000 * SECOND, 1.0) for d in "xy"]
    engine, restored = engine_of(GAPS), engine_of(GAPS)
    apply_in(engine, before[:-4])
    for name in reversed(engine.index.names):
        restored.restore(name, *unpack(record(engine, name)))
    restored.clock = engine.clock
    rest = [*before[-4:], *late]
    expected = apply_in(engine, rest, first_offset=1000)
    assert apply_in(restored, rest, first_offset=1000) == expected
    times = [a.opened_at for a in opened(expected) if a.device_id not in "xy"]
    assert len(times) > 5
    assert times == sorted(times)
    assert restored.view(SeriesName("x", "m")) == engine.view(SeriesName("x", "m"))
