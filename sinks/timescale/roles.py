"""The database's three roles, each with what it needs and no more: migrator, writer, reader.

| role | for | may |
|---|---|---|
| migrator | `db migrate`, `db maintain` | everything with our tables, which it owns |
| writer | sinks | add readings; add and change anomalies, devices and what sinks remember |
| reader | API, `read`, `export`, quality, people | read, in transactions that are read-only by default |

`set_up_roles` may be run any number of times, and again after a migration. Passwords reach the server only as SCRAM verifiers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg
from psycopg import sql
from pydantic import SecretStr

from schemas.errors import DatabaseError
from sinks.timescale.connection import one_row
from sinks.timescale.verdicts import needing_rights

KINDS = ("migrator", "writer", "reader")

# What the writer may do with a table; with any other, which is what a sink remembers, everything but TRUNCATE.
_WRITING = {
    "readings": "SELECT, INSERT",
    "anomalies": "SELECT, INSERT, UPDATE",
    "schema_migration": "SELECT",
    "maintenance": "SELECT",
    "rollup_mark": "SELECT, INSERT",
    "rollup_minutes": "SELECT",
    "rollup_hours": "SELECT",
    "sink_offset": "SELECT, INSERT, UPDATE",
}
_REMEMBERED = "SELECT, INSERT, UPDATE, DELETE"
_VIEWS = frozenset({"v", "m"})
_WITH_SET = 160_000
"""Since PostgreSQL 16 who makes a role is a member of it that may not act as it."""

_RELATIONS = """
SELECT c.relname, c.relkind::text, r.rolname FROM pg_class AS c
JOIN pg_roles AS r ON r.oid = c.relowner
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
ORDER BY c.relkind, c.relname"""


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles' names, and the passwords that are set; a role without one keeps what it has."""

    migrator: str
    writer: str
    reader: str
    passwords: dict[str, SecretStr]

    @classmethod
    def of_prefix(cls, prefix: str, passwords: dict[str, SecretStr | None]) -> "Roles":
        """PREFIX_migrator, PREFIX_writer, PREFIX_reader; `passwords` by kind."""
        given = {kind: password for kind, password in passwords.items() if password is not None}
        return cls(f"{prefix}_migrator", f"{prefix}_writer", f"{prefix}_reader", given)

    def named(self) -> dict[str, str]:
        """Kind -> name."""
        return {"migrator": self.migrator, "writer": self.writer, "reader": self.reader}


def existing_roles(connection: psycopg.Connection, names: Iterable[str]) -> set[str]:
    """Those of the names that are roles of the server already."""
    rows = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", (list(names),))
    return {name for (name,) in rows}


def set_up_roles(connection: psycopg.Connection, roles: Roles) -> list[str]:
    """Create the roles, hand the tables to the migrator, grant and revoke; what was done, in words.

    One transaction. The connection's user must be a superuser, or own the tables and be allowed to create roles.

    Raises:
        DatabaseError: a right is missing, or a new role has no password.
    """
    remedy = "Let a superuser, or the tables' owner with CREATEROLE, run `sigmawatch db roles`."
    with needing_rights(remedy), connection.transaction():
        done = [_create(connection, roles, kind, name) for kind, name in roles.named().items()]
        _join(connection, roles)
        done += _own(connection, roles)
        _grant(connection, roles)
    return [line for line in done if line]


def _create(connection: psycopg.Connection, roles: Roles, kind: str, name: str) -> str:
    password = roles.passwords.get(kind)
    exists = name in existing_roles(connection, [name])
    if not exists and password is None:
        raise DatabaseError(
            f"the new role {name} has no password",
            f"Set SIGMAWATCH_DATABASE__{kind.upper()}_PASSWORD, or run `sigmawatch db roles` in a terminal.",
        )
    options = sql.SQL("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS")
    if exists:
        # Who is no superuser may not even say NOSUPERUSER; what the role was made with stays.
        options = sql.SQL("LOGIN")
    if password is not None:
        options = sql.SQL("{} PASSWORD {}").format(
            options, sql.Literal(_verifier(connection, name, password))
        )  # type: ignore[assignment]
    verb = sql.SQL("ALTER" if exists else "CREATE")
    connection.execute(sql.SQL("{} ROLE {} WITH {}").format(verb, sql.Identifier(name), options))
    if not exists:
        return f"made role {name}"
    return f"set the password of {name}" if password is not None else ""


def _verifier(connection: psycopg.Connection, name: str, password: SecretStr) -> str:
    """What the server keeps of a password: so that it never passes through statements, logs or errors."""
    return connection.pgconn.encrypt_password(
        password.get_secret_value().encode(), name.encode(), b"scram-sha-256"
    ).decode()


def _join(connection: psycopg.Connection, roles: Roles) -> None:
    """Who is no superuser must be a member of the role to hand it anything."""
    kind = "SET" if connection.info.server_version >= _WITH_SET else "MEMBER"
    row = connection.execute(
        "SELECT pg_has_role(current_user, %s, %s), current_user", (roles.migrator, kind)
    ).fetchone()
    if row is not None and not row[0]:
        _run(connection, "GRANT {role} TO {me}", role=roles.migrator, me=row[1])


def _own(connection: psycopg.Connection, roles: Roles) -> list[str]:
    """Give the migrator the schema's rights, tables, views and functions, and the policies."""
    (database, schema) = one_row(connection, "SELECT current_database(), current_schema()")
    _run(
        connection,
        "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role}",
        database=database,
        role=roles.migrator,
    )
    _run(connection, "GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}", schema=schema, role=roles.migrator)
    moved = [
        (name, kind)
        for name, kind, owner in connection.execute(_RELATIONS.encode())
        if owner != roles.migrator
    ]
    for name, kind in moved:
        what = (
            "MATERIALIZED VIEW"
            if _is_aggregate(connection, name)
            else ("VIEW" if kind in _VIEWS else "TABLE")
        )
        _run(connection, f"ALTER {what} {{name}} OWNER TO {{role}}", name=name, role=roles.migrator)
    for function in ("mark_rollups", "mark_rollup_of_row"):
        if one_row(connection, "SELECT to_regproc(%s) IS NOT NULL", function)[0]:
            _run(connection, "ALTER FUNCTION {name} OWNER TO {role}", name=function, role=roles.migrator)
    return [f"{roles.migrator} owns {len(moved)} tables and views"] if moved else []


def _grant(connection: psycopg.Connection, roles: Roles) -> None:
    (database, schema) = one_row(connection, "SELECT current_database(), current_schema()")
    names = {
        "database": database,
        "schema": schema,
        "writer": roles.writer,
        "reader": roles.reader,
        "migrator": roles.migrator,
    }

    def run(statement: str, **more: str) -> None:
        _run(connection, statement, **names, **more)

    run("REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC")  # as PostgreSQL 15 has it
    run("GRANT CONNECT ON DATABASE {database} TO {writer}, {reader}")
    run(
        "GRANT TEMPORARY ON DATABASE {database} TO {writer}"
    )  # repeated readings go through a table of their own
    run("GRANT USAGE ON SCHEMA {schema} TO {writer}, {reader}")
    run("REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {writer}, {reader}")
    for name, kind, _owner in connection.execute(_RELATIONS.encode()).fetchall():
        run("GRANT SELECT ON {name} TO {reader}", name=name)
        rights = "SELECT" if kind in _VIEWS else _WRITING.get(name, _REMEMBERED)
        run(f"GRANT {rights} ON {{name}} TO {{writer}}", name=name)
    run("ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader}")
    run(
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {{migrator}} IN SCHEMA {{schema}} GRANT {_REMEMBERED} ON TABLES TO {{writer}}"
    )
    run("ALTER ROLE {reader} IN DATABASE {database} SET default_transaction_read_only = on")


def _is_aggregate(connection: psycopg.Connection, name: str) -> bool:
    """Whether a view is a continuous aggregate."""
    if not one_row(
        connection, "SELECT to_regclass('timescaledb_information.continuous_aggregates') IS NOT NULL"
    )[0]:
        return False
    query = "SELECT count(*) FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema() AND view_name = %s"
    return bool(one_row(connection, query, name)[0])


def _run(connection: psycopg.Connection, statement: str, **names: str) -> None:
    identifiers = {key: sql.Identifier(name) for key, name in names.items()}
    connection.execute(sql.SQL(statement).format(**identifiers))
