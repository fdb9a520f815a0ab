"""Rollups kept as tables: `rollup_minutes` and `rollup_hours`, for servers without continuous aggregates.

Three times matter (table `maintenance`). Who changes readings before `watched_before` leaves marks, by a trigger. Buckets before
`minutes_before`, or `hours_before`, are in the table; the view computes those after it. To move on, first the watched stretch
grows, then the readings of that stretch are rolled up and the bucket's bound follows in the same transaction. So each change of a
reading is seen by the roll-up, or has a mark, which the next run takes with it in the transaction that rolls up its hours anew.
A crash between any two steps leaves views that are right and marks that wait.

Functions of a connection in autocommit mode; they block as long as the server takes and raise psycopg.Error.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import psycopg
from psycopg import sql

from schemas.failpoints import fail_point
from schemas.times import floor
from sinks.timescale.connection import one_row
from sinks.timescale.marks import Mark, Stretch, clipped, stretches_of

WATCH_LOCK = "pg_advisory_xact_lock(hashtextextended('sigmawatch watched_before', 0))"
"""Alone; the trigger's function takes the same lock shared."""

_LAG = timedelta(minutes=2)
"""Readings are usually stored by then; what comes later costs a mark."""
_MARKS_AT_ONCE = 1_000
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"
"""Longer than a batch takes. Writers wait behind who waits for a lock; rather try again in the next run."""

# A slice of readings in one transaction: long enough to pay, short enough to be repeated after a crash.
_FIRST_SLICE = timedelta(hours=1)
_LONGEST_SLICE = timedelta(days=32)
_QUICK_SECONDS, _SLOW_SECONDS = 0.5, 5.0

Tell = Callable[[str, float, float], None]
"""Told (what is done, seconds of event time done, of how many)."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """One rollup.

    Attributes:
        view: what people read.
        table: what is kept.
        bucket: the column of its time, and the unit of it.
        before: column of `maintenance`: up to where it is kept.
        length: of a bucket.
    """

    view: str
    table: str
    bucket: str
    before: str
    length: timedelta

    def floor(self, moment: datetime) -> datetime:
        """The beginning of the bucket that a time is in."""
        return floor(moment, self.length)


MINUTES = Rollup("readings_by_minute", "rollup_minutes", "minute", "minutes_before", timedelta(minutes=1))
HOURS = Rollup("readings_hourly", "rollup_hours", "hour", "hours_before", timedelta(hours=1))
ROLLUPS = (MINUTES, HOURS)

# As the views of 008_rollups.sql have it; in the order of the key, so that rows of one page come together.
_ROLL_UP = """INSERT INTO {table} (device_id, metric, {bucket}, readings, mean, std, lowest, highest)
SELECT r.device_id, r.metric, date_trunc({unit}, r.time, 'UTC'), count(*), sum(r.value) / count(*),
       stddev_samp(r.value) FILTER (WHERE abs(r.value) < 1e100), min(r.value), max(r.value)
FROM {source} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
_ALL = "readings AS r WHERE r.time >= %(begin)s AND r.time < %(end)s"
_DELETE_ALL = "DELETE FROM {table} WHERE {bucket} >= %(begin)s AND {bucket} < %(end)s"
_THESE = """unnest(%(devices)s::text[], %(metrics)s::text[], %(begins)s::timestamptz[], %(ends)s::timestamptz[])
    AS s(device_id, metric, begins, ends)"""
_SOME = (
    _THESE
    + """ JOIN readings AS r
    ON r.device_id = s.device_id AND r.metric = s.metric AND r.time >= s.begins AND r.time < s.ends"""
)
_DELETE_SOME = f"""DELETE FROM {{table}} AS t USING {_THESE}
WHERE t.device_id = s.device_id AND t.metric = s.metric AND t.{{bucket}} >= s.begins AND t.{{bucket}} < s.ends"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class RollupState:
    """The row of `maintenance`; None is the beginning of time, and of `ran_at` never."""

    watched_before: datetime | None
    minutes_before: datetime | None
    hours_before: datetime | None
    dropped_before: datetime | None
    ran_at: datetime | None

    def before(self, rollup: Rollup) -> datetime | None:
        """Up to where a rollup is kept."""
        return self.minutes_before if rollup is MINUTES else self.hours_before


def kept_as_tables(connection: psycopg.Connection) -> bool:
    """Whether rollups are ours to keep here, and changes are marked: not on the community edition, nor before 2.18."""
    (count,) = one_row(
        connection,
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass('readings') AND tgname = 'mark_inserted'",
    )
    return bool(count)


def rollup_state(connection: psycopg.Connection) -> RollupState:
    """How far the rollups are."""
    return RollupState(
        *one_row(
            connection,
            """SELECT nullif(watched_before, '-infinity'), nullif(minutes_before, '-infinity'),
                      nullif(hours_before, '-infinity'), nullif(dropped_before, '-infinity'), ran_at
               FROM maintenance""",
        )
    )


def target_of(connection: psycopg.Connection, rollup: Rollup, state: RollupState) -> datetime | None:
    """Up to where a rollup can be kept now: buckets that are over, and hold not the newest reading; None for nothing.

    Not the clock alone: a replay of last year's readings would all be late.
    """
    now, newest = one_row(
        connection,
        "SELECT clock_timestamp(), (SELECT max(time) FROM readings WHERE time <= clock_timestamp())",
    )
    before = state.before(rollup)
    if newest is None:
        return before
    target = rollup.floor(min(now - _LAG, newest))
    return target if before is None else max(target, before)


def waiting_marks(connection: psycopg.Connection) -> int:
    """How many marks wait for the next run."""
    return int(one_row(connection, "SELECT count(*) FROM rollup_mark")[0])


def watch(connection: psycopg.Connection, before: datetime) -> None:
    """From now on, changes of readings before a time leave marks; waits up to 2 s for those who write.

    Raises:
        psycopg.errors.LockNotAvailable: somebody's transaction takes longer.
    """
    with connection.transaction():
        connection.execute(LOCK_TIMEOUT.encode())
        connection.execute(f"SELECT {WATCH_LOCK}".encode())
        connection.execute(
            "UPDATE maintenance SET watched_before = %(to)s WHERE watched_before < %(to)s", {"to": before}
        )
    fail_point("maintain.after_watch")


def roll_forward(
    connection: psycopg.Connection, rollup: Rollup, target: datetime, tell: Tell, stop: Callable[[], bool]
) -> int:
    """Keep a rollup up to `target`, which must be watched; a slice a transaction. Gives the rows made.

    Args:
        connection: in autocommit mode.
        rollup: which.
        target: a bucket's beginning.
        tell: hears of progress.
        stop: asked between slices.
    """
    made, width, began = 0, _FIRST_SLICE, None
    at = rollup_state(connection).before(rollup)
    while (at is None or at < target) and not stop():
        first = _first_reading(connection, at, target)
        begin = target if first is None else rollup.floor(first)
        began = began or begin
        end = min(rollup.floor(begin + width), target)
        clock = time.monotonic()
        with connection.transaction():
            if begin < end:
                parameters = {"begin": begin, "end": end}
                made += connection.execute(_statement(_ROLL_UP, rollup, _ALL), parameters).rowcount
            fail_point("maintain.before_commit")
            _set_before(connection, rollup, end)
        seconds = time.monotonic() - clock
        if seconds < _QUICK_SECONDS:
            width = min(width * 2, _LONGEST_SLICE)
        elif seconds > _SLOW_SECONDS:
            width = max(width / 2, _FIRST_SLICE)
        at = end
        tell(rollup.view, (end - began).total_seconds(), (target - began).total_seconds())
    return made


def roll_marked(connection: psycopg.Connection, tell: Tell, stop: Callable[[], bool]) -> int:
    """Roll up anew what the marks say that are there now; some marks a transaction. Gives how many."""
    (newest,) = one_row(connection, "SELECT max(id) FROM rollup_mark")
    total, done = waiting_marks(connection), 0
    while newest is not None and not stop():
        with connection.transaction():
            rows = connection.execute(
                """DELETE FROM rollup_mark WHERE id IN (
                       SELECT id FROM rollup_mark WHERE id <= %s ORDER BY id LIMIT %s)
                   RETURNING device_id, metric, first_hour, last_hour""",
                (newest, _MARKS_AT_ONCE),
            ).fetchall()
            # The next statements see what those who made the marks committed with them.
            stretches = stretches_of(
                Mark(None if device is None else (device, metric), first, last)
                for device, metric, first, last in rows
            )
            state = rollup_state(connection)
            for rollup in ROLLUPS:
                before = state.before(rollup)
                if before is not None:
                    _redo(connection, rollup, clipped(stretches, state.dropped_before, before))
            fail_point("maintain.before_commit")
        if not rows:
            return done
        done += len(rows)
        tell("late readings", float(done), float(max(total, done)))
    return done


def _redo(connection: psycopg.Connection, rollup: Rollup, stretches: Sequence[Stretch]) -> None:
    single = []
    for one in stretches:
        if one.series is not None:
            single.append((*one.series, one.begin, one.end))
            continue
        parameters: dict[str, Any] = {"begin": one.begin, "end": one.end}
        connection.execute(_statement(_DELETE_ALL, rollup), parameters)
        connection.execute(_statement(_ROLL_UP, rollup, _ALL), parameters)
    if single:
        columns = dict(
            zip(("devices", "metrics", "begins", "ends"), map(list, zip(*single, strict=True)), strict=True)
        )
        connection.execute(_statement(_DELETE_SOME, rollup), columns)
        connection.execute(_statement(_ROLL_UP, rollup, _SOME), columns)


def _statement(text: str, rollup: Rollup, source: str = "") -> sql.Composed:
    names = {
        "table": sql.Identifier(rollup.table),
        "bucket": sql.Identifier(rollup.bucket),
        "unit": sql.Literal(rollup.bucket),
        "source": sql.SQL(source),
    }
    return sql.SQL(text).format(**names)


def _first_reading(connection: psycopg.Connection, at: datetime | None, target: datetime) -> datetime | None:
    (first,) = one_row(
        connection,
        "SELECT min(time) FROM readings WHERE time < %s AND time >= coalesce(%s, '-infinity'::timestamptz)",
        *(target, at),
    )
    return cast("datetime | None", first)


def _set_before(connection: psycopg.Connection, rollup: Rollup, to: datetime) -> None:
    column = sql.Identifier(rollup.before)
    connection.execute(sql.SQL("UPDATE maintenance SET {} = %s").format(column), (to,))
