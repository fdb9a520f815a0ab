"""Readings one by one, newest first, by pages; and those that came since a moment, for who looks on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from sinks.queries.cursors import make_cursor, moment, plain_text, read_cursor
from sinks.queries.query import Query
from sinks.queries.selection import Selection, check_limit, reading_conditions, where

_PAGES = "readings"
_SELECT = "SELECT r.device_id, r.metric, r.time, r.value, r.fault FROM readings AS r"

# No index goes by time alone (it would cost every write): so the newest are looked for in stretches that grow.
_LOOKS_BACK = (timedelta(minutes=2), timedelta(hours=1), timedelta(days=1), timedelta(days=32))


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """A stored reading."""

    device_id: str
    metric: str
    time: datetime
    value: float
    fault: str | None


@dataclass(frozen=True, slots=True)
class ReadingPage:
    """Some readings, newest first; `next` is the cursor of those before them, None where there are none."""

    rows: Sequence[ReadingRow]
    next: str | None


def readings_query(
    selection: Selection, limit: int, cursor: str | None = None, *, since: datetime | None = None
) -> Query:
    """The page behind a cursor, and one row more; only from `since` on, where it is given.

    Raises:
        InputError: the cursor or the limit is not usable.
    """
    parts, values = reading_conditions(selection)
    if cursor is not None:
        time, device_id, metric = read_cursor(cursor, _PAGES, selection, (moment, plain_text, plain_text))
        # The time by itself too: by it chunks are left out.
        parts += [
            "r.time <= %(before)s",
            "(r.time < %(before)s OR (r.device_id, r.metric) > (%(before_device)s, %(before_metric)s))",
        ]
        values |= {"before": time, "before_device": device_id, "before_metric": metric}
    if since is not None:
        parts.append("r.time >= %(since)s")
        values["since"] = since
    return Query(
        f"{_SELECT} {where(parts)} ORDER BY r.time DESC, r.device_id, r.metric LIMIT %(limit)s",
        values | {"limit": check_limit(limit) + 1},
    )


def reading_page(
    connection: psycopg.Connection, selection: Selection, limit: int = 100, cursor: str | None = None
) -> ReadingPage:
    """One page of the readings that a selection asks for.

    Raises:
        InputError: the cursor or the limit is not usable.
    """
    found = _newest(connection, selection, limit, cursor)
    rows = found[:limit]
    following = None
    if len(found) > limit:
        last = rows[-1]
        following = make_cursor(_PAGES, selection, (last.time, last.device_id, last.metric))
    return ReadingPage(rows, following)


def _newest(
    connection: psycopg.Connection, selection: Selection, limit: int, cursor: str | None
) -> list[ReadingRow]:
    """The rows of a page and one more."""
    newest = datetime.now(UTC) if selection.end is None else selection.end
    if cursor is not None:
        newest = read_cursor(cursor, _PAGES, selection, (moment, plain_text, plain_text))[0]
    sinces: list[datetime | None] = [newest - back for back in _looks_back(newest)]
    if selection.begin is not None:
        begin = selection.begin
        sinces = [since for since in sinces if since is not None and since > begin]
    for since in [*sinces, None]:
        found = [
            ReadingRow(*row) for row in readings_query(selection, limit, cursor, since=since).rows(connection)
        ]
        if len(found) > limit or since is None:
            break
    return found


def _looks_back(newest: datetime) -> list[timedelta]:
    room = newest - datetime.min.replace(tzinfo=UTC)
    return [back for back in _LOOKS_BACK if back < room]


@dataclass(frozen=True, slots=True)
class LoggedReading:
    """A reading, with mean and standard deviation of those before it in its series; None where there are too few."""

    reading: ReadingRow
    mean: float | None
    std: float | None


# As in readings_hourly: the arithmetic of avg and stddev overflows near the largest values that a reading may have.
_BEFORE = """
SELECT sum(b.value) / count(*), stddev_samp(b.value) FILTER (WHERE abs(b.value) < 1e100)
FROM unnest(%(devices)s::text[], %(metrics)s::text[], %(times)s::timestamptz[])
    WITH ORDINALITY AS w(device_id, metric, time, number)
LEFT JOIN LATERAL (
    SELECT r.value FROM readings AS r
    WHERE r.device_id = w.device_id AND r.metric = w.metric AND r.time < w.time
    ORDER BY r.time DESC LIMIT 100
) AS b ON true
GROUP BY w.number ORDER BY w.number
"""


def reading_log(connection: psycopg.Connection, selection: Selection, limit: int) -> list[LoggedReading]:
    """The newest readings of a selection in the order of time, each with what was usual: the hundred before it.

    Raises:
        InputError: the limit is not usable.
    """
    rows = list(reversed(reading_page(connection, selection, limit).rows))
    values = {
        "devices": [row.device_id for row in rows],
        "metrics": [row.metric for row in rows],
        "times": [row.time for row in rows],
    }
    found = Query(_BEFORE, values).rows(connection)
    return [LoggedReading(row, mean, std) for row, (mean, std) in zip(rows, found, strict=True)]
