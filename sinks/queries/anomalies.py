"""Episodes: pages of them, newest first; one; those of a stretch of a series."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from sinks.queries.cursors import make_cursor, moment, read_cursor
from sinks.queries.query import Query
from sinks.queries.selection import Selection, anomaly_conditions, check_limit, where

_COLUMNS = """a.anomaly_id, a.device_id, a.metric, a.kind, a.state, a.severity, a.opened_at, a.cleared_at, a.value,
a.expected, a.score, a.mean, a.std, a.lower, a.upper, a.readings, a.channel, a.reason, a.fault, a.storm_id, a.detected_at,
a.stored_at, d.type AS device_type, d.name AS device_name, d.location AS place, d.units ->> a.metric AS unit"""
_FROM = "FROM anomalies AS a LEFT JOIN devices AS d ON d.device_id = a.device_id"
_PAGES = "anomalies"


@dataclass(frozen=True, slots=True)
class AnomalyRow:
    """An episode, with what its device is; None where no description of the device is stored."""

    anomaly_id: UUID
    device_id: str
    metric: str
    kind: str
    state: str
    severity: str
    opened_at: datetime
    cleared_at: datetime | None
    value: float
    expected: float | None
    score: float
    mean: float
    std: float
    lower: float
    upper: float
    readings: int
    channel: str
    reason: str
    fault: str | None
    storm_id: UUID | None
    detected_at: datetime
    stored_at: datetime
    device_type: str | None
    device_name: str | None
    place: str | None
    unit: str | None


@dataclass(frozen=True, slots=True)
class AnomalyPage:
    """Some episodes, newest first; `next` is the cursor of those before them, None where there are none."""

    rows: Sequence[AnomalyRow]
    next: str | None


def anomalies_query(selection: Selection, limit: int, cursor: str | None = None) -> Query:
    """The page behind a cursor, and one row more.

    Raises:
        InputError: the cursor or the limit is not usable.
    """
    parts, values = anomaly_conditions(selection)
    if cursor is not None:
        opened, anomaly_id = read_cursor(cursor, _PAGES, selection, (moment, UUID))
        parts.append(
            "a.opened_at <= %(before)s AND (a.opened_at, a.anomaly_id) < (%(before)s, %(before_id)s)"
        )
        values |= {"before": opened, "before_id": anomaly_id}
    return Query(
        f"SELECT {_COLUMNS} {_FROM} {where(parts)} ORDER BY a.opened_at DESC, a.anomaly_id DESC LIMIT %(limit)s",
        values | {"limit": check_limit(limit) + 1},
    )


def anomaly_page(
    connection: psycopg.Connection, selection: Selection, limit: int = 100, cursor: str | None = None
) -> AnomalyPage:
    """One page of the episodes that a selection asks for.

    Raises:
        InputError: the cursor or the limit is not usable.
    """
    found = _rows(connection, anomalies_query(selection, limit, cursor))
    rows = found[:limit]
    last = rows[-1] if len(found) > limit else None
    following = make_cursor(_PAGES, selection, (last.opened_at, last.anomaly_id)) if last else None
    return AnomalyPage(rows, following)


def anomaly_of(connection: psycopg.Connection, anomaly_id: UUID) -> AnomalyRow | None:
    """An episode by its id."""
    query = Query(f"SELECT {_COLUMNS} {_FROM} WHERE a.anomaly_id = %(id)s LIMIT 1", {"id": anomaly_id})
    return next(iter(_rows(connection, query)), None)


def anomalies_touching(
    connection: psycopg.Connection,
    device_id: str,
    metric: str,
    begin: datetime,
    end: datetime,
    limit: int = 1000,
) -> list[AnomalyRow]:
    """A series' episodes that are open at some time of begin <= time < end, newest first, `limit` at most."""
    query = Query(
        f"""SELECT {_COLUMNS} {_FROM}
            WHERE a.device_id = %(device)s AND a.metric = %(metric)s AND a.opened_at < %(end)s
              AND (a.cleared_at IS NULL OR a.cleared_at >= %(begin)s)
            ORDER BY a.opened_at DESC LIMIT %(limit)s""",
        {"device": device_id, "metric": metric, "begin": begin, "end": end, "limit": check_limit(limit)},
    )
    return _rows(connection, query)


def _rows(connection: psycopg.Connection, query: Query) -> list[AnomalyRow]:
    with connection.cursor(row_factory=class_row(AnomalyRow)) as cursor:
        return cursor.execute(query.text.encode(), query.parameters).fetchall()
