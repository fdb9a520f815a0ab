"""The questions' answers, from plain PostgreSQL and the most real server alike."""

from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr

from schemas.errors import InputError
from sinks.queries.anomalies import anomalies_touching, anomaly_of, anomaly_page
from sinks.queries.connection import DatabaseAwayError, Readers
from sinks.queries.devices import (
    OpenAnomalies,
    all_devices,
    device_of,
    devices_version,
    is_unknown,
    latest_readings,
    open_anomalies,
)
from sinks.queries.query import Query
from sinks.queries.readings import reading_page
from sinks.queries.selection import Selection
from sinks.queries.series import abilities_of, newest, oldest, series_buckets
from sinks.queries.statistics import database_statistics
from sinks.queries.streaming import (
    ANOMALY_COLUMNS,
    anomalies_stream_query,
    estimated_rows,
    readings_stream_query,
    stream,
)
from tests.integration.sinks.queries.conftest import HOSTILE

pytestmark = pytest.mark.integration

READINGS = 6 * 2 * 26 * 360


def _all_pages(page, connection, selection, limit):
    """(every row, page by page; sizes of the pages)."""
    rows, sizes, cursor = [], [], None
    while True:
        found = page(connection, selection, limit, cursor)
        rows += found.rows
        sizes.append(len(found.rows))
        cursor = found.next
        if cursor is None:
            return rows, sizes


def test_pages_of_anomalies_give_each_once_newest_first(connection):
    rows, sizes = _all_pages(anomaly_page, connection, Selection(), 7)
    assert sizes == [7, 7, 7, 7, 7, 5]
    assert len({row.anomaly_id for row in rows}) == 40
    assert all(
        (later.opened_at, later.anomaly_id) > (earlier.opened_at, earlier.anomaly_id)
        for later, earlier in pairwise(rows)
    )
    assert {row.unit for row in rows} == {"°C"}


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(states=("OPENED",)), 4),
        (Selection(severities=("CRITICAL", "WARNING")), 26),
        (Selection(kinds=("drift",)), 20),
        (Selection(devices=(HOSTILE,)), 6),
        (Selection(types=("oven",), places=("Hall 2",)), 14),
        (Selection(metrics=("power",)), 0),
        (Selection(search="DROP TABLE"), 6),
        (Selection(search="100%_\\"), 6),
        (Selection(search="%n-_"), 0),
        (Selection(search="NAME 1"), 7),
    ],
    ids=str,
)
def test_anomalies_are_narrowed_by_each_field(connection, selection, count):
    assert len(anomaly_page(connection, selection, 100).rows) == count


def test_anomalies_are_narrowed_by_the_time_they_opened(connection, plant):
    hour = timedelta(hours=1)
    page = anomaly_page(connection, Selection(begin=plant.begin + hour, end=plant.begin + 3 * hour), 100)
    assert [row.opened_at for row in page.rows] == [plant.begin + 2 * hour] * 2 + [plant.begin + hour] * 2


def test_one_anomaly_and_those_that_touch_a_stretch(connection, plant):
    assert anomaly_of(connection, UUID(int=0)).state == "OPENED"
    assert anomaly_of(connection, UUID(int=2**100)) is None
    begin = plant.begin + timedelta(hours=12, minutes=2)
    found = anomalies_touching(connection, "oven-0", "temperature", begin, begin + timedelta(minutes=1))
    # 0 is open since the beginning; 24 opened at 12:00 and was cleared at 12:05.
    assert [row.anomaly_id.int for row in found] == [0x24, 0]


def test_a_cursor_belongs_to_its_question(connection):
    cursor = anomaly_page(connection, Selection(), 5).next
    with pytest.raises(InputError, match="not one of this question's"):
        anomaly_page(connection, Selection(kinds=("spike",)), 5, cursor)
    with pytest.raises(InputError, match="not one of this question's"):
        reading_page(connection, Selection(), 5, cursor)


def test_devices_together_and_one_by_one(connection):
    names = [row.device_id for row in all_devices(connection)]
    assert names == [HOSTILE, *(f"oven-{n}" for n in range(5))]
    assert device_of(connection, HOSTILE).units == {"temperature": "°C", "power": "kW"}
    assert device_of(connection, "nobody") is None
    assert is_unknown(connection, "nobody")
    assert not is_unknown(connection, HOSTILE)
    assert devices_version(connection)[0] == 6


def test_the_newest_readings_of_devices(connection, plant):
    found = latest_readings(connection, ["oven-3", HOSTILE, "nobody"])
    assert [(one.device_id, one.metric) for one in found] == [
        (HOSTILE, "power"),
        (HOSTILE, "temperature"),
        ("oven-3", "power"),
        ("oven-3", "temperature"),
    ]
    assert {one.time for one in found} == {plant.end - timedelta(seconds=10)}
    assert latest_readings(connection, ["oven-3"], since=plant.end) == []


def test_open_episodes_are_counted_by_severity(connection):
    counts = open_anomalies(connection)
    assert counts == {
        "oven-0": OpenAnomalies(info=2),
        "oven-2": OpenAnomalies(critical=1),
        "oven-4": OpenAnomalies(warning=1),
    }
    assert [counts[name].worst for name in sorted(counts)] == ["INFO", "CRITICAL", "WARNING"]
    assert open_anomalies(connection, ["oven-2"]) == {"oven-2": OpenAnomalies(critical=1)}


@pytest.mark.parametrize("pixels", [1, 60, 500, 2000])
def test_a_series_in_the_pixels_of_a_diagram(connection, plant, pixels):
    abilities = abilities_of(connection)
    found = series_buckets(connection, "oven-0", "temperature", plant.begin, plant.end, pixels, abilities)
    assert len(found.time) <= pixels + 1
    assert found.count.sum() == 26 * 360
    assert found.low.min() == pytest.approx(19, abs=1e-3)
    assert found.high.max() == pytest.approx(21, abs=1e-3)
    assert ((found.low <= found.mean) & (found.mean <= found.high)).all()
    assert all((later - earlier) % found.width == timedelta(0) for earlier, later in pairwise(found.time))


def test_few_readings_are_given_one_by_one(connection, plant):
    end = plant.begin + timedelta(minutes=30)
    found = series_buckets(connection, "oven-1", "power", plant.begin, end, 800, abilities_of(connection))
    assert found.width == timedelta(0)
    assert list(found.time) == [plant.begin + n * timedelta(seconds=10) for n in range(180)]
    assert found.labelled.sum() == 10
    abilities = abilities_of(connection)
    assert oldest(connection, "oven-1", "power", abilities) == plant.begin
    assert newest(connection, "oven-1", "power", abilities) == plant.end - timedelta(seconds=10)
    assert oldest(connection, "oven-1", "colour", abilities) is None
    assert newest(connection, "oven-1", "colour", abilities) is None


def test_an_empty_stretch_has_no_buckets(connection, plant):
    abilities = abilities_of(connection)
    found = series_buckets(connection, "nobody", "power", plant.begin, plant.end, 10, abilities)
    assert len(found.time) == len(found.mean) == 0


def test_the_newest_readings_by_pages(connection, plant):
    selection = Selection(devices=("oven-1", "oven-2"), begin=plant.end - timedelta(minutes=2), end=plant.end)
    rows, sizes = _all_pages(reading_page, connection, selection, 9)
    assert sum(sizes) == len({(row.device_id, row.metric, row.time) for row in rows}) == 2 * 2 * 12
    assert [row.time for row in rows] == sorted((row.time for row in rows), reverse=True)
    newest = reading_page(connection, Selection(), 3).rows
    assert [row.time for row in newest] == [plant.end - timedelta(seconds=10)] * 3


@pytest.mark.parametrize("order", ["series", "time"])
def test_an_export_streams_every_reading_in_order(connection, order):
    query = readings_stream_query(Selection(metrics=("power",)), order)
    with closing(stream(connection, query, 10_000)) as blocks:
        sizes, rows = [], []
        for block in blocks:
            sizes.append(len(block))
            rows += block
    assert len(rows) == READINGS // 2
    assert max(sizes) == 10_000
    keys = [
        (row[0].encode(), row[1], row[2]) if order == "series" else (row[2], row[0].encode()) for row in rows
    ]
    assert keys == sorted(keys)
    assert sum(row[4] == "spike" for row in rows) == 10
    assert estimated_rows(connection, query) == pytest.approx(READINGS // 2, rel=0.5)


def test_an_export_of_anomalies_and_one_that_is_left_early(connection):
    query = anomalies_stream_query(Selection(types=("pump",)))
    with closing(stream(connection, query, 5)) as blocks:
        assert len(next(blocks)[0]) == len(ANOMALY_COLUMNS)
    with closing(stream(connection, query, 5)) as blocks:
        assert sum(map(len, blocks)) == 12


def test_the_statistics_of_the_database(connection):
    found = database_statistics(connection)
    assert {table.name for table in found.tables} == {"readings", "devices", "anomalies"}
    assert {table.name: table.rows for table in found.tables}["readings"] == pytest.approx(READINGS, rel=0.2)
    assert (found.devices, found.anomalies, found.open_anomalies) == (6, 40, 4)
    assert found.kinds == {"drift": (20, 0), "spike": (20, 4)}


def test_a_reader_cannot_write(connection):
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("DELETE FROM devices")


def test_a_pool_ends_what_takes_too_long_and_lives_on(plant):
    readers = Readers(SecretStr(plant.url), size=2, timeout_seconds=0.3)
    readers.open()
    try:
        with pytest.raises(DatabaseAwayError, match="too long"), readers.connection() as connection:
            connection.execute("SELECT pg_sleep(60)")
        with readers.connection() as connection:
            assert Query("SELECT 1").rows(connection) == [(1,)]
    finally:
        readers.close()


def test_a_database_that_is_not_there_is_said_to_be(free_tcp_port):
    readers = Readers(
        SecretStr(f"postgresql://nobody@127.0.0.1:{free_tcp_port}/none"), timeout_seconds=1, connect_timeout=1
    )
    readers.open()
    try:
        with pytest.raises(DatabaseAwayError, match="does not answer"), readers.connection():
            pytest.fail("connected to nothing")
    finally:
        readers.close()
