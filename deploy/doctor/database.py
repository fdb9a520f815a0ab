"""Checks of the database: reachable, migrated, how strong, what our role may, room, clock."""

import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploy.clients import connect_database, database_url, safe_place
from deploy.doctor.check import Context, Finding, check, fail, ok, skipped, warn
from deploy.doctor.machine import size
from schemas.errors import DatabaseError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

_TABLES = ("readings", "devices", "anomalies", "sink_offset")
_FAR_APART_SECONDS = 5.0
_LITTLE_SPACE = 5 << 30
_NO_SPACE = 500 << 20

_RIGHTS = """
SELECT t.name, to_regclass(t.name) IS NOT NULL,
       coalesce(has_table_privilege(to_regclass(t.name), 'SELECT'), false),
       coalesce(has_table_privilege(to_regclass(t.name), 'INSERT')
                AND (t.name = 'readings' OR has_table_privilege(to_regclass(t.name), 'UPDATE')), false)
FROM unnest(%s::text[]) AS t (name)
"""


@check("database")
def look_at_database(context: Context) -> list[Finding]:
    """Whether it answers, and what it is."""
    settings = context.known
    if settings.database.url is None:
        return [skipped("no database.url is set; `sigmawatch up` brings its own")]
    from sinks.timescale.migrate import Strength, inspect_server  # noqa: PLC0415 - psycopg behind it

    with _connected(context) as connection:
        server = inspect_server(connection)
        available = connection.execute(
            "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb' AND installed_version IS NULL"
        ).fetchone()
    version = f"{server.postgres // 10_000}.{server.postgres % 10_000}"
    extension = f", TimescaleDB {server.timescaledb}" if server.timescaledb else ""
    place = safe_place(database_url(settings))
    found = [ok(f"{place}: PostgreSQL {version}{extension}: {server.strength.text}")]
    if server.strength is Strength.PLAIN and available:
        found.append(
            warn(
                "TimescaleDB is installed on the server and not in this database",
                "Let a superuser run CREATE EXTENSION timescaledb, then `sigmawatch db migrate`.",
            )
        )
    return found


@check("migrations", needs=("database",))
def look_at_migrations(context: Context) -> Finding:
    """Whether all tables are there, and of this version."""
    from sinks.timescale.migrate import status  # noqa: PLC0415

    with _connected(context) as connection:
        rows = status(connection)
    pending = [f"{row.version:03d}_{row.name}" for row in rows if row.state == "pending"]
    if pending:
        return fail(f"pending: {', '.join(pending)}", "Run `sigmawatch db migrate`.")
    applied = sum(row.state == "applied" for row in rows)
    skipped_ones = len(rows) - applied
    more = f", {skipped_ones} are for stronger servers" if skipped_ones else ""
    return ok(f"all {applied} are applied{more}")


@check("rights", needs=("migrations",))
def look_at_rights(context: Context) -> Finding:
    """What our role may do with the tables."""
    with _connected(context) as connection:
        ((role, may_create),) = connection.execute(
            "SELECT current_user, has_schema_privilege(current_schema(), 'CREATE')"
        ).fetchall()
        rows = connection.execute(_RIGHTS, (list(_TABLES),)).fetchall()
    unreadable = [name for name, there, reads, _ in rows if not (there and reads)]
    if unreadable:
        return fail(
            f"{role} may not read {', '.join(unreadable)}", "Grant it SELECT, or use the reader's role."
        )
    unwritable = [name for name, _, _, writes in rows if not writes]
    if unwritable:
        return warn(
            f"{role} may read, and not write {', '.join(unwritable)}",
            "Enough for reading and exporting; `sigmawatch sink timescale` needs the writer's rights: `sigmawatch db roles`.",
        )
    return ok(f"{role} may read and write{', and migrate' if may_create else ''}")


@check("database space", needs=("database",))
def look_at_space(context: Context) -> Finding:
    """How large the database is, and what room its disk has, where that can be seen from here."""
    with _connected(context) as connection:
        ((used,),) = connection.execute("SELECT pg_database_size(current_database())").fetchall()
        ((folder,),) = connection.execute(
            "SELECT (SELECT setting FROM pg_settings WHERE name = 'data_directory')"
        ).fetchall()
    text = f"{size(used)} in use"
    host = urlsplit(database_url(context.known)).hostname or "localhost"
    if not folder or host not in ("localhost", "127.0.0.1", "::1"):
        return ok(f"{text}; the room on its disk cannot be seen from here")
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return ok(f"{text}; the room on its disk cannot be seen from here")
    text = f"{text}, {size(usage.free)} of {size(usage.total)} free on its disk"
    if usage.free < _NO_SPACE:
        return fail(text, "Make room at once: a full disk stops the database.")
    if usage.free < _LITTLE_SPACE:
        return warn(text, "Make room, or let old readings go: database.keep_readings.")
    return ok(text)


@check("clock of the database", needs=("database",))
def look_at_database_clock(context: Context) -> Finding:
    """The database's clock against this machine's."""
    with _connected(context) as connection:
        before = time.time()
        ((theirs,),) = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchall()
        after = time.time()
    apart = theirs - (before + after) / 2
    text = f"{abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this machine's"
    if abs(apart) > _FAR_APART_SECONDS + (after - before):
        return warn(text, "Set both clocks by NTP.")
    return ok(text)


@contextmanager
def _connected(context: Context) -> "Iterator[psycopg.Connection]":
    """A connection whose errors are ours."""
    import psycopg  # noqa: PLC0415 - not needed where no database is set

    settings = context.known
    quick = settings.database.model_copy(update={"connect_timeout": context.seconds})
    try:
        with connect_database(settings.model_copy(update={"database": quick})) as connection:
            connection.execute(f"SET statement_timeout = {round(context.seconds * 1000)}".encode())
            yield connection
    except psycopg.Error as error:
        raise DatabaseError(f"the database does not answer the question: {first_line(error)}") from None
