"""The roles: each does its own job, with a password of its own, and no other's."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from schemas.errors import DatabaseError
from schemas.readings import AnomalyState, Reading
from sinks.logs import Counts, LogId
from sinks.timescale.maintain import maintain
from sinks.timescale.migrate import Strength, inspect_server, migrate
from sinks.timescale.policies import Ages, policies
from sinks.timescale.roles import Roles, set_up_roles
from sinks.timescale.status import database_status
from tests.support.sinks import Database, DatabaseServer, anomaly, new_database
from tests.support.writing import LOG, Sink, anomalies_batch, readings_batch

pytestmark = pytest.mark.integration

PASSWORDS = {kind: f"secret of {kind}: 'quoted'" for kind in ("migrator", "writer", "reader")}
DAY = 86_400.0


@dataclass
class Plant:
    """A database with its roles."""

    store: Database
    roles: Roles

    def url(self, kind: str) -> str:
        """As libpq takes it: the passwords have characters that a URL has not."""
        parts = urlsplit(self.store.url)
        name, password = self.roles.named()[kind], PASSWORDS[kind].replace("'", r"\'")
        options = "options='-csearch_path=" + _schema(self.store.url) + ",public'"
        place = f"host={parts.hostname} port={parts.port} dbname={parts.path[1:]}"
        return f"{place} user={name} password='{password}' {options}"

    def connect(self, kind: str) -> psycopg.Connection:
        return psycopg.connect(self.url(kind), autocommit=True)


def _schema(url: str) -> str:
    with psycopg.connect(url) as connection:
        return str((connection.execute("SELECT current_schema()").fetchone() or ("public",))[0])


def make_roles() -> Roles:
    prefix = f"plant_{uuid.uuid4().hex[:12]}"
    return Roles.of_prefix(prefix, {kind: SecretStr(text) for kind, text in PASSWORDS.items()})


@pytest.fixture(scope="module")
def plant(every_database_server: DatabaseServer) -> Iterator[Plant]:
    roles = make_roles()
    with new_database(every_database_server) as store:
        with psycopg.connect(store.url, autocommit=True) as connection:
            migrate(connection)
            set_up_roles(connection, roles)
        try:
            yield Plant(store, roles)
        finally:
            drop(store, roles)


def drop(store: Database, roles: Roles) -> None:
    for name in roles.named().values():
        store.query(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def refused(connection: psycopg.Connection, statement: str) -> None:
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
        connection.execute(statement.encode())


def test_the_writer_writes_as_a_sink_does(plant: Plant) -> None:
    """New rows, rows that repeat, and an episode that ends; the migration at a sink's start finds nothing to do."""
    with plant.connect("writer") as connection:
        assert migrate(connection) == []
    writer = Sink(Database(plant.url("writer"), None))
    log = LogId("anomalies", "life-1", 0)
    writer.position(LOG)
    writer.position(log)
    readings = [Reading("d", "m", 1_700_000_000_000_000 + i, float(i), None) for i in range(50)]
    try:
        assert writer.write(readings_batch(readings))[LOG].counts == Counts(stored=50)
        assert writer.write(readings_batch(readings, first=50))[LOG].counts == Counts(duplicates=50)
        assert writer.write(anomalies_batch([anomaly(1)]))[log].counts == Counts(stored=1)
        ended = anomaly(1, AnomalyState.CLEARED, readings=2)
        assert writer.write(anomalies_batch([ended], 1))[log].counts == Counts(updated=1)
    finally:
        writer.database.close()


def test_the_writer_does_no_more(plant: Plant) -> None:
    with plant.connect("writer") as connection:
        refused(connection, "DELETE FROM readings")
        refused(connection, "UPDATE readings SET value = 0")
        refused(connection, "TRUNCATE readings")
        refused(connection, "DELETE FROM anomalies")
        refused(connection, "UPDATE schema_migration SET checksum = ''")
        refused(connection, "DROP TABLE readings")
        refused(connection, "CREATE TABLE mine ()")
        refused(connection, "ALTER TABLE readings ADD COLUMN more text")
        refused(connection, "CREATE ROLE another")
        if inspect_server(connection).strength is not Strength.COMMUNITY:
            refused(connection, "UPDATE maintenance SET watched_before = 'infinity'")
            refused(connection, "INSERT INTO rollup_hours SELECT * FROM rollup_hours")
            with pytest.raises(DatabaseError, match="owner"):
                maintain(connection, Ages())


def test_the_reader_reads_everything(plant: Plant) -> None:
    with plant.connect("reader") as connection:
        for name in (
            "readings",
            "anomalies",
            "devices",
            "readings_hourly",
            "readings_by_minute",
            "readings_latest",
        ):
            connection.execute(sql.SQL("SELECT * FROM {} LIMIT 1").format(sql.Identifier(name)))
        told = database_status(connection)
        assert [table.name for table in told.tables] == ["readings", "anomalies", "devices"]
        assert {row.state for row in told.migrations} <= {"applied", "skipped"}


def test_the_reader_does_no_more(plant: Plant) -> None:
    with plant.connect("reader") as connection:
        refused(connection, "INSERT INTO readings VALUES ('d', 'm', now(), 1)")
        connection.execute("SET default_transaction_read_only = off")  # it is no fence, the rights are
        refused(connection, "INSERT INTO readings VALUES ('d', 'm', now(), 1)")
        refused(connection, "UPDATE anomalies SET reason = ''")
        refused(connection, "DELETE FROM devices")
        refused(connection, "INSERT INTO sink_offset VALUES ('s', 't', 'i', 0, 0)")
        refused(connection, "CREATE TABLE mine ()")


def test_the_migrator_migrates_and_maintains(plant: Plant) -> None:
    """And tables that come later are the reader's and the sinks' as well."""
    with plant.connect("migrator") as connection:
        assert migrate(connection) == []
        assert not maintain(connection, Ages(keep_readings=30 * DAY)).busy
        connection.execute("CREATE TABLE of_later (n int); ALTER TABLE readings ADD COLUMN more text")
        connection.execute("ALTER TABLE readings DROP COLUMN more")
        refused(connection, "CREATE ROLE another")
        if inspect_server(connection).strength is Strength.COMMUNITY:
            assert "retention" in {policy.kind for policy in policies(connection)}
    with plant.connect("writer") as connection:
        connection.execute("INSERT INTO of_later VALUES (1)")
    with plant.connect("reader") as connection:
        assert connection.execute("SELECT n FROM of_later").fetchall() == [(1,)]
        refused(connection, "DELETE FROM of_later")


def test_once_more_changes_nothing_and_takes_back_what_was_too_much(plant: Plant) -> None:
    store = plant.store
    store.query(f"GRANT DELETE ON readings TO {plant.roles.reader}")
    with psycopg.connect(store.url, autocommit=True) as connection:
        again = Roles(plant.roles.migrator, plant.roles.writer, plant.roles.reader, {})
        assert set_up_roles(connection, again) == []
    with plant.connect("reader") as connection:  # the passwords stay
        connection.execute("SET default_transaction_read_only = off")
        refused(connection, "DELETE FROM readings")


def test_a_new_role_needs_a_password(plain_database: Database) -> None:
    roles = Roles.of_prefix(f"none_{uuid.uuid4().hex[:8]}", {})
    with (
        psycopg.connect(plain_database.url, autocommit=True) as connection,
        pytest.raises(DatabaseError, match="SIGMAWATCH_DATABASE__MIGRATOR_PASSWORD"),
    ):
        set_up_roles(connection, roles)


def test_who_may_not_is_told(plant: Plant) -> None:
    with plant.connect("writer") as connection, pytest.raises(DatabaseError, match="superuser"):
        set_up_roles(connection, make_roles())


def test_passwords_are_shown_nowhere(plant: Plant) -> None:
    assert "secret of" not in repr(plant.roles)
    kept = plant.store.query("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (plant.roles.writer,))
    assert kept[0][0].startswith("SCRAM-SHA-256$")
