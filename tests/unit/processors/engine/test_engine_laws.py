"""What holds of every log, every preset and every crash: the result depends on the readings in order, on nothing else."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.engine.book import OneProfile
from processors.engine.channels import QUALITY_NAMES
from processors.engine.partition import anomaly_id
from processors.engine.series_index import SeriesName
from processors.partition import Partition
from schemas.readings import AnomalyState
from tests.support.engines import PRESETS, QUICK, all_records, apply_in, batch, engine_of, judged_in
from tests.unit.processors.engine.engine_stories import STORIES, Story

every_preset = pytest.mark.parametrize("profile", PRESETS.values(), ids=PRESETS)
CUTS = st.lists(st.integers(0, 400), max_size=8)


def within(cuts, readings):
    return sorted({min(cut, len(readings)) for cut in cuts})


@every_preset
@settings(max_examples=60)
@given(story=STORIES, cuts=CUTS)
def test_how_readings_are_cut_into_batches_does_not_show(profile, story, cuts):
    readings = story.readings
    whole, pieces = engine_of(profile), engine_of(profile)
    expected, q = judged_in(whole, readings)
    got, q_of_pieces = judged_in(pieces, readings, within(cuts, readings))
    assert got == expected
    assert q_of_pieces.tobytes() == q.tobytes()
    assert all_records(pieces) == all_records(whole)
    assert pieces.clock == whole.clock


@every_preset
@settings(max_examples=15)
@given(story=STORIES)
def test_one_by_one_is_the_same_as_all_at_once(profile, story):
    whole, single = engine_of(profile), engine_of(profile)
    expected, q = judged_in(whole, story.readings)
    got, q_of_single = judged_in(single, story.readings, range(1, len(story.readings)))
    assert got == expected
    assert q_of_single.tobytes() == q.tobytes()
    assert all_records(single) == all_records(whole)


class Log:
    """A partition's life with checkpoints, crashes and restores; what it said, and its changelog."""

    def __init__(self, profile, readings):
        self.book = OneProfile(profile)
        self.readings = readings
        self.said = {}
        self.changelog = []
        self.partition = Partition(self.book)
        self.partition.begin(0, None)

    def apply(self, end):
        begin = self.partition.next_offset
        if end <= begin:
            return
        for anomaly in self.partition.apply(batch(self.readings[begin:end], begin), end).anomalies:
            known = self.said.setdefault((anomaly.anomaly_id, anomaly.state), anomaly)
            assert known == anomaly, "the same step of an episode must have the same content"

    def checkpoint(self):
        writes = self.partition.checkpoint()
        self.changelog += [*((key, None) for key in writes.obsolete), *writes.states, writes.marker]
        self.partition.closed(writes)

    def crash(self, written, back):
        """Die amid a checkpoint of which the states numbered `written` got out, and begin `back` before the marker."""
        torn = self.partition.checkpoint()
        self.changelog += [state for number, state in enumerate(torn.states) if number in written]
        self.partition = Partition(self.book)
        for key, value in self.changelog:
            self.partition.restored(key, value)
        start = max(0, self.partition.reached - back)
        self.partition.begin(start, start)


@every_preset
@settings(max_examples=80)
@given(
    story=STORIES,
    batches=CUTS,
    checkpoints=CUTS,
    crash_at=st.integers(0, 400),
    written=st.sets(st.integers(0, 3)),
    back=st.integers(0, 60),
)
def test_a_crash_at_any_reading_changes_nothing(
    profile, story, batches, checkpoints, crash_at, written, back
):
    readings, end = story.readings, len(story.readings)
    undisturbed = engine_of(profile)
    expected = {(a.anomaly_id, a.state): a for a in apply_in(undisturbed, readings)}
    log = Log(profile, readings)
    closing = within(checkpoints, readings)
    for stop in within([*batches, *checkpoints, crash_at], readings):
        if stop > crash_at:
            break
        log.apply(stop)
        if stop in closing and stop < crash_at:
            log.checkpoint()
    log.crash(written, back)
    for stop in [*within(batches, readings), end]:
        log.apply(stop)
    assert log.said == expected
    assert all_records(log.partition.engine) == all_records(undisturbed)
    assert log.partition.engine.clock == undisturbed.clock
    assert log.partition.engine.counts() == undisturbed.counts()


@pytest.mark.parametrize("back", [0, 30])
def test_a_crash_while_a_device_is_silent(back):
    """Its state was last changed by others' readings: that it is missed is known again, and not told anew."""
    story = Story([("noise", 0, seed) for seed in range(3)], 100, [(2, 40, "gap", 30)])
    readings = story.readings
    undisturbed = engine_of(QUICK)
    expected = {(a.anomaly_id, a.state): a for a in apply_in(undisturbed, readings)}
    assert [a.channel for a in expected.values()].count("gap") == 2
    for crash_at in range(100, 240, 7):
        log = Log(QUICK, readings)
        for stop in range(9, crash_at, 9):
            log.apply(stop)
            log.checkpoint()
        log.apply(crash_at)
        log.crash(set(), back)
        log.apply(len(readings))
        assert log.said == expected
        assert all_records(log.partition.engine) == all_records(undisturbed)


@every_preset
@settings(max_examples=40)
@given(story=STORIES)
def test_everything_again_raises_nothing_new(profile, story):
    """A replay into the same state: all readings come again with offsets behind the last."""
    engine = engine_of(profile)
    apply_in(engine, story.readings)
    before, counts = all_records(engine), engine.counts()
    assert apply_in(engine, story.readings) == []
    assert all_records(engine) == before
    assert engine.counts() == counts


@every_preset
@settings(max_examples=60)
@given(story=STORIES)
def test_every_episode_is_well_formed(profile, story):
    """One open episode per series and slot, opened once, cleared once, after it opened; and it says what was expected."""
    engine = engine_of(profile)
    open_now = {}
    seen = Counter()
    for anomaly in apply_in(engine, story.readings):
        name = SeriesName(anomaly.device_id, anomaly.metric)
        assert anomaly.anomaly_id == anomaly_id(name, anomaly.channel, anomaly.opened_at)
        slot = (name, slot_of(anomaly.channel))
        seen[anomaly.anomaly_id, anomaly.state] += 1
        if anomaly.state is AnomalyState.OPENED:
            assert slot not in open_now
            open_now[slot] = anomaly
        else:
            first = open_now.pop(slot)
            assert first.anomaly_id == anomaly.anomaly_id
            assert first.opened_at <= anomaly.cleared_at
            assert anomaly.score >= first.score
            assert anomaly.readings >= first.readings
        assert 0.5 <= anomaly.score <= 1.0
        assert anomaly.kind
        assert anomaly.reason
        assert anomaly.lower <= anomaly.upper
        assert anomaly.expected is None or anomaly.lower <= anomaly.expected <= anomaly.upper
    assert set(seen.values()) <= {1}
    views = [engine.view(name) for name in engine.index.names]
    assert sorted(a.anomaly_id for view in views for a in view.open_anomalies) == sorted(
        a.anomaly_id for a in open_now.values()
    )


def slot_of(channel):
    if channel == "gap":
        return "gap"
    return "quality" if channel in QUALITY_NAMES else "value"
