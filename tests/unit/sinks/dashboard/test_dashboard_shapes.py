"""Rows as the page takes them."""

import json
import math
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import pytest

from sinks.dashboard import FaultQuality, QualityFigures
from sinks.dashboard.data import end_of
from sinks.dashboard.shapes import (
    anomaly_json,
    calm_band,
    calm_buckets,
    chart_json,
    device_json,
    fleet_columns,
    fleet_state,
    labelled_runs,
    newest_times,
    number,
    quality_json,
)
from sinks.dashboard.watching import Injected, catch_of
from sinks.queries.anomalies import AnomalyRow
from sinks.queries.band import Band
from sinks.queries.devices import DeviceRow, LatestReading, OpenAnomalies
from sinks.queries.series import Buckets

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
START_MS = 1_772_366_400_000


def after(seconds):
    return START + timedelta(seconds=seconds)


def row(number=0, opened=0.0, cleared=None, **changes):
    values = {
        "anomaly_id": UUID(int=number),
        "device_id": "oven-1",
        "metric": "temperature",
        "kind": "spike",
        "state": "OPENED" if cleared is None else "CLEARED",
        "severity": "WARNING",
        "opened_at": after(opened),
        "cleared_at": None if cleared is None else after(cleared),
        "value": 41.5,
        "expected": 20.0,
        "score": 0.9,
        "mean": 20.0,
        "std": 1.0,
        "lower": 16.0,
        "upper": 24.0,
        "readings": 3,
        "channel": "spike",
        "reason": "far off",
        "fault": None,
        "storm_id": None,
        "detected_at": after(opened),
        "stored_at": after(opened),
        "device_type": "oven",
        "device_name": "Oven 1",
        "place": "Kitchen",
        "unit": "°C",
    }
    return AnomalyRow(**{**values, **changes})


def device(device_id="oven-1", **changes):
    values = {
        "device_id": device_id,
        "type": "oven",
        "name": "Oven 1",
        "place": None,
        "latitude": None,
        "longitude": None,
        "timezone": "Europe/Berlin",
        "manufacturer": "Heatco",
        "model": "",
        "firmware": "1.2",
        "serial_number": "S1",
        "units": {"temperature": "°C"},
        "attributes": {"room": "<b>1</b>"},
        "changed_at": START,
    }
    return DeviceRow(**{**values, **changes})


def buckets(times, width=0.0, labelled=None, values=None):
    n = len(times)
    values = np.arange(n, dtype=np.float64) if values is None else np.array(values)
    counts = np.ones(n, np.int64)
    flags = np.zeros(n, np.int64) if labelled is None else np.array(labelled, np.int64)
    return Buckets(
        timedelta(seconds=width),
        "readings",
        [after(time) for time in times],
        values - 1,
        values + 1,
        values,
        counts,
        flags,
    )


def no_band(n):
    return Band(*(np.full(n, np.nan) for _ in range(3)))


@pytest.mark.parametrize(
    ("value", "told"), [(1.5, 1.5), (0.0, 0.0), (None, None), (math.nan, None), (-math.inf, None)]
)
def test_numbers_that_are_none_are_null(value, told):
    assert number(value) == told


def test_an_anomaly_can_be_sent_whatever_its_numbers_are():
    told = anomaly_json(row(value=math.nan, expected=None, lower=-math.inf, upper=math.inf))
    assert (told["value"], told["expected"], told["lower"], told["upper"]) == (None, None, None, None)
    assert (told["open"], told["opened"], told["cleared"]) == (True, START_MS, None)
    json.dumps(told, allow_nan=False)


def test_the_fleet_is_columns():
    told = fleet_columns([device(), device("oven-2", place="Hall")], "v1")
    assert told == {
        "version": "v1",
        "id": ["oven-1", "oven-2"],
        "name": ["Oven 1", "Oven 1"],
        "type": ["oven", "oven"],
        "place": ["", "Hall"],
    }


def test_the_state_tells_the_newest_open_episode_of_each_device():
    state = fleet_state(
        {"oven-1": OpenAnomalies(critical=1, warning=2), "oven-9": OpenAnomalies(info=1)},
        [row(2, opened=60, kind="drift"), row(1, kind="spike")],
    )
    assert state == {
        "open": {
            "oven-1": [1, 2, 0, "drift", "temperature", "WARNING", START_MS + 60_000],
            "oven-9": [0, 0, 1],
        }
    }


def test_a_device_is_as_new_as_its_newest_metric():
    latest = [LatestReading("a", "x", after(1), 0), LatestReading("a", "y", after(3), 0)]
    assert newest_times(latest) == {"a": START_MS + 3000}


def test_a_description_leaves_out_what_is_empty_and_passes_markup_on_as_text():
    told = device_json("oven-1", device())
    assert told["more"] == [
        ["Manufacturer", "Heatco"],
        ["Firmware", "1.2"],
        ["Serial number", "S1"],
        ["Time zone", "Europe/Berlin"],
        ["room", "<b>1</b>"],
    ]
    assert device_json("stranger", None)["described"] is False


def test_single_readings_have_no_extent_and_buckets_have_one():
    single = chart_json("t", "°C", buckets([0, 1]), no_band(2), [], None)
    assert "low" not in single
    assert single["t"] == [START_MS, START_MS + 1000]
    assert single["expected"] == [None, None]
    wide = chart_json("t", "°C", buckets([0, 60], width=60), no_band(2), [row()], 12)
    assert (wide["low"], wide["high"], wide["width"]) == ([-1.0, 0.0], [1.0, 2.0], 60_000)
    assert (wide["warming"], len(wide["anomalies"])) == (12, 1)


@pytest.mark.parametrize(
    ("labelled", "width", "runs"),
    [
        ([], 0, []),
        ([0, 0, 0, 0], 0, []),
        ([0, 1, 1, 0], 0, [[1, 3]]),
        ([1, 0, 0, 1], 0, [[0, 1], [3, 3]]),
        ([1, 1, 0, 1], 1, [[0, 2], [3, 4]]),
    ],
)
def test_ground_truth_is_runs_of_buckets(labelled, width, runs):
    times = [START_MS + at * 1000 for at in range(len(labelled))]
    told = labelled_runs(times, np.array(labelled, bool), width * 1000)
    assert [[(end - START_MS) // 1000 for end in run] for run in told] == runs


def test_what_is_expected_is_not_learnt_from_an_episode():
    values = [20.0, 20.5] * 20 + [90.0] * 30 + [20.0, 20.5] * 5
    series = buckets(range(80), values=values)
    learnt, calm = calm_band(series, []), calm_band(series, [row(opened=40, cleared=69)])
    assert learnt.upper[75] > 90
    assert calm.upper[75] < 25
    assert 20 <= calm.expected[75] <= 20.5


def test_buckets_that_an_episode_touches_are_not_calm():
    series = buckets([0, 60, 120, 180, 240], width=60)
    episodes = [row(1, opened=70, cleared=100), row(2, opened=200)]
    assert calm_buckets(series, episodes).tolist() == [True, False, True, False, False]
    assert calm_buckets(buckets([]), episodes).tolist() == []


def test_quality_lists_the_most_frequent_faults_first():
    figures = QualityFigures(
        START, after(3600), 9, 1, 5, 4, 0.8, None, 0, 2.5,
        [FaultQuality("drop", 1, 1, 2.0), FaultQuality("spike", 3, 2, 1.0), FaultQuality("drift", 1, 1, None)],
    )  # fmt: skip
    told = quality_json(figures)
    assert [fault["fault"] for fault in told["faults"]] == ["spike", "drift", "drop"]
    assert (told["begin"], told["end"], told["precision"]) == (START_MS, START_MS + 3_600_000, None)
    json.dumps(told, allow_nan=False)


# -- a catch

INJECTED = Injected("oven-1", "spike", START)


def test_a_fault_that_no_reading_has_yet_is_not_caught():
    told = catch_of(INJECTED, None, None, [row(opened=-30)])
    assert (told["first"], told["caught"], told["delay"], told["anomalies"]) == (None, None, None, [])


def test_the_delay_counts_from_the_first_reading_with_the_fault():
    told = catch_of(INJECTED, after(2), after(9), [row(2, opened=8), row(1, opened=5.5, cleared=9)])
    assert told["delay"] == 3.5
    assert told["caught"]["id"] == str(UUID(int=1))
    assert [one["open"] for one in told["anomalies"]] == [False, True]


def test_an_episode_from_before_knew_nothing_of_it():
    told = catch_of(INJECTED, after(1), after(2), [row(1, opened=-0.5), row(2, opened=1)])
    assert told["caught"]["id"] == str(UUID(int=2))
    assert told["delay"] == 0.0


def test_a_first_reading_before_the_answer_of_the_command_counts():
    told = catch_of(INJECTED, after(-1), after(2), [row(1, opened=-1)])
    assert told["delay"] == 0.0


# -- where a live diagram ends


@pytest.mark.parametrize(
    ("newest", "now", "end"),
    [
        (0, 2, 2),  # a moment ago: what is silent moves out
        (0, 299, 299),
        (0, 301, 0.001),  # long ago: history stays in sight
        (60, 0, 60.001),  # a clock ahead, or virtual time
    ],
)
def test_a_live_diagram_ends_now_unless_the_readings_are_of_another_time(newest, now, end):
    assert end_of(after(newest), after(now), timedelta(minutes=5)) == after(end)
