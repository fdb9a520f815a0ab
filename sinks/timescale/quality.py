"""What the database knows for judging detection: devices and their readings, labelled faults, episodes.

Functions of a connection; they block as long as the server takes, and raise psycopg.Error. Times are µs since 1970 UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg

from schemas.times import to_datetime, to_us

# The usual interval is the median over the first hundred readings of the stretch: a mean would count silences in. The first
# reading ever is at the beginning of the primary key; no scan.
_DEVICES = """
SELECT device_id, min(ever), min(first), max(last), min(gap), sum(readings)::bigint
FROM (
    SELECT device_id, metric, count(*) AS readings, min(time) AS first, max(time) AS last
    FROM readings WHERE time >= %(begin)s AND time < %(end)s GROUP BY device_id, metric
) AS series
CROSS JOIN LATERAL (
    SELECT min(time) AS ever FROM readings
    WHERE device_id = series.device_id AND metric = series.metric
) AS beginning
CROSS JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY gap) AS gap
    FROM (
        SELECT time - lag(time) OVER (ORDER BY time) AS gap
        FROM (
            SELECT time FROM readings
            WHERE device_id = series.device_id AND metric = series.metric
              AND time >= series.first AND time <= series.last
            ORDER BY time LIMIT 100
        ) AS beginning
    ) AS gaps
) AS usual
GROUP BY device_id ORDER BY device_id
"""

# Islands and gaps: a labelled reading begins a fault if the one before it, of the same device and fault, is too far away. Several
# metrics at one time are peers, of which the first alone can begin one.
_FAULTS = """
WITH labelled AS (
    SELECT r.device_id, r.fault, r.time, r.metric,
           coalesce(r.time - lag(r.time) OVER same > known.merge, true)::int AS begins
    FROM readings AS r
    JOIN unnest(%(devices)s::text[], %(merges)s::interval[]) AS known(device_id, merge)
        ON known.device_id = r.device_id
    WHERE r.fault IS NOT NULL AND r.time >= %(begin)s AND r.time < %(end)s
    WINDOW same AS (PARTITION BY r.device_id, r.fault ORDER BY r.time)
), numbered AS (
    SELECT device_id, fault, time, metric, sum(begins) OVER same AS island
    FROM labelled
    WINDOW same AS (PARTITION BY device_id, fault ORDER BY time)
)
SELECT device_id, fault, min(time) AS began, max(time), array_agg(DISTINCT metric)
FROM numbered GROUP BY device_id, fault, island ORDER BY device_id, began, fault
"""

_EPISODES = """
SELECT device_id, metric, kind, opened_at, cleared_at FROM anomalies
WHERE opened_at >= %(begin)s AND opened_at < %(end)s ORDER BY opened_at, device_id, metric
"""

# With the reading before an episode's opening, none may follow before it was over.
_SILENT = """
SELECT said.number
FROM unnest(%(devices)s::text[], %(metrics)s::text[], %(opened)s::timestamptz[], %(cleared)s::timestamptz[])
    WITH ORDINALITY AS said(device_id, metric, opened_at, cleared_at, number)
WHERE NOT EXISTS (
    SELECT FROM readings AS r
    WHERE r.device_id = said.device_id AND r.metric = said.metric
      AND r.time > said.opened_at AND r.time < coalesce(said.cleared_at, 'infinity')
)
"""


@dataclass(frozen=True, slots=True)
class StoredDevice:
    """A device with readings in a stretch of time.

    Attributes:
        device_id: which.
        ever_us: its first reading of all.
        first_us, last_us: the first and the last in the stretch.
        interval_us: usual time between two of them, 0 where there is one alone.
        readings: how many, of all metrics.
    """

    device_id: str
    ever_us: int
    first_us: int
    last_us: int
    interval_us: int
    readings: int


@dataclass(frozen=True, slots=True)
class StoredFault:
    """A run of readings of one device with one fault; `metrics` had it."""

    device_id: str
    fault: str
    begin_us: int
    end_us: int
    metrics: frozenset[str]


@dataclass(frozen=True, slots=True)
class StoredEpisode:
    """An anomaly's row; `cleared_us` is None while it is open."""

    device_id: str
    metric: str
    kind: str
    opened_us: int
    cleared_us: int | None


def devices_between(connection: psycopg.Connection, begin_us: int, end_us: int) -> list[StoredDevice]:
    """The devices that have readings with begin <= time < end, by id."""
    rows = _rows(connection, _DEVICES, _between(begin_us, end_us))
    return [
        StoredDevice(
            device_id,
            to_us(ever),
            to_us(first),
            to_us(last),
            0 if gap is None else _length_us(gap),
            int(readings),
        )
        for device_id, ever, first, last, gap, readings in rows
    ]


def faults_between(
    connection: psycopg.Connection, begin_us: int, end_us: int, merge_us: dict[str, int]
) -> list[StoredFault]:
    """The labelled faults with readings in begin <= time < end, by device and time.

    Args:
        connection: to the database.
        begin_us, end_us: the stretch.
        merge_us: device -> longest time between two readings of one fault; other devices are left out.
    """
    merges = [timedelta(microseconds=merge) for merge in merge_us.values()]
    parameters = _between(begin_us, end_us) | {"devices": list(merge_us), "merges": merges}
    return [
        StoredFault(device_id, fault, to_us(first), to_us(last), frozenset(metrics))
        for device_id, fault, first, last, metrics in _rows(connection, _FAULTS, parameters)
    ]


def episodes_between(connection: psycopg.Connection, begin_us: int, end_us: int) -> list[StoredEpisode]:
    """The episodes that opened in begin <= time < end, by time."""
    return [
        StoredEpisode(device_id, metric, kind, to_us(opened), None if cleared is None else to_us(cleared))
        for device_id, metric, kind, opened, cleared in _rows(
            connection, _EPISODES, _between(begin_us, end_us)
        )
    ]


def silent(connection: psycopg.Connection, episodes: Sequence[StoredEpisode]) -> list[bool]:
    """Of each episode, whether its series has no reading between the episode's opening and its end."""
    if not episodes:
        return []
    parameters = {
        "devices": [episode.device_id for episode in episodes],
        "metrics": [episode.metric for episode in episodes],
        "opened": [to_datetime(episode.opened_us) for episode in episodes],
        "cleared": [None if one.cleared_us is None else to_datetime(one.cleared_us) for one in episodes],
    }
    found = {int(number) for (number,) in _rows(connection, _SILENT, parameters)}
    return [number in found for number in range(1, len(episodes) + 1)]


def now_us(connection: psycopg.Connection) -> int:
    """The database's clock."""
    ((now,),) = _rows(connection, "SELECT clock_timestamp()", {})
    return to_us(now)


def _rows(connection: psycopg.Connection, query: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode(), parameters).fetchall()


def _between(begin_us: int, end_us: int) -> dict[str, Any]:
    return {"begin": to_datetime(begin_us), "end": to_datetime(end_us)}


def _length_us(length: timedelta) -> int:
    return length // timedelta(microseconds=1)
