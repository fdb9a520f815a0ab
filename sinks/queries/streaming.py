"""Whole stretches of readings or anomalies, some thousand rows at a time: an export of any size needs little memory.

Rows come from a cursor in the server, within one read-only transaction, so that all are of one moment. Not for the pool of
an API: the connection belongs to the export until its end, and its statements must have no time limit
(`reader(url, timeout_seconds=0)`).
"""

from collections.abc import Iterator
from typing import Any, Literal

import psycopg

from schemas.errors import InputError
from sinks.queries.query import Query
from sinks.queries.selection import Selection, anomaly_conditions, reading_conditions, where

BLOCK_ROWS = 20_000

READING_COLUMNS = ("device_id", "metric", "time", "value", "fault")
ANOMALY_COLUMNS = (
    *(
        "anomaly_id",
        "device_id",
        "metric",
        "kind",
        "state",
        "severity",
        "opened_at",
        "cleared_at",
        "value",
        "expected",
    ),
    *(
        "score",
        "mean",
        "std",
        "lower",
        "upper",
        "readings",
        "channel",
        "reason",
        "fault",
        "storm_id",
        "detected_at",
    ),
)

_READINGS = f"SELECT {', '.join(READING_COLUMNS)} FROM readings AS r"  # noqa: S608 - words of ours alone
_ANOMALIES = f"""SELECT {", ".join(f"a.{name}" for name in ANOMALY_COLUMNS)}
FROM anomalies AS a LEFT JOIN devices AS d ON d.device_id = a.device_id"""  # noqa: S608 - likewise

Order = Literal["series", "time"]


def readings_stream_query(selection: Selection, order: Order = "series") -> Query:
    """All readings of a selection, with the columns `READING_COLUMNS`.

    Args:
        selection: which.
        order: by series, then time, which is the primary key's and costs nothing; or by time, then series.
    """
    parts, values = reading_conditions(selection)
    orders = {"series": "r.device_id, r.metric, r.time", "time": "r.time, r.device_id, r.metric"}
    return Query(f"{_READINGS} {where(parts)} ORDER BY {orders[order]}", values)


def anomalies_stream_query(selection: Selection) -> Query:
    """All episodes of a selection by opening, with the columns `ANOMALY_COLUMNS`."""
    parts, values = anomaly_conditions(selection)
    return Query(f"{_ANOMALIES} {where(parts)} ORDER BY a.opened_at, a.anomaly_id", values)


def stream(
    connection: psycopg.Connection, query: Query, block_rows: int = BLOCK_ROWS
) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a query, `block_rows` at a time; blocks for each block.

    The transaction ends with the iterator: close it (`contextlib.closing`) where it is not read to its end.

    Raises:
        InputError: `block_rows` is below 1.
        psycopg.Error: the database went away.
    """
    if block_rows < 1:
        raise InputError("a block has one row at least")
    with connection.transaction(), connection.cursor(name="sigmawatch_stream", binary=True) as cursor:
        connection.execute("SET LOCAL cursor_tuple_fraction = 1.0")
        cursor.execute(query.text.encode(), query.parameters)
        while block := cursor.fetchmany(block_rows):
            yield block


def estimated_rows(connection: psycopg.Connection, query: Query) -> int:
    """About how many rows a query gives, as the planner thinks; for a progress bar."""
    ((plan,),) = Query(f"EXPLAIN (FORMAT JSON) {query.text}", query.parameters).rows(connection)
    return int(plan[0]["Plan"]["Plan Rows"])
