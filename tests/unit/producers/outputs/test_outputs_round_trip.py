"""What an output writes, replay reads back: the same readings, without options."""

import itertools
import struct
from threading import Event

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from producers_fakes import NOW_US, FakeClock, FakePublisher

from producers.batches import ReadingBatch, SeriesTable
from producers.encode import ReadingEncoder
from producers.options import ReplayOptions
from producers.outputs import open_output
from producers.outputs.avro_blocks import BLOCK_BYTES
from producers.outputs.lines import CSV, JSONL, Lines
from producers.replay.readings import file_readings, replay_readings
from producers.replay.rows import MAX_ID_BYTES
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.dead_letters import TimeBounds
from schemas.readings import Reading

NAMES = ["out.csv", "out.jsonl", "out.avro", "out.csv.gz", "out.ndjson.gz"]
START_US = 1_700_000_000_000_000

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    lambda text: text == text.strip() and len(text.encode()) <= MAX_ID_BYTES
)
# Repr's own forms, the short decimals of sensors, and everything else.
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**15), 10**15).flatmap(lambda n: st.integers(0, 12).map(lambda k: n / 10**k)),
    st.sampled_from(
        [0.0, -0.0, 1e-4, 9.999e-5, 1e15, 999999999999999.9, 1e16, 5e-324, 1.7976931348623157e308]
    ),
)
READINGS = st.builds(Reading, IDS, IDS, st.integers(0, NOW_US), VALUES, st.none() | IDS)


def batch_of(readings, table):
    return ReadingBatch.of(
        [table.series(reading.device_id, reading.metric) for reading in readings],
        [reading.time for reading in readings],
        [reading.value for reading in readings],
        [table.fault(reading.fault) for reading in readings],
    )


def exactly(readings):
    """Readings with their values as bits: 0.0 is not -0.0."""
    return [(r.device_id, r.metric, r.time, struct.pack("<d", r.value), r.fault) for r in readings]


def a_stream(devices, seconds):
    """Every device's two metrics once a second, in batches of ten seconds; values short and long."""
    table, random = SeriesTable(), np.random.default_rng(7)
    for number in range(devices):
        for metric in ("pressure", "temperature"):
            table.series(f"pump-{number:03}", metric)
    table.fault("spike")
    batches = []
    for second in range(0, seconds, 10):
        series = np.tile(np.arange(len(table)), 10)
        time = START_US + second * 1_000_000 + np.repeat(np.arange(10), len(table)) * 1_000_000 + series * 97
        value = random.normal(45.0, 3.0, len(series))
        value[::2] = np.round(value[::2], 4)
        fault = np.where(random.random(len(series)) < 0.01, 0, -1)
        batches.append(ReadingBatch(series, time, value, fault))
    return table, batches


def written(path, groups):
    table = SeriesTable()
    with open_output(path, table, overwrite=True) as output:
        for group in groups:
            output.publish(batch_of(group, table), 0)
        assert output.acknowledged == sum(map(len, groups))
    return path


@pytest.mark.parametrize("name", NAMES)
@given(groups=st.lists(st.lists(READINGS, max_size=6), max_size=4))
def test_any_readings_come_back(tmp_path_factory, name, groups):
    path = written(tmp_path_factory.mktemp("round") / name, groups)
    readings = [reading for group in groups for reading in group]
    if readings:
        assert exactly(file_readings(path, ReplayOptions(), NOW_US)) == exactly(readings)


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_comes_back(tmp_path, name):
    table, batches = a_stream(50, 60)
    path = tmp_path / name
    with open_output(path, table) as output:
        for batch in batches:
            output.publish(batch, 0)
    messages = [
        message for batch in batches for message in ReadingEncoder(table, Codec(Catalogue())).encode(batch)
    ]
    publisher = FakePublisher()
    clock = FakeClock()
    summary = replay_readings(
        path,
        ReplayOptions(),
        publisher,
        Codec(Catalogue()),
        clock,
        topic="readings",
        bounds=TimeBounds(),
        stop=Event(),
    )
    assert [message.value for message in publisher.sent] == messages
    assert summary.produced == len(messages) == 6000
    assert summary.notes == []
    assert summary.skipped == 0


def test_faults_that_come_late_in_a_file_are_kept(tmp_path):
    readings = [Reading("a", "m", START_US + i, 1.0, "spike" if i == 500 else None) for i in range(501)]
    for name in NAMES:
        path = written(tmp_path / name, [readings])
        assert list(file_readings(path, ReplayOptions(), NOW_US))[-1].fault == "spike"


@given(st.lists(VALUES, min_size=1, max_size=50))
def test_values_are_written_as_python_writes_them(values):
    table = SeriesTable()
    readings = [Reading("a", "m", START_US, value) for value in values]
    (text,) = Lines(table, CSV).rows(batch_of(readings, table))
    assert bytes(text).decode().splitlines() == [
        f"a,m,2023-11-14T22:13:20.000000Z,{value!r}," for value in values
    ]


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
        (1_709_251_199_999_999, "2024-02-29T23:59:59.999999Z"),
        (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00.000000Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_times_are_iso_8601(time, text):
    table = SeriesTable()
    (line,) = Lines(table, JSONL).rows(batch_of([Reading("a", "m", time, 1.5)], table))
    assert (
        bytes(line).decode() == f'{{"device_id":"a","metric":"m","time":"{text}","value":1.5,"fault":null}}\n'
    )


@given(st.lists(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999), min_size=1))
def test_times_are_numpys(times):
    table = SeriesTable()
    (lines,) = Lines(table, CSV).rows(batch_of([Reading("a", "m", time, 1.5) for time in times], table))
    expected = np.datetime_as_string(np.array(times, "M8[us]"))
    assert [line.split(",")[2] for line in bytes(lines).decode().splitlines()] == [f"{t}Z" for t in expected]


def test_avro_files_are_fastavros(tmp_path):
    """Another reader takes them, in blocks of a bounded size, and the same readings give the same bytes."""
    table, batches = a_stream(500, 100)
    batch = ReadingBatch(
        *(
            np.concatenate([getattr(b, name) for b in batches])
            for name in ("series", "time", "value", "fault")
        )
    )
    paths = [tmp_path / "one.avro", tmp_path / "two.avro"]
    for path, cuts in zip(paths, ([0, 100_000], [0, 1, 30_000, 100_000]), strict=True):
        with open_output(path, table) as output:
            for start, end in itertools.pairwise(cuts):
                output.publish(batch.rows(start, end), 0)
    for path in paths:
        with path.open("rb") as file:
            blocks = list(fastavro.block_reader(file))
            assert all(block.size <= 2 * BLOCK_BYTES for block in blocks)
            records = [record for block in blocks for record in block]
        assert len(records) == len(batch) == 100_000
        assert [record["value"] for record in records] == batch.value.tolist()
        assert records[0]["time"].timestamp() * 1e6 == batch.time[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_readings_give_the_same_file(tmp_path, name):
    readings = [Reading("a", "m", START_US + i, i / 7) for i in range(100)]
    (tmp_path / "other").mkdir()
    assert (
        written(tmp_path / name, [readings]).read_bytes()
        == written(tmp_path / "other" / name, [readings]).read_bytes()
    )
