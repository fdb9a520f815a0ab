"""The embedded database, from both sources: data outlive crashes, only we get in, and it takes its leave."""

import contextlib
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.embedded import EmbeddedPostgres, FolderInUseError, ForeignDataError, cache_folder, purge
from deploy.embedded.errors import UnavailableError
from deploy.embedded.identity import choose_identity
from deploy.embedded.servers import SHARED_CACHE, Source, find_server

pytestmark = pytest.mark.integration


def require(source: Source) -> None:
    try:
        find_server(source, cache_folder(), choose_identity(), lambda _: None)
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=["timescaledb", "postgresql"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedPostgres]:
    require(request.param)
    with EmbeddedPostgres(tmp_path_factory.mktemp("state"), cache_folder(), source=request.param) as running:
        yield running


def value(database: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(database.url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def execute(database: EmbeddedPostgres, command: str) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute(command.encode())


def test_the_server_is_what_was_asked_for(database: EmbeddedPostgres) -> None:
    assert str(value(database, "SHOW server_version")).startswith(database.server.version)
    offered = value(database, "SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'")
    assert offered == (1 if database.server.kind == "timescaledb" else 0)
    if database.server.timescaledb:
        execute(database, "CREATE EXTENSION IF NOT EXISTS timescaledb")
        execute(database, "CREATE TABLE hyper (time timestamptz NOT NULL, value float8)")
        execute(database, "SELECT create_hypertable('hyper', 'time')")
        execute(
            database, "INSERT INTO hyper SELECT now() + i * interval '5 days', i FROM generate_series(1, 9) i"
        )
        assert value(database, "SELECT count(*) > 1 FROM timescaledb_information.chunks")
        assert value(database, "SHOW timescaledb.telemetry_level") == "off"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jit", "off"),
        ("synchronous_commit", "on"),
        ("fsync", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("timezone", "UTC"),
        ("server_encoding", "UTF8"),
    ],
)
def test_settings(database: EmbeddedPostgres, name: str, expected: str) -> None:
    assert value(database, f"SHOW {name}") == expected


def test_time_zones_and_letters_are_known(database: EmbeddedPostgres) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute("SET timezone = 'Europe/Berlin'")
        row = connection.execute("SELECT timestamptz '2024-07-01 12:00+00'::text, lower('ÄÖ')").fetchone()
    assert row == ("2024-07-01 14:00:00+02", "äö")


def test_committed_rows_outlive_restart_and_crash_on_the_same_port(database: EmbeddedPostgres) -> None:
    execute(database, "CREATE TABLE kept (number int)")
    execute(database, "INSERT INTO kept VALUES (1)")
    port = database.port
    database.restart()
    execute(database, "INSERT INTO kept VALUES (2)")
    with contextlib.closing(psycopg.connect(database.url)) as open_transaction:
        open_transaction.execute("INSERT INTO kept VALUES (3)")
        database.kill()
    assert not database.process.alive
    with socket.socket() as trial:
        assert trial.connect_ex(("127.0.0.1", port)) != 0
    database.restart()
    assert database.port == port
    assert value(database, "SELECT sum(number) FROM kept") == 3


def test_a_paused_database_goes_on(database: EmbeddedPostgres) -> None:
    database.pause()
    try:
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            psycopg.connect(database.url, connect_timeout=2)
    finally:
        database.resume()
    assert value(database, "SELECT 1") == 1


def test_nobody_gets_in_without_the_password(database: EmbeddedPostgres) -> None:
    password = database.log_file.with_name("password")
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert password.read_text() in database.url
    assert password.read_text() not in database.log_file.read_text()
    for wrong in ("wrong", ""):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://sigmawatch:{wrong}@127.0.0.1:{database.port}/sigmawatch")


def test_a_second_on_the_same_folder_is_refused(database: EmbeddedPostgres) -> None:
    with pytest.raises(FolderInUseError, match=f"in use by process {os.getpid()}"):
        EmbeddedPostgres(database.log_file.parent.parent, cache_folder()).start()


def test_data_stay_with_their_source(tmp_path: Path) -> None:
    require("timescaledb")
    require("postgresql")
    with EmbeddedPostgres(tmp_path, cache_folder(), source="postgresql") as first:
        execute(first, "CREATE TABLE kept (number int)")
    with pytest.raises(ForeignDataError, match="made by postgresql"):
        EmbeddedPostgres(tmp_path, cache_folder(), source="timescaledb").start()
    said: list[str] = []
    with EmbeddedPostgres(tmp_path, cache_folder(), progress=said.append) as again:
        assert again.server.kind == "postgresql"
        assert value(again, "SELECT count(*) FROM kept") == 0
    assert said == [f"database: PostgreSQL {again.server.version} on 127.0.0.1:{again.port}"]
    purge(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_where_apt_is_missing_plain_postgresql_takes_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("postgresql")
    commands = tmp_path / "bin"
    commands.mkdir()
    for needed in ("sh", "id", "test"):
        (commands / needed).symlink_to(shutil.which(needed) or needed)
    monkeypatch.setenv("PATH", str(commands))
    said: list[str] = []
    with EmbeddedPostgres(tmp_path / "state", tmp_path / "cache", progress=said.append) as database:
        assert database.server.kind == "postgresql"
    assert "apt-get is not installed" in said[0]
    with pytest.raises(UnavailableError, match="apt-get is not installed"):
        EmbeddedPostgres(tmp_path / "other", tmp_path / "cache", source="timescaledb").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
@pytest.mark.parametrize("source", ["timescaledb", "postgresql"])
def test_as_root_without_user_namespaces_another_user_takes_over(tmp_path: Path, source: Source) -> None:
    require(source)
    had_cache = SHARED_CACHE.exists()
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    database = EmbeddedPostgres(state, cache_folder(), source=source, user_namespace=False)
    try:
        with database:
            owner = Path(f"/proc/{database.process.pid}").stat().st_uid
            assert owner != 0
            execute(database, "CREATE TABLE kept (number int)")
        with database:
            assert value(database, "SELECT count(*) FROM kept") == 0
        data = Path(str(database._data))
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        purge(state)
        assert not data.exists()
    finally:
        if not had_cache:
            shutil.rmtree(SHARED_CACHE, ignore_errors=True)
