"""Many devices at once are told once; what is told does not depend on how the log was cut, or on a crash."""

import itertools
import json
import random

import pytest

from processors.detection.book import RuleBook
from processors.detection.facts import DeviceFacts, KnownDevices
from processors.engine.partition import PartitionEngine
from processors.engine.profile import AlarmLimits, Profile
from processors.engine.storms import KIND, StormLimits, StormWatch
from schemas.readings import AnomalySeverity, AnomalyState, Reading
from tests.support.engines import SECOND, START, batch

FLEET = {f"oven-{i}": DeviceFacts(type="oven", place="Denver" if i < 6 else "Oslo") for i in range(10)}


def engine():
    return PartitionEngine(RuleBook(Profile(alarm=AlarmLimits(warmup=30)), (), KnownDevices(FLEET)))


def fleet(ticks, jump_at, jumping):
    """A reading a second of each oven; those of `jumping` leap at `jump_at`, a second apart, and stay there for ten readings."""
    rng = random.Random(5)
    for tick, device in itertools.product(range(ticks), FLEET):
        begins = jump_at + (jumping.index(device) if device in jumping else 10**9)
        leaps = begins <= tick < begins + 10
        yield Reading(
            device, "temperature", START + tick * SECOND, rng.uniform(49, 51) + (60 if leaps else 0)
        )


def storms(anomalies):
    return [anomaly for anomaly in anomalies if anomaly.kind == KIND]


def test_many_devices_at_once_are_one_storm_of_their_type_and_of_their_place():
    jumping = [f"oven-{i}" for i in range(5)]
    anomalies = engine().apply(batch(list(fleet(900, 100, jumping)))).anomalies
    opened = [a for a in storms(anomalies) if a.state is AnomalyState.OPENED]
    assert sorted(a.device_id for a in opened) == ["place:Denver", "type:oven"]
    for storm in opened:
        assert storm.metric == "*"
        assert storm.severity is AnomalySeverity.CRITICAL
        assert storm.readings == 5
        assert "5 of " in storm.reason
        assert storm.reason.endswith("at once: spike")
    members = [a for a in anomalies if a.storm_id in {storm.anomaly_id for storm in opened}]
    at_once = {a.device_id for a in members if a.opened_at < START + 120 * SECOND}
    assert at_once == {"oven-4"}  # it made the storm; those before it were told already
    over = [a for a in storms(anomalies) if a.state is AnomalyState.CLEARED]
    assert {a.anomaly_id for a in over} == {a.anomaly_id for a in opened}
    assert {a.cleared_at - a.opened_at for a in over} == {(4 + 600) * SECOND}


def test_few_devices_are_no_storm():
    anomalies = engine().apply(batch(list(fleet(300, 100, [f"oven-{i}" for i in range(4)])))).anomalies
    assert {a.device_id for a in anomalies} >= {f"oven-{i}" for i in range(4)}
    assert storms(anomalies) == []


def test_devices_that_nobody_announced_are_in_no_storm():
    unknown = PartitionEngine(RuleBook(Profile(alarm=AlarmLimits(warmup=30)), (), KnownDevices()))
    anomalies = unknown.apply(batch(list(fleet(300, 100, list(FLEET))))).anomalies
    assert {a.device_id for a in anomalies} == set(FLEET)
    assert all(a.storm_id is None for a in anomalies)


@pytest.mark.parametrize("size", [1, 7, 1000, 4001])
def test_how_the_log_is_cut_does_not_show(size):
    readings = list(fleet(900, 100, list(FLEET)))
    whole = engine().apply(batch(readings)).anomalies
    pieces, cut = engine(), []
    for begin in range(0, len(readings), size):
        cut += pieces.apply(batch(readings[begin : begin + size], begin)).anomalies
    assert cut == whole
    assert len(storms(whole)) == 4  # of the type and of Denver, opened and cleared; Oslo has four


def test_a_checkpoint_keeps_them():
    readings = list(fleet(900, 100, list(FLEET)))
    whole = engine().apply(batch(readings)).anomalies
    for at in (1010, 1035, 1060, 5000):
        first, second = engine(), engine()
        got = first.apply(batch(readings[:at])).anomalies
        for number, name in enumerate(first.index.names):
            second.restore(name, first.states[number], first.faults_of(number))
        second.clock = first.clock
        second.storms.load(json.loads(json.dumps(first.storms.dump())))
        got += second.apply(batch(readings[at:], at)).anomalies
        assert got == whole


def test_they_can_be_switched_off():
    watch = StormWatch(StormLimits(on=False))
    for device in FLEET:
        watch.know(device, ["type:oven"])
    (opened, *_) = engine().apply(batch(list(fleet(200, 100, ["oven-1"])))).anomalies
    assert watch.note(opened, ["type:oven"]) == (None, [])


def test_their_limits_are_the_books_and_change_with_it():
    """As when a rules file is changed while it runs."""
    jumping = [f"oven-{i}" for i in range(5)]
    readings = list(fleet(900, 100, jumping))
    book = RuleBook(
        Profile(alarm=AlarmLimits(warmup=30)), (), KnownDevices(FLEET), storms=StormLimits(devices=6)
    )
    watched = PartitionEngine(book)
    assert storms(watched.apply(batch(readings[:1200])).anomalies) == []
    again = PartitionEngine(book)
    again.apply(batch(readings[:500]))
    again.use(RuleBook(Profile(alarm=AlarmLimits(warmup=30)), (), KnownDevices(FLEET)))
    told = storms(again.apply(batch(readings[500:1200], 500)).anomalies)
    assert sorted(a.device_id for a in told) == ["place:Denver", "type:oven"]


def test_a_device_that_moves_belongs_to_its_new_place():
    watch = StormWatch(StormLimits(devices=1, share=1.0))
    watch.know("oven-1", ["place:Denver"])
    watch.know("oven-1", ["place:Oslo"])
    (opened, *_) = engine().apply(batch(list(fleet(200, 100, ["oven-1"])))).anomalies
    _, told = watch.note(opened, ["place:Oslo"])
    assert [storm.reason for storm in told] == ["1 of 1 devices at Oslo at once: spike"]
