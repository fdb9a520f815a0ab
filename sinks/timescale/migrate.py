"""The database's tables, built by numbered SQL files that are applied once each.

`migrations/NNN_name.sql` suits every PostgreSQL; `NNN_name.apache.sql` needs TimescaleDB of at least the Apache-2
edition, `NNN_name.community.sql` the community edition, from 2.18.1 on. A file that the server cannot do is recorded as
skipped and applied as soon as the server can. Each file is one transaction; an advisory lock
lets one process migrate at a time. The table `schema_migration` says what was done.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import pairwise

import psycopg
import structlog

from schemas.errors import DatabaseError, first_line
from sinks.timescale.verdicts import needing_rights

_LOG = structlog.get_logger(__name__)

_OLDEST_SERVER = 140_000  # PostgreSQL 14: the oldest that is still maintained
# Of the community edition. Before it, INSERT ... ON CONFLICT DO NOTHING into the columnstore passes over the rows that come
# after the first repeated one (timescaledb pull request 7673), so such a server gets no columnstore.
_OLDEST_COLUMNSTORE = (2, 18, 1)
_LOCK = int.from_bytes(hashlib.sha256(b"sigmawatch schema_migration").digest()[:8], "big", signed=True)
_FILE_NAME = re.compile(r"(?P<version>\d{3})_(?P<name>\w+?)(\.(?P<strength>apache|community))?\.sql")

# What CREATE EXTENSION says where the library is installed but cannot be used; plain PostgreSQL it is, then.
_NO_EXTENSION = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.ObjectNotInPrerequisiteState,
    psycopg.errors.UndefinedFile,
    psycopg.errors.UndefinedObject,
    psycopg.errors.ConfigFileError,
)


class Strength(IntEnum):
    """What the server can do; each includes the ones before."""

    PLAIN = 0
    APACHE = 1
    COMMUNITY = 2

    @property
    def text(self) -> str:
        """The strength in words, for the log."""
        return _STRENGTH_TEXTS[self]


_STRENGTH_TEXTS = {
    Strength.PLAIN: "plain PostgreSQL (tables and indexes)",
    Strength.APACHE: "TimescaleDB, Apache-2 edition (hypertables, time_bucket, drop_chunks)",
    Strength.COMMUNITY: "TimescaleDB, community edition (compression, continuous aggregates, policies)",
}


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `version` orders it, `needs` says which strength can apply it, `checksum` is of its text."""

    version: int
    name: str
    needs: Strength
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, independent of line ends."""
        return hashlib.sha256(self.text.replace("\r\n", "\n").encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """What the database says about one file; `state` is "applied", "skipped" or "pending"."""

    version: int
    name: str
    needs: Strength
    state: str
    applied_at: datetime | None


@dataclass(frozen=True, slots=True)
class Server:
    """Versions and strength of a database server."""

    postgres: int
    timescaledb: str | None
    strength: Strength


def load_migrations(folder: Traversable) -> list[Migration]:
    """The files of a folder in their order.

    Raises:
        DatabaseError: a file's name is not `NNN_name[.apache|.community].sql`, or a number occurs twice.
    """
    migrations = []
    for file in folder.iterdir():
        if not file.name.endswith(".sql"):
            continue
        match = _FILE_NAME.fullmatch(file.name)
        if match is None:
            raise DatabaseError(
                f"migration {file.name} has no proper name", "Call it NNN_name[.apache|.community].sql."
            )
        needs = Strength[(match["strength"] or "plain").upper()]
        migrations.append(Migration(int(match["version"]), match["name"], needs, file.read_text("utf-8")))
    migrations.sort(key=lambda migration: migration.version)
    for earlier, later in pairwise(migrations):
        if earlier.version == later.version:
            raise DatabaseError(f"two migrations have the number {later.version:03d}", "Renumber one.")
    return migrations


@lru_cache(maxsize=1)
def packaged_migrations() -> tuple[Migration, ...]:
    """The migrations of this program."""
    return tuple(load_migrations(resources.files("sinks.timescale") / "migrations"))


def inspect_server(connection: psycopg.Connection) -> Server:
    """What the server is.

    Raises:
        DatabaseError: older than PostgreSQL 14.
    """
    version = connection.info.server_version
    if version < _OLDEST_SERVER:
        raise DatabaseError(f"PostgreSQL {version // 10_000} is too old", "Use PostgreSQL 14 or newer.")
    found = connection.execute(
        """SELECT (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
                  current_setting('timescaledb.license', true)"""
    ).fetchone()
    extension, licence = found or (None, None)
    return Server(version, extension, _strength(extension, licence))


def _strength(extension: str | None, licence: str | None) -> Strength:
    """What TimescaleDB of a version and licence can do; None where it is not there."""
    if extension is None:
        return Strength.PLAIN
    if licence != "timescale":
        return Strength.APACHE
    if tuple(map(int, re.findall(r"\d+", extension)[:3])) < _OLDEST_COLUMNSTORE:
        _LOG.warning(
            "TimescaleDB's community edition is used like the Apache-2 one: it is too old",
            version=extension,
            remedy="update it to 2.18.1 or newer (ALTER EXTENSION timescaledb UPDATE), then migrate again",
        )
        return Strength.APACHE
    return Strength.COMMUNITY


def migrate(connection: psycopg.Connection, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Bring the database to the newest state; blocks while another process migrates it.

    Where nothing is to be done no rights are needed but to read what was: a sink may be a mere writer.

    Args:
        connection: in autocommit mode, without an open transaction.
        migrations: other files than the package's own, for tests.

    Returns:
        What was applied now.

    Raises:
        DatabaseError: a newer program's database, an applied file was changed, rights are missing,
            or the server is too old.
        psycopg.OperationalError: an outage.
    """
    known = packaged_migrations() if migrations is None else tuple(migrations)
    with _locked(connection), _explained():
        _gain_extension(connection)
        server = inspect_server(connection)
        _LOG.info(
            "database", postgres=server.postgres, timescaledb=server.timescaledb, is_=server.strength.text
        )
        if not _has_record(connection):  # IF NOT EXISTS would want the right to create, also where it exists
            connection.execute(
                """CREATE TABLE schema_migration (
                       version integer PRIMARY KEY,
                       name text NOT NULL,
                       checksum text NOT NULL,
                       skipped boolean NOT NULL,
                       applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
            )
        recorded = _recorded(connection)
        _check(known, recorded)
        return [migration for migration in known if _apply(connection, migration, server, recorded)]


def status(
    connection: psycopg.Connection, migrations: Sequence[Migration] | None = None
) -> list[MigrationStatus]:
    """What of the files is in the database; changes nothing.

    Raises:
        DatabaseError: as `migrate` does.
    """
    known = packaged_migrations() if migrations is None else tuple(migrations)
    with _explained():
        inspect_server(connection)
        recorded = _recorded(connection)
    _check(known, recorded)
    rows = []
    for migration in known:
        record = recorded.get(migration.version)
        state = "pending" if record is None else ("skipped" if record.skipped else "applied")
        rows.append(
            MigrationStatus(
                migration.version,
                migration.name,
                migration.needs,
                state,
                record.applied_at if record else None,
            )
        )
    return rows


def require_current(
    connection: psycopg.Connection, migrations: Sequence[Migration] | None = None
) -> Strength:
    """The strength of a database that has all its tables.

    Raises:
        DatabaseError: migrations are pending, or as `migrate` does.
    """
    pending = [row.name for row in status(connection, migrations) if row.state == "pending"]
    if pending:
        raise DatabaseError(
            f"the database lacks the migrations {', '.join(pending)}", "Run `sigmawatch db migrate`."
        )
    return inspect_server(connection).strength


@dataclass(frozen=True, slots=True)
class _Record:
    checksum: str
    skipped: bool
    applied_at: datetime


def _has_record(connection: psycopg.Connection) -> bool:
    exists = connection.execute("SELECT to_regclass('schema_migration') IS NOT NULL").fetchone()
    return bool(exists and exists[0])


def _recorded(connection: psycopg.Connection) -> dict[int, _Record]:
    if not _has_record(connection):
        return {}
    rows = connection.execute("SELECT version, checksum, skipped, applied_at FROM schema_migration")
    return {version: _Record(checksum, skipped, when) for version, checksum, skipped, when in rows}


def _check(known: Sequence[Migration], recorded: dict[int, _Record]) -> None:
    """Refuse a database that is not ours to change."""
    newest = max((migration.version for migration in known), default=0)
    unknown = sorted(set(recorded) - {migration.version for migration in known})
    if unknown:
        raise DatabaseError(
            f"the database has migration {unknown[-1]:03d}, this program knows them up to {newest:03d}",
            "Install the newer Sigmawatch that made it, or name another database.url.",
        )
    for migration in known:
        record = recorded.get(migration.version)
        if record and not record.skipped and record.checksum != migration.checksum:
            raise DatabaseError(
                f"migration {migration.version:03d}_{migration.name} was changed after it was applied",
                "Restore the file, and write the change as a new migration.",
            )


def _apply(
    connection: psycopg.Connection, migration: Migration, server: Server, recorded: dict[int, _Record]
) -> bool:
    """Apply or skip one file; True where it was applied."""
    record = recorded.get(migration.version)
    able = server.strength >= migration.needs
    if record is not None and (not record.skipped or not able):
        return False
    with connection.transaction():
        if able:
            # A big table takes its time to move into chunks; what bounds the sink's statements would stop it every time.
            connection.execute("SET LOCAL statement_timeout = 0")
            # Several statements; bytes, as nothing is interpolated.
            connection.execute(migration.text.encode())
        connection.execute(
            """INSERT INTO schema_migration (version, name, checksum, skipped) VALUES (%s, %s, %s, %s)
               ON CONFLICT (version) DO UPDATE SET checksum = EXCLUDED.checksum, skipped = EXCLUDED.skipped,
                   applied_at = EXCLUDED.applied_at""",
            (migration.version, migration.name, migration.checksum, not able),
        )
    _LOG.info(
        "migration applied" if able else "migration skipped: the server cannot do it",
        migration=f"{migration.version:03d}_{migration.name}",
    )
    return able


def _gain_extension(connection: psycopg.Connection) -> None:
    """Switch TimescaleDB on where the server has it and lets us; otherwise the database stays plain."""
    available = connection.execute(
        "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb' AND installed_version IS NULL"
    ).fetchone()
    if available is None:
        return
    try:
        # Where it is not preloaded, CREATE EXTENSION would end the connection. Ordinary users may not even ask.
        loaded = connection.execute("SELECT current_setting('shared_preload_libraries')").fetchone()
        if loaded is None or "timescaledb" not in loaded[0]:
            reason = "shared_preload_libraries does not name it"
        else:
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            return
    except _NO_EXTENSION as error:
        reason = first_line(error)
    _LOG.warning(
        "TimescaleDB is installed on the server but not in this database",
        reason=reason,
        remedy="let a superuser run CREATE EXTENSION timescaledb here, then migrate again",
    )


@contextmanager
def _locked(connection: psycopg.Connection) -> Iterator[None]:
    """The advisory lock of all migrating processes; blocks until it is free."""
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the server refuses for good into one line with a remedy."""
    try:
        with needing_rights("Grant it CREATE on the schema, or let its owner run `sigmawatch db migrate`."):
            yield
    except psycopg.errors.InvalidAuthorizationSpecification as error:
        # To psycopg this is the same class as an outage.
        raise DatabaseError(
            f"the database refuses a policy: {first_line(error)}",
            "TimescaleDB runs policies as the tables' owner: let that role log in (ALTER ROLE ... LOGIN).",
        ) from error
    except (psycopg.errors.ProgrammingError, psycopg.errors.NotSupportedError) as error:
        raise DatabaseError(
            f"the database refuses a migration: {first_line(error)}",
            "See the server's log; an empty database always works.",
        ) from error
