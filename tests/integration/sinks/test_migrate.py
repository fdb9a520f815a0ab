"""Migrations on real servers of all strengths that are to be had here."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from schemas.errors import DatabaseError
from sinks.timescale.migrate import (
    Migration,
    Strength,
    inspect_server,
    migrate,
    packaged_migrations,
    require_current,
    status,
)
from tests.support.sinks import Database, DatabaseServer, new_database, new_role

pytestmark = pytest.mark.integration


_ANOMALY_OF_BEFORE = """INSERT INTO anomalies (anomaly_id, device_id, metric, kind, state, opened_at, value, score, mean,
    std, lower, upper, readings, detected_at)
VALUES ('00000000-0000-0000-0000-000000000001', 'd', 'm', 'deviation', 'OPENED', '2020-01-01', 9, 5, 1, 1, 0, 2, 1, now())"""


def connect(database: Database) -> psycopg.Connection:
    return psycopg.connect(database.url, autocommit=True)


def hypertables(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute(
        """SELECT hypertable_name FROM timescaledb_information.hypertables
           WHERE hypertable_schema = current_schema()"""
    )
    return {name for (name,) in rows}


@pytest.fixture(scope="module")
def migrated(running_databases: Callable[[str], DatabaseServer]) -> Iterator[psycopg.Connection]:
    """Plain PostgreSQL, which prefers any index to none."""
    with new_database(running_databases("postgresql")) as fresh, connect(fresh) as connection:
        migrate(connection)
        connection.execute("SET enable_seqscan = off")
        yield connection


def test_each_database_gets_what_it_can_do(every_database_server: DatabaseServer) -> None:
    with new_database(every_database_server) as fresh, connect(fresh) as connection:
        applied = {migration.version for migration in migrate(connection)}
        strength = require_current(connection)
        assert applied == {m.version for m in packaged_migrations() if m.needs <= strength}
        assert migrate(connection) == []
        assert {row.version for row in status(connection) if row.state == "applied"} == applied
        assert {row.state for row in status(connection) if row.version not in applied} <= {"skipped"}
        if strength >= Strength.APACHE:
            assert {"readings", "anomalies"} <= hypertables(connection)
        connection.execute("INSERT INTO readings VALUES ('d', 'm', now(), 1)")
        assert connection.execute("SELECT readings, mean FROM readings_hourly").fetchall() == [(1, 1.0)]


def test_readings_lie_in_chunks_of_a_day(database: Database) -> None:
    with connect(database) as connection:
        migrate(connection)
        if require_current(connection) is Strength.PLAIN:
            pytest.skip("the most real database here has no TimescaleDB")
        interval = connection.execute(
            """SELECT time_interval::text FROM timescaledb_information.dimensions
               WHERE hypertable_schema = current_schema() AND hypertable_name = 'readings'"""
        ).fetchone()
        assert interval == ("1 day",)


def test_a_database_that_gains_timescaledb_keeps_its_rows(real_database_server: DatabaseServer) -> None:
    """As the owner of a database who may not create extensions; later somebody who may does."""
    with (
        new_database(real_database_server, "TEMPLATE template0") as empty,
        new_role(empty, "LOGIN") as owner,
        connect(empty) as connection,
    ):
        connection.execute(f"ALTER SCHEMA public OWNER TO {owner}; SET ROLE {owner}".encode())
        plain = [migration.version for migration in migrate(connection)]
        assert require_current(connection) is Strength.PLAIN
        connection.execute(
            "INSERT INTO readings VALUES ('d', 'm', now(), 1), ('d', 'm', now() - '3 d'::interval, 2)"
        )
        connection.execute("RESET ROLE")
        more = [migration.version for migration in migrate(connection)]
        strength = require_current(connection)
        assert sorted(plain + more) == [m.version for m in packaged_migrations() if m.needs <= strength]
        if strength is Strength.PLAIN:
            pytest.skip("the most real database here has no TimescaleDB")
        assert {"readings", "anomalies"} <= hypertables(connection)
        assert connection.execute("SELECT sum(value) FROM readings").fetchone() == (3.0,)
        assert connection.execute("SELECT sum(readings) FROM readings_hourly").fetchone() == (2,)


def test_anomalies_of_before_their_details_have_the_defaults(every_database_server: DatabaseServer) -> None:
    older = [migration for migration in packaged_migrations() if migration.version < 6]
    with new_database(every_database_server) as fresh, connect(fresh) as connection:
        migrate(connection, older)
        connection.execute(_ANOMALY_OF_BEFORE)
        assert migrate(connection)[0].name == "anomaly_details"
        found = connection.execute("SELECT severity, channel, expected, reason, storm_id FROM anomalies")
        assert found.fetchall() == [("WARNING", "", None, "", None)]
        # The sink of before works on until it is replaced.
        connection.execute(_ANOMALY_OF_BEFORE.replace("VALUES ('0", "VALUES ('1"))
        assert connection.execute("SELECT count(*) FROM anomalies").fetchone() == (2,)


@pytest.mark.parametrize(
    ("question", "index"),
    [
        (
            "anomalies WHERE severity = 'CRITICAL' AND state = 'OPENED' ORDER BY opened_at DESC LIMIT 9",
            "open_severity",
        ),
        ("anomalies WHERE state = 'OPENED' ORDER BY opened_at DESC LIMIT 9", "anomalies_open"),
        ("anomalies WHERE storm_id = '00000000-0000-0000-0000-000000000007'", "anomalies_storm"),
        ("anomalies ORDER BY opened_at DESC LIMIT 9", "anomalies_newest"),
        ("anomalies WHERE kind = 'spike' ORDER BY opened_at DESC LIMIT 9", "anomalies_kind"),
        ("anomalies WHERE severity = 'INFO' ORDER BY opened_at DESC LIMIT 9", "anomalies_severity"),
        ("anomalies WHERE device_id = 'd' AND opened_at > now() - INTERVAL '1 d'", "anomalies_series"),
        ("anomalies WHERE stored_at > now() - INTERVAL '1 s' ORDER BY stored_at DESC", "anomalies_stored"),
        ("devices WHERE type = 'oven' ORDER BY device_id LIMIT 9", "devices_type"),
        ("devices WHERE location = 'Denver' ORDER BY device_id LIMIT 9", "devices_location"),
        ("readings ORDER BY time DESC LIMIT 9", "readings_time"),
        (
            "readings WHERE device_id = 'd' AND metric = 'm' AND time > now() - INTERVAL '1 d'",
            "readings_pkey",
        ),
        ("readings_latest WHERE device_id = 'd'", "readings_pkey"),
        (
            "readings_hourly WHERE device_id = 'd' AND metric = 'm' AND hour > now() - INTERVAL '7 d'",
            "rollup_hours_pkey",
        ),
        ("readings_by_minute WHERE device_id = 'd' AND metric = 'm'", "rollup_minutes_pkey"),
    ],
)
def test_each_question_has_an_index(migrated: psycopg.Connection, question: str, index: str) -> None:
    plan = migrated.execute(f"EXPLAIN SELECT * FROM {question}".encode()).fetchall()
    assert index in str(plan)


def test_a_changed_file_is_refused(plain_database: Database) -> None:
    first, *rest = packaged_migrations()
    with connect(plain_database) as connection:
        migrate(connection)
        changed = [replace(first, text=first.text + "-- more"), *rest]
        with pytest.raises(DatabaseError, match=r"001_tables was changed"):
            migrate(connection, changed)
        with pytest.raises(DatabaseError, match=r"001_tables was changed"):
            status(connection, changed)


def test_a_newer_database_is_refused(plain_database: Database) -> None:
    newer = Migration(99, "future", Strength.PLAIN, "CREATE TABLE future ()")
    with connect(plain_database) as connection:
        migrate(connection, [*packaged_migrations(), newer])
        with pytest.raises(DatabaseError, match=r"migration 099.*up to.*Install the newer"):
            migrate(connection)


def test_a_failing_file_leaves_nothing_behind(plain_database: Database) -> None:
    broken = Migration(99, "broken", Strength.PLAIN, "CREATE TABLE half (); SELECT no_such_function()")
    with connect(plain_database) as connection:
        with pytest.raises(DatabaseError, match="no_such_function"):
            migrate(connection, [*packaged_migrations(), broken])
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)
        assert [row.state for row in status(connection, [*packaged_migrations(), broken])][-1] == "pending"


def test_many_at_once_apply_each_file_once(plain_database: Database) -> None:
    def one(_: int) -> int:
        with connect(plain_database) as connection:
            return len(migrate(connection))

    with ThreadPoolExecutor(6) as pool:
        plain = sum(migration.needs is Strength.PLAIN for migration in packaged_migrations())
        assert sorted(pool.map(one, range(6))) == [0, 0, 0, 0, 0, plain]


def test_a_long_migration_outlives_the_sessions_statement_timeout(plain_database: Database) -> None:
    """Moving a big table into chunks takes longer than the sink allows any of its statements."""
    long = Migration(99, "long", Strength.PLAIN, "SELECT pg_sleep(0.3)")
    with connect(plain_database) as connection:
        migrate(connection)
        connection.execute("SET statement_timeout = '100ms'")
        assert migrate(connection, [*packaged_migrations(), long]) == [long]
        assert connection.execute("SHOW statement_timeout").fetchone() == ("100ms",)


def test_a_user_without_rights_is_told(plain_database: Database) -> None:
    with new_role(plain_database) as reader, connect(plain_database) as connection:
        connection.execute(f"SET ROLE {reader}".encode())
        with pytest.raises(DatabaseError, match="lacks a right"):
            migrate(connection)


def test_missing_tables_are_named(plain_database: Database) -> None:
    with connect(plain_database) as connection:
        with pytest.raises(DatabaseError, match=r"tables.*sigmawatch db migrate"):
            require_current(connection)
        assert inspect_server(connection).timescaledb is None
