"""Faults against episodes: what is detected, what is a false alarm, and what does not count."""

import io
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from deploy.quality.model import DAY_US, MINUTE_US, Episode, FaultEvent, Rules, Watched
from deploy.quality.report import as_json, one_line, table
from deploy.quality.scoring import OTHER_METRIC, score, wilson

RULES = Rules()
WATCHED = Watched("d", 0, 0, 3 * DAY_US, MINUTE_US)
NOON = DAY_US + DAY_US // 2
"""Of the second day: the first is the warm-up."""


def at(minutes):
    return NOON + round(minutes * MINUTE_US)


def fault(name, begin, end, device="d", metrics=None):
    return FaultEvent(device, name, at(begin), at(end), None if metrics is None else frozenset(metrics))


def episode(minute, kind="deviation", device="d", metric="m", right=None):
    return Episode(device, metric, kind, at(minute), None, right)


def scored(events, episodes, watched=(WATCHED,), rules=RULES):
    return score(events, episodes, watched, rules)


def test_a_fault_found_and_a_false_alarm():
    quality = scored([fault("drift", 0, 60)], [episode(25), episode(200)])
    assert as_json(quality) == {
        "recall": 1.0,
        "precision": 0.5,
        "false_alarms_per_device_day": 0.5,
        "kind_accuracy": 0.0,
        "by_fault": {"drift": {"events": 1, "recall": 1.0, "median_delay_s": 1500.0}},
        "confusion": {"drift": {"deviation": 1}},
        "events": {"total": 1, "detected": 1},
        "alarms": {"total": 2, "true": 1, "false": 1},
        "device_days": 2.0,
    }


@pytest.mark.parametrize(
    ("length", "opened", "found"),
    [
        (60, -0.1, False),  # one that was open before says nothing of the fault
        (60, 0, True),
        (60, 75, True),
        (60, 75.1, False),
        (0, 15, True),  # a single reading: fifteen readings are fifteen minutes
        (0, 15.1, False),
    ],
)
def test_the_stretch_of_a_fault(length, opened, found):
    quality = scored([fault("drift", 0, length)], [episode(opened)])
    assert (quality.detected, quality.true_alarms, quality.false_alarms) == (found, found, not found)


def test_of_a_short_fault_read_often_the_slack_is_short():
    quick = replace(WATCHED, interval_us=250_000)
    assert RULES.slack_of(fault("spike", 0, 0), quick.interval_us) == 15 * 250_000
    assert RULES.slack_of(fault("drift", 0, 3), quick.interval_us) == 3 * MINUTE_US
    assert RULES.slack_of(fault("drift", 0, 300), quick.interval_us) == 15 * MINUTE_US
    assert scored([fault("spike", 0, 0)], [episode(1)], [quick]).false_alarms == 1


def test_faults_that_overlap_share_an_alarm():
    quality = scored([fault("noise", 0, 60), fault("drift", 30, 90)], [episode(40)])
    assert quality.detected == 2
    assert (quality.true_alarms, quality.false_alarms) == (1, 0)
    assert quality.faults["noise"].delays_s == [2400.0]
    assert quality.faults["drift"].delays_s == [600.0]


def test_of_two_faults_after_each_other_the_second_needs_an_alarm_of_its_own():
    events = [fault("spike", 0, 10), fault("stuck", 60, 120)]
    assert scored(events, [episode(5)]).detected == 1
    # In the slack of the first, before the second: it is the first one's.
    late = scored(events, [episode(20)])
    assert (late.faults["spike"].detected, late.faults["stuck"].detected) == (1, 0)
    both = scored(events, [episode(5), episode(70)])
    assert (both.detected, both.precision, both.recall) == (2, 1.0, 1.0)


def test_nothing_detected_has_no_delay():
    said = as_json(scored([fault("stuck", 0, 60)], []))
    assert said["by_fault"] == {"stuck": {"events": 1, "recall": 0.0, "median_delay_s": None}}
    assert (said["recall"], said["precision"], said["kind_accuracy"]) == (0.0, None, None)
    assert said["false_alarms_per_device_day"] == 0.0


def test_no_fault_at_all_has_no_recall():
    quality = scored([], [episode(0), episode(1)])
    assert (quality.recall, quality.precision, quality.kind_accuracy) == (None, 0.0, None)
    assert quality.false_alarms_per_device_day == 1.0


def test_no_device_day_has_no_rate():
    nothing = scored([], [], [replace(WATCHED, until_us=DAY_US)])
    assert (nothing.device_days, nothing.false_alarms_per_device_day) == (0.0, None)
    assert scored([], [], []).false_alarms_per_device_day is None
    Console(file=io.StringIO()).print(table(nothing))


def test_in_the_warm_up_nothing_counts():
    early = FaultEvent("d", "spike", DAY_US - MINUTE_US, DAY_US + MINUTE_US)
    alarms = [
        Episode("d", "m", "spike", DAY_US - 1),
        Episode("d", "m", "spike", DAY_US + 1),
        Episode("d", "m", "spike", 5),
    ]
    quality = scored([early], alarms)
    # The one behind the warm-up is about a fault, though that one does not count itself.
    assert (quality.events, quality.true_alarms, quality.false_alarms) == (0, 1, 0)
    shorter = scored([early], alarms, rules=Rules(warmup_us=DAY_US // 2))
    assert (shorter.detected, shorter.true_alarms) == (1, 2)


def test_the_warm_up_is_each_devices_own():
    late = Watched("e", DAY_US, 0, 3 * DAY_US, MINUTE_US)
    quality = scored([], [episode(0), episode(0, device="e"), episode(0, device="x")], [WATCHED, late])
    assert (quality.false_alarms, quality.device_days) == (1, 3.0)


def test_a_stretch_that_begins_behind_the_warm_up():
    watched = replace(WATCHED, from_us=at(0))
    quality = scored(
        [fault("spike", -5, 5), fault("stuck", 60, 90)], [episode(-1), episode(1), episode(61)], [watched]
    )
    assert (quality.events, quality.true_alarms, quality.false_alarms) == (1, 2, 0)


def test_the_kind_is_that_of_the_first_episode_of_the_faults_own_metrics():
    events = [
        fault("spike", 0, 10, metrics=["m"]),
        fault("stuck", 60, 90, metrics=["m"]),
        fault("noise", 200, 210),
    ]
    episodes = [
        episode(1, "drift", metric="other"),
        episode(2, "spike"),
        episode(3, "drift"),
        episode(61, "stuck", metric="other"),
        episode(201, "spike", metric="other"),
        episode(202, "noise"),
    ]
    quality = scored(events, episodes)
    assert {name: dict(one.kinds) for name, one in quality.faults.items()} == {
        "noise": {"spike": 1},
        "spike": {"spike": 1},
        "stuck": {OTHER_METRIC: 1},
    }
    assert quality.kind_accuracy == pytest.approx(1 / 3)
    assert quality.faults["spike"].delays_s == [60.0]  # of whichever metric


def test_storms_are_ignored_and_their_members_count():
    quality = scored(
        [fault("spike", 0, 10)], [episode(1, "storm"), episode(2, "spike"), episode(500, "storm")]
    )
    assert (quality.true_alarms, quality.false_alarms) == (1, 0)
    assert quality.faults["spike"].delays_s == [120.0]


def test_an_episode_that_was_judged_otherwise_detects_no_fault():
    quality = scored(
        [fault("spike", 0, 10)],
        [episode(1, "missing_data", right=False), episode(300, "missing_data", right=True)],
    )
    assert (quality.detected, quality.true_alarms, quality.false_alarms) == (0, 1, 1)


def test_wilson():
    # Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(29, 29) == pytest.approx((0.8830, 1.0), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def test_people_read_it():
    console = Console(width=90, record=True, file=io.StringIO())
    quality = scored([fault("drift", 0, 60), fault("drift", 300, 360)], [episode(25, "drift"), episode(700)])
    console.print(table(quality))
    said = console.export_text()
    assert "drift       2   50.0%  9%-91%           25m  drift 1" in said
    assert "1 true   1 false   precision 50.0%" in said
    assert "0.500 a device-day   (2.0 device-days)" in said
    assert one_line(as_json(quality)) == ("1 of 2 faults found (50.0%)   false alarms 1 (precision 50.0%)")


minutes = st.integers(-400, 400)
names = st.sampled_from(["spike", "stuck", "drift"])
devices = st.sampled_from(["d", "e"])
faults = st.builds(
    lambda name, begin, length, device: fault(name, begin, begin + length, device),
    names,
    minutes,
    st.integers(0, 120),
    devices,
)
episodes_ = st.builds(episode, minutes, names, devices)


@given(st.lists(faults, max_size=6), st.lists(episodes_, max_size=8), st.integers())
def test_it_is_the_same_in_any_order_and_adds_up(events, episodes, seed):
    watched = [WATCHED, Watched("e", 0, 0, 3 * DAY_US, MINUTE_US)]
    quality = scored(events, episodes, watched)
    mix = random.Random(seed)
    mixed = [mix.sample(one, len(one)) for one in (events, episodes, watched)]
    assert as_json(scored(*mixed)) == as_json(quality)
    assert quality.true_alarms + quality.false_alarms == len(episodes)
    assert quality.events == len(events)
    assert (quality.detected == 0) == (quality.true_alarms == 0)
    for one in quality.faults.values():
        assert sum(one.kinds.values()) == one.detected <= one.events
        low, high = wilson(one.detected, one.events)
        assert 0.0 <= low <= one.recall <= high <= 1.0


@given(st.lists(faults, min_size=1, max_size=5), st.lists(episodes_, max_size=8), episodes_)
def test_one_alarm_more_never_lowers_the_recall(events, episodes, more):
    before, after = scored(events, episodes), scored(events, [*episodes, more])
    if before.recall is not None:
        assert after.recall >= before.recall
