"""The database itself: what is in it, since when, how large."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from sinks.queries.query import Query

# Rows are counted as the planner estimates them: a count would read everything.
_TABLES = """
SELECT c.relname, {size}, {rows}
FROM pg_class AS c
WHERE c.oid IN ('readings'::regclass, 'devices'::regclass, 'anomalies'::regclass) ORDER BY c.relname
"""
_PLAIN = ("pg_total_relation_size(c.oid)", "greatest(c.reltuples, 0)::bigint")
_HYPER = (
    "coalesce(hypertable_size(h.name), pg_total_relation_size(c.oid))",
    "coalesce(approximate_row_count(h.name), greatest(c.reltuples, 0)::bigint)",
)
_SINKS = """
SELECT topic, sum(stored)::bigint, sum(updated)::bigint, sum(duplicates)::bigint, sum(dead_letters)::bigint, max(moved_at)
FROM sink_offset
WHERE sink NOT IN (SELECT sink FROM notify_version)  -- they tell people, and store nothing
GROUP BY topic ORDER BY topic
"""
_ANOMALIES = """
SELECT count(*), count(*) FILTER (WHERE state = 'OPENED'), min(opened_at), max(opened_at) FROM anomalies
"""
_KINDS = """
SELECT kind, count(*), count(*) FILTER (WHERE state = 'OPENED') FROM anomalies GROUP BY kind ORDER BY 2 DESC, 1 LIMIT 100
"""


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """A table: its bytes with indexes, and about how many rows it has."""

    name: str
    size_bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class TopicStatistics:
    """What the sink has done with a topic's messages; counts are exact."""

    topic: str
    stored: int
    updated: int
    duplicates: int
    dead_letters: int
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class DatabaseStatistics:
    """A database at a glance.

    Attributes:
        size_bytes: of the whole database.
        tables: ours.
        topics: what came of each topic's messages.
        devices: described ones.
        anomalies: episodes.
        open_anomalies: of them.
        first_anomaly, last_anomaly: when the first and the last opened.
        kinds: kind -> (episodes, open ones).
    """

    size_bytes: int
    tables: tuple[TableStatistics, ...]
    topics: tuple[TopicStatistics, ...]
    devices: int
    anomalies: int
    open_anomalies: int
    first_anomaly: datetime | None
    last_anomaly: datetime | None
    kinds: dict[str, tuple[int, int]]


def database_statistics(connection: psycopg.Connection) -> DatabaseStatistics:
    """How the database stands; reads no readings."""
    ((size,),) = Query("SELECT pg_database_size(current_database())").rows(connection)
    ((devices,),) = Query("SELECT count(*) FROM devices").rows(connection)
    ((anomalies, opened, first, last),) = Query(_ANOMALIES).rows(connection)
    return DatabaseStatistics(
        size_bytes=int(size),
        tables=tuple(TableStatistics(*row) for row in _tables(connection)),
        topics=topic_statistics(connection),
        devices=int(devices),
        anomalies=int(anomalies),
        open_anomalies=int(opened),
        first_anomaly=first,
        last_anomaly=last,
        kinds={kind: (int(count), int(now)) for kind, count, now in Query(_KINDS).rows(connection)},
    )


def topic_statistics(connection: psycopg.Connection) -> tuple[TopicStatistics, ...]:
    """What the sink has done with each topic."""
    return tuple(TopicStatistics(*row) for row in Query(_SINKS).rows(connection))


def _tables(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    ((extension,),) = Query("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'").rows(
        connection
    )
    if not extension:
        size, rows = _PLAIN
        return Query(_TABLES.format(size=size, rows=rows)).rows(connection)
    size, rows = _HYPER
    joined = _TABLES.format(size=size, rows=rows).replace(
        "WHERE",
        "LEFT JOIN LATERAL (SELECT format('%%I.%%I', hypertable_schema, hypertable_name)::regclass AS name"
        " FROM timescaledb_information.hypertables"
        " WHERE format('%%I.%%I', hypertable_schema, hypertable_name)::regclass = c.oid) AS h ON true WHERE",
    )
    return Query(joined).rows(connection)
