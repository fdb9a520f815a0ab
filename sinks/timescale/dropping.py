"""Readings and rollups that are old enough are dropped: chunks where there are any, else rows in batches.

Never a reading that is not rolled up. Functions of a connection in autocommit mode; they block and raise psycopg.Error.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import cast

import psycopg
from psycopg import sql

from schemas.failpoints import fail_point
from schemas.times import floor
from sinks.timescale import rollups
from sinks.timescale.connection import one_row
from sinks.timescale.rollups import ROLLUPS, Rollup, Tell, rollup_state

_ROWS_AT_ONCE = 50_000
_DAY = timedelta(days=1)


def day_before(now: datetime, age: float) -> datetime:
    """The beginning of the day (UTC) that is `age` seconds ago: whole days are dropped."""
    return floor(now - timedelta(seconds=age), _DAY)


def droppable_before(
    connection: psycopg.Connection, table: str, bound: datetime, *, chunked: bool
) -> datetime | None:
    """Up to where a table's rows can be dropped, at most `bound`; None where there is nothing.

    Args:
        connection: in autocommit mode.
        table: whose time is its third column.
        bound: a day's beginning.
        chunked: it lies in chunks, of which whole ones are dropped.
    """
    if chunked:
        (end,) = one_row(
            connection,
            """SELECT max(range_end) FROM timescaledb_information.chunks
               WHERE format('%%I.%%I', hypertable_schema, hypertable_name)::regclass = %s::regclass AND range_end <= %s""",
            *(table, bound),
        )
        return cast("datetime | None", end)
    oldest = sql.SQL("SELECT min({}) < %s FROM {}").format(_time_of(table), sql.Identifier(table))
    (is_old,) = one_row(connection, oldest, bound)
    return bound if is_old else None


def drop_readings(
    connection: psycopg.Connection, bound: datetime, *, chunked: bool, tell: Tell, stop: Callable[[], bool]
) -> int:
    """Drop the readings before `bound` that are rolled up; chunks or rows that went.

    The table is locked against writers meanwhile, a batch at a time: so nobody's late reading is dropped before its mark
    was seen. Waits up to 2 s for them.

    Raises:
        psycopg.errors.LockNotAvailable: somebody's transaction takes longer.
    """
    gone = 0
    while not stop():
        with connection.transaction():
            connection.execute(rollups.LOCK_TIMEOUT.encode())
            connection.execute("LOCK TABLE ONLY readings IN SHARE ROW EXCLUSIVE MODE")
            if not _rolled_up(connection, bound):
                return gone
            connection.execute(
                "UPDATE maintenance SET dropped_before = greatest(dropped_before, %s)", (bound,)
            )
            connection.execute("SET LOCAL sigmawatch.dropping = 'on'")
            fail_point("maintain.before_drop")
            went = _drop(connection, "readings", bound, chunked=chunked)
        gone += went
        tell("old readings", float(gone), float(gone))
        if chunked or went < _ROWS_AT_ONCE:
            return gone
    return gone


def drop_rollup(
    connection: psycopg.Connection,
    rollup: Rollup,
    bound: datetime,
    *,
    chunked: bool,
    stop: Callable[[], bool],
) -> int:
    """Drop what a rollup has of before `bound`; chunks or rows that went."""
    gone = 0
    while not stop():
        went = _drop(connection, rollup.table, bound, chunked=chunked)
        gone += went
        if chunked or went < _ROWS_AT_ONCE:
            return gone
    return gone


def _rolled_up(connection: psycopg.Connection, bound: datetime) -> bool:
    """Whether everything before `bound` is in the rollups, but for what comes after it was dropped."""
    state = rollup_state(connection)
    if any((before := state.before(rollup)) is None or before < bound for rollup in ROLLUPS):
        return False
    (waiting,) = one_row(
        connection,
        """SELECT count(*) FROM rollup_mark
           WHERE first_hour < %s AND last_hour >= (SELECT dropped_before FROM maintenance)""",
        bound,
    )
    return bool(waiting == 0)


def _drop(connection: psycopg.Connection, table: str, bound: datetime, *, chunked: bool) -> int:
    if chunked:
        cursor = connection.execute("SELECT drop_chunks(%s::regclass, older_than => %s)", (table, bound))
        return cursor.rowcount
    name, column = sql.Identifier(table), _time_of(table)
    delete = sql.SQL(
        "DELETE FROM {name} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {name} WHERE {column} < %s ORDER BY {column} LIMIT %s))"
    ).format(name=name, column=column)
    return connection.execute(delete, (bound, _ROWS_AT_ONCE)).rowcount


def _time_of(table: str) -> sql.Identifier:
    columns = {rollup.table: rollup.bucket for rollup in ROLLUPS}
    return sql.Identifier(columns.get(table, "time"))
