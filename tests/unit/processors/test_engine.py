"""The engine of a partition: what it says must depend on the readings in order and on nothing else."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.engine.batch import ReadingBatch
from processors.engine.partition import PartitionEngine
from processors.engine.record import StateRecordError, pack, unpack
from processors.engine.series_index import SeriesName
from processors.engine.settings import DeviationSettings, Sides
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import DeadLetterReason, TimeBounds
from schemas.readings import AnomalyState, Reading

SECOND = 1_000_000
CODEC = Codec(Catalogue())
SETTINGS = DeviationSettings(window_us=60 * SECOND, panes=6, k=4.0, minimum_readings=10)
START = 1_700_000_000 * SECOND


def batch(readings, first_offset=0):
    values = [CODEC.encode_reading(r) if isinstance(r, Reading) else r for r in readings]
    stamps = np.full(len(values), 4_000_000_000_000, np.int64)
    return ReadingBatch(
        np.arange(first_offset, first_offset + len(values), dtype=np.int64),
        stamps,
        decode_readings(values, stamps, CODEC, TimeBounds()),
    )


def apply_in(engine, readings, cuts):
    """Apply readings cut into batches at `cuts`; all anomalies."""
    edges = [0, *sorted(cuts), len(readings)]
    anomalies = []
    for begin, end in itertools.pairwise(edges):
        anomalies += engine.apply(batch(readings[begin:end], begin)).anomalies
    return anomalies


def noisy(count, *, device="d", metric="m", step=SECOND, seed=1, outliers=()):
    rng = random.Random(seed)
    return [
        Reading(
            device,
            metric,
            START + i * step,
            50 + rng.gauss(0, 1) + (30 if i in outliers else 0),
            "spike" if i in outliers else None,
        )
        for i in range(count)
    ]


def test_a_deviation_opens_one_anomaly_and_its_end_clears_it():
    opened, cleared = apply_in(PartitionEngine(SETTINGS), noisy(60, outliers={40, 41}), [])
    assert (opened.state, cleared.state) == (AnomalyState.OPENED, AnomalyState.CLEARED)
    assert opened.anomaly_id == cleared.anomaly_id
    assert opened.opened_at == cleared.opened_at == START + 40 * SECOND
    assert cleared.cleared_at == START + 42 * SECOND
    assert (opened.readings, cleared.readings) == (1, 2)
    assert opened.fault == cleared.fault == "spike"
    assert opened.lower < opened.mean < opened.upper < opened.value
    assert opened.score == pytest.approx((opened.value - opened.mean) / opened.std)


def test_mean_and_std_are_those_of_the_window_before_the_reading():
    readings = noisy(200, outliers={150})
    (opened, _) = apply_in(PartitionEngine(SETTINGS), readings, [])
    newest_pane = readings[150].time // SETTINGS.pane_us
    window = [
        r.value
        for r in readings[:150]
        if newest_pane - SETTINGS.panes < r.time // SETTINGS.pane_us <= newest_pane
    ]
    assert opened.mean == pytest.approx(np.mean(window), rel=1e-12)
    assert opened.std == pytest.approx(np.std(window, ddof=1), rel=1e-12)


def test_a_warming_series_raises_nothing():
    engine = PartitionEngine(SETTINGS)
    assert apply_in(engine, noisy(9, outliers={3, 7, 8}), []) == []
    assert engine.view(SeriesName("d", "m")).state == "WARMING"
    apply_in(engine, noisy(30), [])
    assert engine.view(SeriesName("d", "m")).state == "WATCHED"


@pytest.mark.parametrize(
    ("sides", "expected"), [(Sides.ABOVE, [40]), (Sides.BELOW, [50]), (Sides.BOTH, [40, 50])]
)
def test_only_the_chosen_sides_count(sides, expected):
    readings = noisy(60, outliers={40})
    readings[50] = Reading("d", "m", readings[50].time, 20.0)
    engine = PartitionEngine(DeviationSettings(60 * SECOND, 6, 4.0, 10, sides))
    opened = [a for a in apply_in(engine, readings, []) if a.state is AnomalyState.OPENED]
    assert [(a.opened_at - START) // SECOND for a in opened] == expected


def test_a_new_level_is_accepted_after_a_window():
    readings = noisy(60) + [Reading("d", "m", START + (60 + i) * SECOND, 80.0 + i % 3) for i in range(200)]
    engine = PartitionEngine(SETTINGS)
    events = apply_in(engine, readings, [])
    assert [a.state for a in events] == [AnomalyState.OPENED, AnomalyState.CLEARED]
    assert events[1].cleared_at - events[0].opened_at <= SETTINGS.window_us
    assert engine.view(SeriesName("d", "m")).mean == pytest.approx(81, abs=0.1)


READINGS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 300), st.sampled_from([1.0, 1.5, 2.0, 2.2, 40.0])),
    max_size=120,
).map(lambda rows: [Reading(d, "m", START + t * SECOND, v + i * 1e-3) for i, (d, t, v) in enumerate(rows)])


@given(READINGS, st.data())
def test_how_readings_are_cut_into_batches_does_not_show(readings, data):
    cuts = data.draw(st.lists(st.integers(0, len(readings)), max_size=8))
    whole, pieces = PartitionEngine(SETTINGS), PartitionEngine(SETTINGS)
    assert apply_in(whole, readings, []) == apply_in(pieces, readings, cuts)
    for name in whole.index.names:
        assert records(whole, name) == records(pieces, name)


def records(engine, name):
    number = engine.index.get(name)
    return pack(engine.columns, np.array([number]), engine.open_faults, engine.settings)


@given(READINGS, st.data())
def test_readings_a_series_has_had_change_nothing(readings, data):
    """After a crash readings come again from an earlier offset: states and anomalies end the same."""
    crash = data.draw(st.integers(0, len(readings)))
    again = data.draw(st.integers(0, crash))
    undisturbed, crashed = PartitionEngine(SETTINGS), PartitionEngine(SETTINGS)
    expected = apply_in(undisturbed, readings, [])
    got = crashed.apply(batch(readings[:crash])).anomalies
    restored = PartitionEngine(SETTINGS)
    for name in crashed.index.names:
        (record,) = records(crashed, name)
        restored.restore(name, *unpack(record, SETTINGS))
    got += restored.apply(batch(readings[again:], again)).anomalies
    assert got == expected
    assert restored.counts() == undisturbed.counts()


@given(st.lists(st.integers(0, 40), unique=True, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_any_order_within_lateness_gives_the_same_window(seconds, rng):
    readings = [Reading("d", "m", START + s * SECOND, float(s % 7)) for s in seconds]
    shuffled = list(readings)
    rng.shuffle(shuffled)
    lenient = DeviationSettings(window_us=60 * SECOND, panes=6, k=1e300, minimum_readings=2)
    one, other = PartitionEngine(lenient), PartitionEngine(lenient)
    apply_in(one, readings, [])
    apply_in(other, shuffled, [])
    a, b = one.view(SeriesName("d", "m")), other.view(SeriesName("d", "m"))
    assert a.window_readings == b.window_readings == len(readings)
    assert a.mean == pytest.approx(b.mean, rel=1e-12)
    assert (a.std is None) == (b.std is None)
    assert a.std is None or a.std == pytest.approx(b.std, rel=1e-9, abs=1e-12)
    assert (a.last_time, a.last_value, a.late, a.repeated) == (b.last_time, b.last_value, b.late, b.repeated)


def test_a_repeated_reading_counts_once_and_an_old_one_is_not_scored():
    engine = PartitionEngine(SETTINGS)
    readings = noisy(100)
    apply_in(
        engine, [*readings, readings[99], readings[60], Reading("d", "m", START - 3600 * SECOND, 999.0)], []
    )
    view = engine.view(SeriesName("d", "m"))
    assert (view.readings, view.repeated, view.late, view.episodes) == (100, 2, 1, 0)


def test_a_second_replay_of_everything_raises_nothing_new():
    engine = PartitionEngine(SETTINGS)
    readings = noisy(500, outliers={100, 300, 498})
    first = apply_in(engine, readings, [])
    assert len({a.anomaly_id for a in first}) == 3
    assert engine.apply(batch(readings, 500)).anomalies == []
    assert engine.view(SeriesName("d", "m")).readings == 500


def test_what_is_no_reading_is_rejected_with_its_reason_and_the_rest_goes_on():
    good = noisy(3)
    applied = PartitionEngine(SETTINGS).apply(
        batch(
            [
                good[0],
                None,
                b"",
                b"\x00\x00",
                b"\x01abcdefgh",
                Reading("d", "m", START, float("nan")),
                good[1],
            ]
        )
    )
    assert [(bad.row, bad.reason) for bad in applied.rejected] == [
        (1, DeadLetterReason.NULL_VALUE),
        (2, DeadLetterReason.TOO_SHORT),
        (3, DeadLetterReason.TOO_SHORT),
        (4, DeadLetterReason.BAD_MAGIC),
        (5, DeadLetterReason.NON_FINITE_VALUE),
    ]


@settings(max_examples=20)
@given(st.sets(st.tuples(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=5)), max_size=60))
def test_every_series_has_a_state_of_its_own(names):
    usable = [n for n in names if "\0" not in n[0] + n[1]]
    readings = [Reading(d, m, START, float(i)) for i, (d, m) in enumerate(usable)]
    engine = PartitionEngine(SETTINGS)
    apply_in(engine, readings, [len(readings) // 2])
    assert len(engine) == len(usable)
    for i, (device, metric) in enumerate(usable):
        assert engine.view(SeriesName(device, metric)).last_value == float(i)


def test_many_series_survive_the_index_growing():
    readings = [Reading(f"device-{i}", "m", START, float(i)) for i in range(5000)]
    engine = PartitionEngine(SETTINGS)
    apply_in(engine, readings, range(0, 5000, 700))
    assert len(engine) == 5000
    assert engine.view(SeriesName("device-4321", "m")).last_value == 4321.0


def test_another_window_keeps_all_but_the_window():
    engine = PartitionEngine(SETTINGS)
    apply_in(engine, noisy(60, outliers={59}), [])
    name = SeriesName("d", "m")
    (record,) = records(engine, name)
    other = DeviationSettings(window_us=90 * SECOND, panes=3, minimum_readings=10)
    changed = PartitionEngine(other)
    changed.restore(name, *unpack(record, other))
    view = changed.view(name)
    assert (view.state, view.window_readings, view.readings) == ("WARMING", 0, 60)
    assert view.open_anomaly.fault == "spike"


@given(st.binary(max_size=40))
def test_foreign_state_records_are_refused(record):
    with pytest.raises(StateRecordError):
        unpack(record, SETTINGS)
