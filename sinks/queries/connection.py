"""Connections that only read: transactions are read-only, and no statement takes forever."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout
from pydantic import SecretStr

from schemas.errors import SigmawatchError, first_line
from sinks.timescale.connection import connection_options


class DatabaseAwayError(SigmawatchError):
    """The database does not answer now; the question may be asked again."""


def reader(
    url: SecretStr,
    *,
    name: str = "sigmawatch-reader",
    timeout_seconds: float = 20.0,
    connect_timeout: int = 10,
) -> psycopg.Connection:
    """A connection in autocommit mode; blocks up to `connect_timeout` seconds.

    Args:
        url: of the database; its user needs no more than SELECT.
        name: what pg_stat_activity shows.
        timeout_seconds: of one statement; 0 for no limit (exports).
        connect_timeout: seconds for each address of the server.

    Raises:
        psycopg.OperationalError: the database does not answer, or refuses us.
    """
    connection = psycopg.connect(url.get_secret_value(), **connection_options(name, connect_timeout))
    try:
        _configure(connection, timeout_seconds)
    except BaseException:
        connection.close()
        raise
    return connection


class Readers:
    """A pool of such connections, for many threads. Connects when it is first asked; `close` ends it.

    Args:
        url: of the database.
        size: connections at most.
        timeout_seconds: of one statement, and of waiting for a free connection.
        connect_timeout: seconds for each address of the server.
    """

    def __init__(
        self, url: SecretStr, *, size: int = 4, timeout_seconds: float = 20.0, connect_timeout: int = 10
    ) -> None:
        def configure(connection: psycopg.Connection) -> None:
            _configure(connection, timeout_seconds)

        self._wait = min(timeout_seconds, 5.0)
        self._pool = ConnectionPool(
            url.get_secret_value(),
            kwargs=connection_options("sigmawatch-api", connect_timeout),
            min_size=0,
            max_size=size,
            open=False,
            configure=configure,
            check=ConnectionPool.check_connection,
            max_idle=60.0,
            name="readers",
        )

    def open(self) -> None:
        """Begin; connects nothing yet."""
        self._pool.open()

    def close(self) -> None:
        """End; connections in use are ended as well."""
        self._pool.close(timeout=2.0)

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """A connection to ask with.

        Raises:
            DatabaseAwayError: none can be had, it broke, or the statement took too long.
        """
        try:
            with self._pool.connection(timeout=self._wait) as connection:
                yield connection
        except PoolTimeout:
            raise DatabaseAwayError(
                "the database does not answer, or all connections to it are busy", "Try again in a moment."
            ) from None
        except psycopg.errors.QueryCanceled:
            raise DatabaseAwayError(
                "the database took too long for this question", "Ask for a shorter stretch of time."
            ) from None
        except psycopg.errors.UndefinedTable:
            raise DatabaseAwayError(
                "the database has no tables of ours yet", "Run `sigmawatch db migrate`."
            ) from None
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseAwayError(
                f"the database refuses to be read: {first_line(error)}",
                "Grant SELECT to its user.",
            ) from None
        except psycopg.OperationalError as error:
            raise DatabaseAwayError(
                f"the database does not answer: {first_line(error)}", "Try again in a moment."
            ) from None


def _configure(connection: psycopg.Connection, timeout_seconds: float) -> None:
    connection.execute(
        f"""SET default_transaction_read_only = on; SET statement_timeout = {round(timeout_seconds * 1000)};
            SET idle_in_transaction_session_timeout = '60s'; SET timezone = 'UTC'; SET jit = off;""".encode()
    )
