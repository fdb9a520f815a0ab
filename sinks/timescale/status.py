"""What `sigmawatch db status` says: the server, sizes, chunks, times, rollups, policies, migrations.

Functions of a connection in autocommit mode that change nothing and read no table from end to end; a role that may only read
can call them. They block as long as the server takes and raise psycopg.Error.
"""

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from sinks.timescale import rollups
from sinks.timescale.connection import one_row
from sinks.timescale.migrate import MigrationStatus, Server, Strength, inspect_server
from sinks.timescale.migrate import status as migration_status
from sinks.timescale.policies import Policy, policies
from sinks.timescale.rollups import ROLLUPS

_COUNTED = 1_000_000
"""Rows up to which a table is counted, in a moment; more are estimated."""

_TIMES = {"readings": "time", "anomalies": "opened_at", "devices": None}
"""The tables that people ask about, and by which time."""

_CHUNKS = """
SELECT count(*)::int, (count(*) FILTER (WHERE is_compressed))::int FROM timescaledb_information.chunks
WHERE format('%%I.%%I', hypertable_schema, hypertable_name)::regclass = %s::regclass"""

_AGGREGATE = """
SELECT format('%%I.%%I', a.materialization_hypertable_schema, a.materialization_hypertable_name),
       CASE WHEN at > '1000-01-01' THEN at END  -- before the first refresh it is a time before all
FROM timescaledb_information.continuous_aggregates AS a
JOIN _timescaledb_catalog.hypertable AS h
    ON (h.schema_name, h.table_name) = (a.materialization_hypertable_schema, a.materialization_hypertable_name)
CROSS JOIN LATERAL _timescaledb_functions.to_timestamp(_timescaledb_functions.cagg_watermark(h.id)) AS at
WHERE a.view_schema = current_schema() AND a.view_name = %s"""


@dataclass(frozen=True, slots=True)
class TableStatus:
    """A table.

    Attributes:
        name: readings, anomalies or devices.
        rows: how many; `exact` says whether they were counted.
        exact: up to a million are.
        size_bytes: with indexes, compressed parts as they are.
        oldest, newest: by event time, None without rows or times.
        chunks: None where there are none.
        compressed_chunks: of them.
        compressed_from_bytes: what the compressed chunks took before,
        compressed_to_bytes: and take now.
    """

    name: str
    rows: int
    exact: bool
    size_bytes: int
    oldest: datetime | None
    newest: datetime | None
    chunks: int | None
    compressed_chunks: int
    compressed_from_bytes: int
    compressed_to_bytes: int


@dataclass(frozen=True, slots=True)
class RollupStatus:
    """A rollup.

    Attributes:
        view: what people read.
        kept_as: "continuous aggregate", "table", or "computed" where nothing is kept.
        kept_before: up to where it is kept, None for nothing yet; the rest is computed when asked.
        size_bytes: of what is kept.
    """

    view: str
    kept_as: str
    kept_before: datetime | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """All of it.

    Attributes:
        server: versions and strength.
        size_bytes: of the whole database.
        tables: readings, anomalies, devices; none before the first migration.
        rollups: by minute and by hour.
        policies: of the community edition.
        maintained_at: when `db maintain` came to its end, None never, or where policies do its work.
        late_marks: what the next `db maintain` rolls up anew.
        dropped_before: readings before it were dropped for their age.
        migrations: which were applied.
    """

    server: Server
    size_bytes: int
    tables: list[TableStatus]
    rollups: list[RollupStatus]
    policies: list[Policy]
    maintained_at: datetime | None
    late_marks: int
    dropped_before: datetime | None
    migrations: list[MigrationStatus]


def database_status(connection: psycopg.Connection) -> DatabaseStatus:
    """How the database stands.

    Raises:
        DatabaseError: it is a newer program's, or the server is too old.
    """
    server = inspect_server(connection)
    migrations = migration_status(connection)
    (size,) = one_row(connection, "SELECT pg_database_size(current_database())")
    tables = [
        _table(connection, server.strength, name, column)
        for name, column in _TIMES.items()
        if _exists(connection, name)
    ]
    state, marks = None, 0
    if _exists(connection, "maintenance"):
        state, marks = rollups.rollup_state(connection), rollups.waiting_marks(connection)
    return DatabaseStatus(
        server,
        int(size),
        tables,
        [
            _rollup(connection, server.strength, view)
            for view in (rollup.view for rollup in ROLLUPS)
            if _exists(connection, view)
        ],
        policies(connection) if server.strength is Strength.COMMUNITY else [],
        state.ran_at if state else None,
        marks,
        state.dropped_before if state else None,
        migrations,
    )


def _table(connection: psycopg.Connection, strength: Strength, name: str, column: str | None) -> TableStatus:
    identifier = sql.Identifier(name)
    counting = sql.SQL("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) AS counted")
    (rows,) = one_row(connection, counting.format(identifier, sql.Literal(_COUNTED + 1)))
    exact = rows <= _COUNTED
    times: tuple[datetime | None, datetime | None] = (None, None)
    if column is not None:
        ends = sql.SQL("SELECT (SELECT min({time}) FROM {table}), (SELECT max({time}) FROM {table})")
        times = one_row(connection, ends.format(time=sql.Identifier(column), table=identifier))
    chunks, compressed, before, after = None, 0, 0, 0
    if strength is Strength.PLAIN or not _is_hypertable(connection, name):
        size_query = "SELECT pg_total_relation_size(%s::regclass)"
        rows_query = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = %s::regclass"
    else:
        size_query = "SELECT coalesce(hypertable_size(%s::regclass), 0)"
        rows_query = "SELECT approximate_row_count(%s::regclass)"
        chunks, compressed = one_row(connection, _CHUNKS, name)
        if compressed:
            before, after = one_row(
                connection,
                """SELECT coalesce(before_compression_total_bytes, 0)::bigint, coalesce(after_compression_total_bytes, 0)::bigint
                   FROM hypertable_compression_stats(%s::regclass)""",
                name,
            )
    (size,) = one_row(connection, size_query, name)
    if not exact:
        (rows,) = one_row(connection, rows_query, name)
    return TableStatus(
        name, int(rows), exact, int(size), times[0], times[1], chunks, compressed, int(before), int(after)
    )


def _rollup(connection: psycopg.Connection, strength: Strength, view: str) -> RollupStatus:
    if strength is Strength.COMMUNITY:
        found = connection.execute(_AGGREGATE.encode(), (view,)).fetchone()
        if found is not None:
            (size,) = one_row(connection, "SELECT coalesce(hypertable_size(%s::regclass), 0)", found[0])
            return RollupStatus(view, "continuous aggregate", found[1], int(size))
    rollup = next(one for one in ROLLUPS if one.view == view)
    if not _exists(connection, rollup.table) or not rollups.kept_as_tables(connection):
        return RollupStatus(view, "computed", None, 0)
    size_of = "pg_total_relation_size"
    if strength >= Strength.APACHE and _is_hypertable(connection, rollup.table):
        size_of = "hypertable_size"
    (size,) = one_row(connection, f"SELECT coalesce({size_of}(%s::regclass), 0)", rollup.table)
    return RollupStatus(view, "table", rollups.rollup_state(connection).before(rollup), int(size))


def _is_hypertable(connection: psycopg.Connection, name: str) -> bool:
    (count,) = one_row(
        connection,
        """SELECT count(*) FROM timescaledb_information.hypertables
           WHERE format('%%I.%%I', hypertable_schema, hypertable_name)::regclass = %s::regclass""",
        name,
    )
    return bool(count)


def _exists(connection: psycopg.Connection, name: str) -> bool:
    (found,) = one_row(connection, "SELECT to_regclass(%s) IS NOT NULL", name)
    return bool(found)
