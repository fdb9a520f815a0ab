"""One series for a diagram: its readings in as many buckets as the diagram has pixels; and which series a device has."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import psycopg
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.times import floor
from sinks.queries.query import Query

MOST_PIXELS = 10_000

_STEPS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
_STEPS_H = (1, 2, 3, 6, 12, 24, 48, 7 * 24, 28 * 24, 91 * 24, 364 * 24)
_WIDTHS = (
    *(timedelta(milliseconds=step) for step in _STEPS_MS),
    *(timedelta(seconds=step) for step in _STEPS_S),
    *(timedelta(hours=step) for step in _STEPS_H),
)
# From such a width on a rollup has fewer rows than the readings of one every minute, and far fewer than of one a second.
_OF_MINUTES, _OF_HOURS = timedelta(minutes=5), timedelta(hours=1)

Source = Literal["readings", "readings_by_minute", "readings_hourly"]

# Sums of what lies in a bucket, whatever it is made of. Both functions count from the same Monday.
_RAW = """
SELECT {bucket} AS bucket, min(value), max(value), sum(value) / count(*), count(*), count(fault)
FROM readings
WHERE device_id = %(device)s AND metric = %(metric)s AND time >= %(begin)s AND time < %(end)s
GROUP BY 1 ORDER BY 1
"""
_ROLLED = """
SELECT {bucket} AS bucket, min(lowest), max(highest), sum(mean * readings) / sum(readings), sum(readings)::bigint, 0
FROM {source}
WHERE device_id = %(device)s AND metric = %(metric)s AND {time} >= %(begin)s AND {time} < %(end)s
GROUP BY 1 ORDER BY 1
"""
_EACH = """
SELECT time, value, value, value, 1, (fault IS NOT NULL)::int FROM readings
WHERE device_id = %(device)s AND metric = %(metric)s AND time >= %(begin)s AND time < %(end)s
ORDER BY time LIMIT %(limit)s
"""

_END = "SELECT {end}(time) FROM readings WHERE device_id = %(device)s AND metric = %(metric)s"
# The hours of a year are read in some 20 ms; of minutes, sixty times as many, only those of one hour are.
_FIRST_HOUR = """
SELECT min(hour) FROM readings_hourly
WHERE device_id = %(device)s AND metric = %(metric)s AND (%(before)s::timestamptz IS NULL OR hour < %(before)s)
"""
_LAST_HOUR = "SELECT max(hour) FROM readings_hourly WHERE device_id = %(device)s AND metric = %(metric)s"
_LAST_MINUTE = """
SELECT max(minute) FROM readings_by_minute
WHERE device_id = %(device)s AND metric = %(metric)s
  AND minute >= %(hour)s AND minute < %(hour)s::timestamptz + interval '1 hour'
"""

# Views of the same name are computed from all readings on servers that keep no rollups; they must not be asked for a series.
_KEPT = """
SELECT c.relname FROM pg_class AS c
WHERE c.oid IN (to_regclass('readings_by_minute'), to_regclass('readings_hourly'))
  AND (c.relkind <> 'v' OR NOT EXISTS (
      SELECT FROM pg_rewrite AS w JOIN pg_depend AS p ON p.objid = w.oid
      WHERE w.ev_class = c.oid AND p.refobjid = 'readings'::regclass
  ) OR EXISTS (
      SELECT FROM pg_rewrite AS w JOIN pg_depend AS p ON p.objid = w.oid
      WHERE w.ev_class = c.oid AND p.refobjid <> 'readings'::regclass AND p.refobjid <> c.oid
        AND p.refclassid = 'pg_class'::regclass
  ))
"""


_OFFERS = """
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb'), to_regclass('maintenance') IS NOT NULL
"""
# Before the first run of `db maintain` the views compute all, at twice the cost of the readings themselves.
_MAINTAINED = "SELECT minutes_before > '-infinity', hours_before > '-infinity' FROM maintenance"


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server offers to diagrams.

    Attributes:
        time_bucket: TimescaleDB's function is there.
        rollups: the views that are kept, not computed when they are asked.
    """

    time_bucket: bool = False
    rollups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """How a stretch is cut.

    Attributes:
        width: of a bucket.
        source: what the buckets are made of.
    """

    width: timedelta
    source: Source


@dataclass(frozen=True, eq=False, slots=True)
class Buckets:
    """n buckets that have readings, by time.

    Attributes:
        width: of a bucket; zero where each is one reading, as there were no more than pixels.
        source: what they are made of.
        time: (n,) beginning of each; of single readings their time.
        low, high, mean: (n,) of the values.
        count: (n,) readings.
        labelled: (n,) readings that have a fault as ground truth; 0 from rollups, which do not know.
    """

    width: timedelta
    source: Source
    time: Sequence[datetime]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    count: NDArray[np.int64]
    labelled: NDArray[np.int64]


def abilities_of(connection: psycopg.Connection) -> Abilities:
    """What the server offers; it changes by a migration, and as `db maintain` comes to keep rollups."""
    ((extension, maintained),) = Query(_OFFERS).rows(connection)
    kept = {name for (name,) in Query(_KEPT).rows(connection)}
    if maintained:
        ((minutes, hours),) = Query(_MAINTAINED).rows(connection)
        kept -= {
            name
            for name, is_there in (("readings_by_minute", minutes), ("readings_hourly", hours))
            if not is_there
        }
    return Abilities(bool(extension), frozenset(kept))


def plan_buckets(begin: datetime, end: datetime, pixels: int, abilities: Abilities) -> Plan:
    """The narrowest of the usual widths that gives no more than `pixels` buckets, and one for a cut at the edge.

    Raises:
        InputError: the stretch or the pixels are not usable.
    """
    if not begin < end:
        raise InputError("the stretch of time ends before it begins", "Let `from` be before `to`.")
    if not 1 <= pixels <= MOST_PIXELS:
        raise InputError(f"pixels is {pixels}", f"Ask for 1 to {MOST_PIXELS}.")
    width = next((width for width in _WIDTHS if (end - begin) / width <= pixels), end - begin)
    if width >= _OF_HOURS and "readings_hourly" in abilities.rollups:
        return Plan(width, "readings_hourly")
    if width >= _OF_MINUTES and "readings_by_minute" in abilities.rollups:
        return Plan(width, "readings_by_minute")
    return Plan(width, "readings")


def _kept_longer(plan: Plan, abilities: Abilities) -> Plan | None:
    """The plan with a rollup in the readings' place."""
    if plan.source != "readings":
        return plan
    if "readings_by_minute" not in abilities.rollups:
        return None
    return Plan(max(plan.width, timedelta(minutes=1)), "readings_by_minute")


def buckets_query(
    device_id: str, metric: str, begin: datetime, end: datetime, plan: Plan, abilities: Abilities
) -> Query:
    """The buckets of a stretch."""
    times = {"readings": "time", "readings_by_minute": "minute", "readings_hourly": "hour"}
    time = times[plan.source]
    bucket = f"time_bucket(%(width)s::interval, {time})"
    if not abilities.time_bucket:
        bucket = f"date_bin(%(width)s::interval, {time}, TIMESTAMPTZ '2000-01-03 00:00:00+00')"
    text = _RAW if plan.source == "readings" else _ROLLED
    values = {"device": device_id, "metric": metric, "begin": begin, "end": end, "width": plan.width}
    return Query(text.format(bucket=bucket, source=plan.source, time=time), values)


def series_buckets(
    connection: psycopg.Connection,
    device_id: str,
    metric: str,
    begin: datetime,
    end: datetime,
    pixels: int,
    abilities: Abilities,
) -> Buckets:
    """A series' readings with begin <= time < end, at most one bucket a pixel, and one more at the edge.

    Raises:
        InputError: the stretch or the pixels are not usable.
    """
    plan = plan_buckets(begin, end, pixels, abilities)
    values = {"device": device_id, "metric": metric, "begin": begin, "end": end, "limit": pixels + 1}
    rows = Query(_EACH, values).rows(connection)
    width, source = timedelta(0), plan.source
    if len(rows) > pixels:
        width = plan.width
        rows = buckets_query(device_id, metric, begin, end, plan, abilities).rows(connection)
    else:
        source = "readings"
        kept = _kept_longer(plan, abilities)
        if kept is not None:  # readings may have been dropped, and their rollup not
            rolled = buckets_query(device_id, metric, begin, end, kept, abilities).rows(connection)
            if sum(row[4] for row in rolled) > len(rows):
                rows, width, source = rolled, kept.width, kept.source
    columns = list(zip(*rows, strict=True)) if rows else [()] * 6
    low, high, mean = (np.array(column, np.float64) for column in columns[1:4])
    count, labelled = (np.array(column, np.int64) for column in columns[4:])
    return Buckets(width, source, columns[0], low, high, mean, count, labelled)


def oldest(
    connection: psycopg.Connection, device_id: str, metric: str, abilities: Abilities
) -> datetime | None:
    """Time of a series' first reading, None where it has none.

    Where that was dropped for its age: the beginning of the first hour that is kept of it, so that no bucket is cut.
    """
    series = {"device": device_id, "metric": metric}
    first: datetime | None
    ((first,),) = Query(_END.format(end="min"), series).rows(connection)
    if "readings_hourly" not in abilities.rollups:
        return first
    # Of the first reading's own hour the reading says more.
    before = None if first is None else floor(first, timedelta(hours=1))
    hour: datetime | None
    ((hour,),) = Query(_FIRST_HOUR, {**series, "before": before}).rows(connection)
    return hour or first


def newest(
    connection: psycopg.Connection, device_id: str, metric: str, abilities: Abilities
) -> datetime | None:
    """Time of a series' last reading, None where it has none.

    Where that was dropped for its age: the beginning of the last minute, or hour, that is kept of it.
    """
    series: dict[str, object] = {"device": device_id, "metric": metric}
    last: datetime | None
    ((last,),) = Query(_END.format(end="max"), series).rows(connection)
    if last is not None or "readings_hourly" not in abilities.rollups:
        return last
    hour: datetime | None
    ((hour,),) = Query(_LAST_HOUR, series).rows(connection)
    if hour is None or "readings_by_minute" not in abilities.rollups:
        return hour
    minute: datetime | None
    ((minute,),) = Query(_LAST_MINUTE, series | {"hour": hour}).rows(connection)
    return minute or hour
