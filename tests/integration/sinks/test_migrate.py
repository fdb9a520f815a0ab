"""Migrations on real servers of both strengths that are to be had here."""

from collections.abc import Iterator
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
from tests.support.sinks import Database, new_database

pytestmark = pytest.mark.integration


@pytest.fixture
def plain(postgresql_server) -> Iterator[Database]:
    with new_database(postgresql_server) as fresh:
        yield fresh


def connect(database: Database) -> psycopg.Connection:
    return psycopg.connect(database.url, autocommit=True)


def hypertables(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute("SELECT hypertable_name FROM timescaledb_information.hypertables")
    return {name for (name,) in rows}


def test_timescaledb_gets_hypertables(database: Database) -> None:
    with connect(database) as connection:
        applied = migrate(connection)
        assert [migration.version for migration in applied] == [1, 2]
        assert migrate(connection) == []
        assert hypertables(connection) == {"readings", "anomalies"}
        assert {row.state for row in status(connection)} == {"applied"}
        assert require_current(connection) >= Strength.APACHE
        interval = connection.execute(
            """SELECT time_interval::text FROM timescaledb_information.dimensions
               WHERE hypertable_name = 'readings'"""
        ).fetchone()
        assert interval == ("1 day",)


def test_plain_postgresql_gets_tables(plain: Database) -> None:
    with connect(plain) as connection:
        assert [migration.version for migration in migrate(connection)] == [1]
        assert [row.state for row in status(connection)] == ["applied", "skipped"]
        assert require_current(connection) is Strength.PLAIN
        connection.execute("INSERT INTO readings VALUES ('d', 'm', now(), 1)")


def test_a_database_that_gains_timescaledb_keeps_its_rows(database: Database) -> None:
    """As the owner of a database who may not create extensions; later somebody who may does."""
    with connect(database) as connection:
        role = f"owner_{database.name}"
        connection.execute(f"CREATE ROLE {role}".encode())
        connection.execute(f"ALTER SCHEMA public OWNER TO {role}".encode())
        connection.execute(f"SET ROLE {role}".encode())
        assert [migration.version for migration in migrate(connection)] == [1]
        connection.execute(
            "INSERT INTO readings VALUES ('d', 'm', now(), 1), ('d', 'm', now() - '3 d'::interval, 2)"
        )
        connection.execute("RESET ROLE")
        assert [migration.version for migration in migrate(connection)] == [2]
        assert hypertables(connection) == {"readings", "anomalies"}
        assert connection.execute("SELECT sum(value) FROM readings").fetchone() == (3.0,)
        assert [row.state for row in status(connection)] == ["applied", "applied"]
        connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())


def test_a_changed_file_is_refused(plain: Database) -> None:
    first, *rest = packaged_migrations()
    with connect(plain) as connection:
        migrate(connection)
        changed = [replace(first, text=first.text + "-- more"), *rest]
        with pytest.raises(DatabaseError, match=r"001_tables was changed"):
            migrate(connection, changed)
        with pytest.raises(DatabaseError, match=r"001_tables was changed"):
            status(connection, changed)


def test_a_newer_database_is_refused(plain: Database) -> None:
    newer = Migration(99, "future", Strength.PLAIN, "CREATE TABLE future ()")
    with connect(plain) as connection:
        migrate(connection, [*packaged_migrations(), newer])
        with pytest.raises(DatabaseError, match=r"migration 099.*up to.*Install the newer"):
            migrate(connection)


def test_a_failing_file_leaves_nothing_behind(plain: Database) -> None:
    broken = Migration(99, "broken", Strength.PLAIN, "CREATE TABLE half (); SELECT no_such_function()")
    with connect(plain) as connection:
        with pytest.raises(DatabaseError, match="no_such_function"):
            migrate(connection, [*packaged_migrations(), broken])
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)
        assert [row.state for row in status(connection, [*packaged_migrations(), broken])][-1] == "pending"


def test_many_at_once_apply_each_file_once(plain: Database) -> None:
    def one(_: int) -> int:
        with connect(plain) as connection:
            return len(migrate(connection))

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(one, range(6))) == [0, 0, 0, 0, 0, 1]


def test_a_user_without_rights_is_told(plain: Database) -> None:
    with connect(plain) as connection:
        role = f"reader_{plain.name}"
        connection.execute(f"CREATE ROLE {role}; SET ROLE {role}".encode())
        with pytest.raises(DatabaseError, match="lacks a right"):
            migrate(connection)
        connection.execute(f"RESET ROLE; DROP ROLE {role}".encode())


def test_missing_tables_are_named(plain: Database) -> None:
    with connect(plain) as connection:
        with pytest.raises(DatabaseError, match=r"tables.*sigmawatch db migrate"):
            require_current(connection)
        assert inspect_server(connection).timescaledb is None
