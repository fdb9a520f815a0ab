"""What a database has of the past: series by type of device, their readings as columns, and when they were anomalous.

Functions of a connection; they block as long as the server takes, and raise psycopg.Error. Times are µs since 1970 UTC.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from schemas.times import to_datetime, to_us

_DATABASE_EPOCH_US = 946_684_800_000_000
"""2000-01-01, from which PostgreSQL's binary timestamps count."""

_HEADER_BYTES = 19
_BLOCK_ROWS = 65_536

# A row of COPY BINARY: the number of fields, then each with its length before it. None is null, so all rows are equally long.
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("time_bytes", ">i4"),
        ("time", ">i8"),
        ("value_bytes", ">i4"),
        ("value", ">f8"),
        ("faulty_bytes", ">i4"),
        ("faulty", "u1"),
    ]
)

# The metrics of a device one after the other from the primary key: no scan of its readings.
_SERIES = """
WITH RECURSIVE found AS (
    SELECT d.type, d.device_id, (SELECT min(metric) FROM readings AS r WHERE r.device_id = d.device_id) AS metric
    FROM devices AS d
    WHERE %(types)s::text[] IS NULL OR d.type = ANY (%(types)s::text[])
    UNION ALL
    SELECT type, device_id,
           (SELECT min(metric) FROM readings AS r WHERE r.device_id = found.device_id AND r.metric > found.metric)
    FROM found WHERE metric IS NOT NULL
)
SELECT type, device_id, metric FROM found WHERE metric IS NOT NULL
ORDER BY type COLLATE "C", metric COLLATE "C", device_id COLLATE "C"
"""

_READINGS = sql.SQL(
    "COPY (SELECT time, value, fault IS NOT NULL FROM readings"
    " WHERE device_id = {device} AND metric = {metric} AND time >= {begin} AND time < {end} ORDER BY time)"
    " TO STDOUT (FORMAT BINARY)"
)

_ANOMALOUS = """
SELECT opened_at, coalesce(cleared_at, %(end)s) FROM anomalies
WHERE device_id = %(device)s AND metric = %(metric)s
  AND opened_at < %(end)s AND coalesce(cleared_at, 'infinity') >= %(begin)s
ORDER BY opened_at
"""


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """A series, and the type of its device."""

    type: str
    device_id: str
    metric: str


@dataclass(frozen=True, eq=False, slots=True)
class History:
    """n readings of one series, by time.

    Attributes:
        time: (n,) event times, µs.
        value: (n,) values.
        faulty: (n,) whether the reading has a fault as its ground truth.
    """

    time: NDArray[np.int64]
    value: NDArray[np.float64]
    faulty: NDArray[np.bool_]


def stored_series(connection: psycopg.Connection, types: Sequence[str] | None) -> list[StoredSeries]:
    """Every series of the devices of some types, None for all; by type, metric and device."""
    parameters = {"types": None if types is None else list(types)}
    rows = connection.execute(_SERIES.encode(), parameters).fetchall()
    return [StoredSeries(*row) for row in rows]


def stored_types(connection: psycopg.Connection) -> list[str]:
    """The types of the devices that there are."""
    return [
        name for (name,) in connection.execute(b"SELECT DISTINCT type FROM devices ORDER BY type").fetchall()
    ]


def readings_of(
    connection: psycopg.Connection, series: StoredSeries, begin_us: int, end_us: int
) -> Iterator[History]:
    """The readings of a series with begin <= time < end, some ten thousand at a time: the whole is never in memory."""
    query = _READINGS.format(
        device=sql.Literal(series.device_id),
        metric=sql.Literal(series.metric),
        begin=sql.Literal(to_datetime(begin_us)),
        end=sql.Literal(to_datetime(end_us)),
    )
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        pending = bytearray()
        at = _HEADER_BYTES
        for data in copy:
            pending += data
            rows = (len(pending) - at) // _ROW.itemsize
            if rows >= _BLOCK_ROWS:
                yield _history(pending, at, rows)
                del pending[: at + rows * _ROW.itemsize]
                at = 0
        rows = (len(pending) - at) // _ROW.itemsize
        if rows > 0:
            yield _history(pending, at, rows)


def anomalous_times(
    connection: psycopg.Connection, series: StoredSeries, begin_us: int, end_us: int
) -> NDArray[np.int64]:
    """(k, 2) opening and end of a series' episodes that touch begin <= time < end; open ones end there."""
    parameters = {
        "device": series.device_id,
        "metric": series.metric,
        "begin": to_datetime(begin_us),
        "end": to_datetime(end_us),
    }
    rows = connection.execute(_ANOMALOUS.encode(), parameters).fetchall()
    return np.array([[to_us(opened), to_us(cleared)] for opened, cleared in rows], np.int64).reshape(-1, 2)


def _history(packed: bytearray, at: int, rows: int) -> History:
    found = np.frombuffer(bytes(packed[at : at + rows * _ROW.itemsize]), _ROW)
    return History(
        found["time"].astype(np.int64) + _DATABASE_EPOCH_US,
        found["value"].astype(np.float64),
        found["faulty"].astype(np.bool_),
    )
