"""Rows as text and Parquet, and the labels of readings: pure."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.options import ReplayOptions
from producers.replay.readings import file_readings
from schemas.dead_letters import TimeBounds
from schemas.readings import Reading
from sinks.export.labels import Labeller
from sinks.export.parquet import ParquetRows
from sinks.export.text import CsvReadings, CsvRows, JsonReadings, JsonRows
from sinks.queries.streaming import READING_COLUMNS

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
LABELLED = (*READING_COLUMNS, "anomaly_id", "anomaly_kind")

# What replay reads as written: it cuts blanks off around names, and an empty fault is none.
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda text: text == text.strip() and not text.startswith("﻿")
)
ROWS = st.lists(
    st.tuples(
        NAMES,
        NAMES,
        st.integers(0, 10**9).map(lambda us: BEGIN + timedelta(microseconds=us)),
        st.floats(-1e150, 1e150, allow_nan=False),
        st.none() | st.sampled_from(["spike", "level_shift", 'a "kind", so']),
    ),
    min_size=1,
    max_size=8,
)
FAR = TimeBounds(max_ahead_us=10**17)


def reading(row):
    return Reading(
        row[0], row[1], (row[2] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1), *row[3:]
    )


def read_back(path):
    return list(file_readings(path, ReplayOptions(), now_us=0, bounds=FAR))


@pytest.mark.parametrize(("encoder", "suffix"), [(CsvReadings, "csv"), (JsonReadings, "jsonl")])
@settings(max_examples=40)
@given(rows=ROWS)
def test_what_is_exported_reads_back_by_replay(encoder, suffix, tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("export") / f"out.{suffix}"
    made = encoder(READING_COLUMNS)
    path.write_bytes(made.head() + made.encode(rows[:3]) + made.encode(rows[3:]))
    assert read_back(path) == [reading(row) for row in rows]


@pytest.mark.parametrize(("encoder", "suffix"), [(CsvReadings, "csv"), (JsonReadings, "jsonl")])
def test_labels_do_not_hinder_a_replay(encoder, suffix, tmp_path):
    rows = [("d", "m", BEGIN, 0.1, None, None, None), ("d", "m", BEGIN, 1e-7, "spike", "id-1", "spike")]
    path = tmp_path / f"out.{suffix}"
    made = encoder(LABELLED)
    path.write_bytes(made.head() + made.encode(rows))
    assert read_back(path) == [reading(row[:5]) for row in rows]
    text = path.read_text()
    assert text.count("id-1") == 1
    if suffix == "csv":
        (_, labelled) = csv.DictReader(io.StringIO(text))
        assert labelled["anomaly_kind"] == "spike"


def test_times_are_utc_with_microseconds_and_values_exact():
    row = ("d", "m", BEGIN.replace(microsecond=7), 0.1 + 0.2, None)
    assert (
        CsvReadings(READING_COLUMNS).encode([row])
        == b"d,m,2026-03-01T00:00:00.000007Z,0.30000000000000004,\n"
    )
    (line,) = JsonReadings(READING_COLUMNS).encode([row]).splitlines()
    assert json.loads(line)["value"] == 0.1 + 0.2
    assert b'"value":null' in JsonReadings(READING_COLUMNS).encode([(*row[:3], float("nan"), None)])


def test_rows_of_any_columns():
    row = (UUID(int=1), BEGIN, None, 1.5, 3, "a,b", float("inf"))
    columns = tuple("abcdefg")
    (head, line) = (CsvRows(columns).head() + CsvRows(columns).encode([row])).decode().splitlines()
    assert (head, line) == (
        "a,b,c,d,e,f,g",
        '00000000-0000-0000-0000-000000000001,2026-03-01T00:00:00.000000Z,,1.5,3,"a,b",inf',
    )
    assert json.loads(JsonRows(columns).encode([row])) == {
        "a": "00000000-0000-0000-0000-000000000001",
        "b": "2026-03-01T00:00:00.000000Z",
        "c": None,
        "d": 1.5,
        "e": 3,
        "f": "a,b",
        "g": None,
    }


@given(rows=ROWS)
def test_parquet_has_the_very_rows(rows):
    out = io.BytesIO()
    parquet = ParquetRows(READING_COLUMNS, out, ("device_id", "metric", "time"))
    parquet.write(rows[:2])
    if rows[2:]:
        parquet.write(rows[2:])
    parquet.close()
    found = pq.read_table(io.BytesIO(out.getvalue()))
    assert [tuple(row.values()) for row in found.to_pylist()] == rows
    assert str(found.schema.field("time").type) == "timestamp[us, tz=UTC]"


def test_parquet_of_nothing_is_a_file_with_columns():
    out = io.BytesIO()
    ParquetRows(LABELLED, out).close()
    assert pq.read_table(io.BytesIO(out.getvalue())).column_names == list(LABELLED)


def at(minutes):
    return BEGIN + timedelta(minutes=minutes)


def test_a_reading_has_the_label_of_the_episode_that_opened_first():
    episodes = [
        ("a", "m", at(1), at(3), UUID(int=1), "spike"),
        ("b", "m", at(2), None, UUID(int=2), "drift"),
        ("b", "m", at(3), at(4), UUID(int=3), "spike"),
        ("c", "m", at(0), None, UUID(int=4), "gap"),
        ("type:oven", "*", at(0), None, UUID(int=5), "storm"),
    ]
    labeller = Labeller(iter([episodes[:2], episodes[2:]]))
    rows = [(device, "m", at(minute), 0.0, None) for device in ("a", "b", "d") for minute in range(5)]
    found = labeller.labels(rows[:7]) + labeller.labels(rows[7:])
    kinds = [kind for _, kind in found]
    assert kinds == [
        None,
        "spike",
        "spike",
        None,
        None,
        *[None, None, "drift", "drift", "drift"],
        *[None] * 5,
    ]
    assert found[1][0] == str(UUID(int=1))


EPISODES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("mn"), st.integers(0, 9), st.none() | st.integers(0, 9)),
    max_size=8,
)


@given(
    EPISODES,
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("mn"), st.integers(0, 9)), max_size=20),
)
def test_labels_are_those_of_a_plain_search(found, times):
    episodes = [
        (device, metric, at(begin), None if end is None else at(end), UUID(int=number), f"kind-{number}")
        for number, (device, metric, begin, end) in enumerate(sorted(found, key=lambda one: one[:3]))
    ]
    rows = [(device, metric, at(minute), 0.0, None) for device, metric, minute in sorted(times)]
    expected = [
        next(
            (
                (str(one[4]), one[5])
                for one in episodes
                if one[:2] == row[:2] and one[2] <= row[2] and (one[3] is None or row[2] < one[3])
            ),
            (None, None),
        )
        for row in rows
    ]
    assert Labeller(iter([episodes])).labels(rows) == expected
