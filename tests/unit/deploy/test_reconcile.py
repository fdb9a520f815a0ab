"""The reconciliation: whatever is missing, doubled or repeated, it is counted exactly and named."""

from uuid import UUID, uuid4

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deploy.reconcile import NAMED, Evidence, Ledger, StoredAnomaly, judge
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import TimeBounds
from schemas.readings import Reading

CODEC = Codec(Catalogue())
NOW_MS = 1_700_000_000_000


class FakeDatabase:
    """Rows as a set of (device, metric, time)."""

    def __init__(self, rows):
        self.rows = set(rows)

    def times(self, series):
        first, last = series.times[0], series.times[-1]
        return np.array(
            sorted(
                t
                for d, m, t in self.rows
                if (d, m) == (series.device_id, series.metric) and first <= t <= last
            ),
            np.int64,
        )

    def digests(self, series):
        return [(len(times), int(times.sum())) for times in map(self.times, series)]


def key(reading):
    return reading.device_id, reading.metric, reading.time


def ledger_of(by_partition):
    """partition -> readings, or bytes that are none; offsets from 100."""
    ledger = Ledger()
    for partition, messages in by_partition.items():
        values = [m if isinstance(m, bytes) else CODEC.encode_reading(m) for m in messages]
        columns = decode_readings(values, np.full(len(values), NOW_MS, np.int64), CODEC, TimeBounds())
        ledger.add(partition, np.arange(100, 100 + len(values)), columns)
    return ledger


def evidence(by_partition, rows, **other):
    ledger = ledger_of(by_partition)
    given_evidence = {
        "ledger": ledger,
        "acknowledged": ledger.messages,
        "processed": dict(ledger.valid),
        "stored": FakeDatabase(rows),
        "dead_letters": {("readings", partition, offset) for partition, offset in ledger.invalid_places},
        "readings_topic": "readings",
        "opened": set(),
        "anomalies": [],
    }
    return Evidence(**{**given_evidence, **other})


def readings(count, device="d", metric="m", start=1_000_000):
    return [Reading(device, metric, start + i * 1_000_000, float(i)) for i in range(count)]


def test_a_run_in_which_all_is_well():
    some, more = readings(5), readings(4, device="e")
    verdict = judge(evidence({0: some, 3: more}, map(key, some + more)))
    assert verdict.good
    assert verdict.as_json() == {
        "readings": {"produced": 9, "processed": 9, "stored": 9},
        "anomalies": {"opened": 0, "stored": 0},
        "dead_letters": 0,
        "lost": 0,
        "duplicated": 0,
        "latency_ms": {"p50": None, "p99": None},
    }


def test_an_empty_run_is_well():
    assert judge(evidence({}, [])).good


def test_a_reading_that_is_not_stored_is_named():
    some = readings(5)
    verdict = judge(evidence({2: some}, [key(r) for r in some if r.time != 3_000_000]))
    assert (verdict.stored, verdict.lost, verdict.duplicated) == (4, 1, 0)
    assert verdict.problems == ("d m at 1970-01-01T00:00:03Z (partition 2, offset 102) is not stored",)


def test_rows_of_other_runs_between_are_no_problem():
    some = readings(5)
    other = ("d", "m", 2_500_000)
    assert judge(evidence({0: some}, [*map(key, some), other])).good
    # as many rows as should be, but not the right ones
    verdict = judge(evidence({0: some}, [*map(key, some[:2]), other, *map(key, some[3:])]))
    assert verdict.lost == 1


def test_a_repeated_reading_is_one_row_and_processed_twice():
    some = readings(3)
    verdict = judge(evidence({0: [*some, *some]}, map(key, some)))
    assert verdict.good
    assert (verdict.produced, verdict.processed, verdict.stored) == (6, 6, 3)


def test_what_the_processor_missed_or_took_twice():
    some = readings(5)
    missed = judge(evidence({0: some}, map(key, some), processed={0: 3}))
    assert (missed.lost, missed.duplicated, missed.good) == (2, 0, False)
    twice = judge(evidence({0: some}, map(key, some), processed={0: 6}))
    assert (twice.lost, twice.duplicated, twice.good) == (0, 1, False)
    unseen = judge(evidence({0: some}, map(key, some), processed={0: None}))
    assert not unseen.good
    assert "no processor told its counts" in unseen.problems[0]


def test_a_reading_neither_processed_nor_stored_is_one_lost_reading():
    some = readings(5)
    assert judge(evidence({0: some}, map(key, some[:4]), processed={0: 4})).lost == 1


def test_dead_letters_count_by_where_they_came_from():
    some = readings(2)
    by_partition = {1: [some[0], b"rubbish", some[1], b""]}
    verdict = judge(evidence(by_partition, map(key, some)))
    assert verdict.good
    assert (verdict.produced, verdict.processed, verdict.stored, verdict.dead_letters) == (4, 2, 2, 2)
    unsent = judge(evidence(by_partition, map(key, some), dead_letters={("readings", 1, 101)}))
    assert unsent.lost == 1
    assert "partition 1, offset 103" in unsent.problems[0]


def test_acknowledged_and_not_in_the_topic():
    some = readings(2)
    verdict = judge(evidence({0: some}, map(key, some), acknowledged=5))
    assert (verdict.produced, verdict.lost) == (5, 3)


def test_anomalies_and_their_latency():
    stored, missing = uuid4(), UUID(int=7)
    verdict = judge(evidence({}, [], opened={stored, missing}, anomalies=[StoredAnomaly(stored, 120.04)]))
    assert (verdict.opened, verdict.anomalies_stored, verdict.p50_ms, verdict.p99_ms) == (2, 1, 120.0, 120.0)
    assert verdict.problems == (f"anomaly {missing} is not stored",)
    old = judge(evidence({}, [], opened={stored}, anomalies=[StoredAnomaly(stored, None)]))
    assert old.good
    assert old.p50_ms is None


def test_no_more_problems_are_named_than_people_read():
    verdict = judge(evidence({0: readings(50)}, []))
    assert len(verdict.problems) == NAMED
    assert verdict.unnamed == 50 - NAMED
    assert verdict.lost == 50


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y"]), st.integers(0, 30), st.integers(0, 2)),
        max_size=60,
    ),
    st.data(),
)
def test_exactly_what_was_taken_away_is_missing(sent, data):
    by_partition: dict[int, list[Reading]] = {}
    for device, metric, second, partition in sent:
        by_partition.setdefault(partition, []).append(Reading(device, metric, second * 1_000_000, 0.0))
    keys = sorted({key(r) for some in by_partition.values() for r in some})
    gone = data.draw(st.sets(st.sampled_from(keys))) if keys else set()
    verdict = judge(evidence(by_partition, set(keys) - gone))
    assert verdict.lost == len(gone)
    assert verdict.stored == len(keys) - len(gone)
    assert verdict.good == (not gone)
