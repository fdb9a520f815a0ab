"""A connection as the sink needs it, and its shortest question."""

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from schemas.errors import ConfigError
from schemas.settings import Settings

# A sink that hangs in a transaction (a stopped process, a machine cut off) holds the fence until the server ends it:
# idle ones soon; a COPY that gets no more data counts as a running statement.
_SESSION = """
SET idle_in_transaction_session_timeout = '30s';
SET statement_timeout = '120s';
SET lock_timeout = '60s';
SET timezone = 'UTC';
"""


def one_row(
    connection: psycopg.Connection, query: str | sql.Composed, *parameters: object
) -> tuple[Any, ...]:
    """The row of a query that always has one: an aggregate, or a table of one row."""
    statement = query.encode() if isinstance(query, str) else query
    row: tuple[Any, ...] | None = connection.execute(statement, parameters or None).fetchone()
    assert row is not None, "a query of one row"
    return row


def connection_options(name: str, connect_timeout: int) -> dict[str, Any]:
    """Options of libpq and psycopg that every connection of sinks and readers has; in autocommit mode.

    Args:
        name: what pg_stat_activity shows.
        connect_timeout: seconds for each address of the server.
    """
    return {
        "autocommit": True,
        "connect_timeout": connect_timeout,
        "application_name": name,
        "client_encoding": "utf8",  # of the bytes in COPY, whatever the database itself uses
        # The few statements of a batch gain little from being prepared, poolers dislike it, and a plan for all parameters
        # knows nothing of the chunks asked for.
        "prepare_threshold": None,
        # A server that vanished without a word is found after half a minute, not after two hours.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
        "tcp_user_timeout": 30_000,
    }


def connector_of(settings: Settings, *, name: str = "sigmawatch-sink") -> Callable[[], psycopg.Connection]:
    """`connector` of the database that the settings name.

    Raises:
        ConfigError: they name none.
    """
    if settings.database.url is None:
        raise ConfigError("database.url is not set", "Set SIGMAWATCH_DATABASE__URL or --database.")
    timeout = max(1, round(settings.database.connect_timeout))
    return connector(settings.database.url, name=name, connect_timeout=timeout)


def connector(
    url: SecretStr, *, name: str = "sigmawatch-sink", connect_timeout: int = 10
) -> Callable[[], psycopg.Connection]:
    """A function that makes connections in autocommit mode; it blocks up to `connect_timeout` seconds.

    Args:
        url: postgresql:// address or key=value text.
        name: what pg_stat_activity shows.
        connect_timeout: seconds for each address of the server.
    """

    def connect() -> psycopg.Connection:
        connection = psycopg.connect(url.get_secret_value(), **connection_options(name, connect_timeout))
        try:
            connection.execute(_SESSION)
        except BaseException:
            connection.close()
            raise
        return connection

    return connect
