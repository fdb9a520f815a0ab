"""The hourly rollup: every database gives the same answer."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev

import pytest

from schemas.readings import Reading
from tests.support.sinks import T0, DatabaseServer, new_database, readings_of
from tests.support.writing import Sink, readings_batch, sink_on

pytestmark = pytest.mark.integration

HOUR = 3_600_000_000
COLUMNS = (
    "device_id, metric, (extract(epoch from hour) * 1000000)::int8, readings, mean, std, lowest, highest"
)


def hourly(sink: Sink) -> list[tuple]:
    return sink.store.query(f"SELECT {COLUMNS} FROM readings_hourly ORDER BY 1, 2, 3")


def expected(readings: Sequence[Reading]) -> list[tuple]:
    hours = defaultdict(list)
    for reading in readings:
        hours[reading.device_id, reading.metric, reading.time // HOUR * HOUR].append(reading.value)
    return [
        (
            *key,
            len(values),
            pytest.approx(fmean(values)),
            pytest.approx(stdev(values)) if len(values) > 1 else None,
            min(values),
            max(values),
        )
        for key, values in sorted(hours.items())
    ]


def test_hours_of_each_series(every_database_server: DatabaseServer) -> None:
    readings = [
        replace(reading, time=T0 + minute * 60_000_000) for minute, reading in enumerate(readings_of(3, 100))
    ]
    lonely = Reading("alone", "m", HOUR - 1, 5.0, None)
    with new_database(every_database_server) as store, sink_on(store) as sink:
        sink.write(readings_batch([*readings, lonely]))
        assert hourly(sink) == expected([*readings, lonely])


def test_the_largest_values_break_no_hour(every_database_server: DatabaseServer) -> None:
    """Squares of 1e150 times the square of their number would overflow."""
    readings = [replace(reading, value=1e150 * (-1) ** i) for i, reading in enumerate(readings_of(1, 3600))]
    ordinary = [replace(reading, time=reading.time + 1) for reading in readings_of(1, 3600)]
    with new_database(every_database_server) as store, sink_on(store) as sink:
        sink.write(readings_batch([*readings, *ordinary]))
        rows = store.query("SELECT sum(readings)::int8, min(lowest), max(highest) FROM readings_hourly")
        assert rows == [(7200, -1e150, 1e150)]
        assert store.query("SELECT bool_and(std BETWEEN 0 AND 3600) FROM readings_hourly") == [(True,)]
