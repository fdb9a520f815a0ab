"""A connection as the sink needs it."""

from collections.abc import Callable

import psycopg
from pydantic import SecretStr

# A sink that hangs in a transaction (a stopped process, a machine cut off) holds the fence until the server ends it:
# idle ones soon; a COPY that gets no more data counts as a running statement.
_SESSION = """
SET idle_in_transaction_session_timeout = '30s';
SET statement_timeout = '120s';
SET lock_timeout = '60s';
SET timezone = 'UTC';
"""


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
        connection = psycopg.connect(
            url.get_secret_value(),
            autocommit=True,
            connect_timeout=connect_timeout,
            application_name=name,
            client_encoding="utf8",  # of the bytes in COPY, whatever the database itself uses
            # The few statements of a batch gain little from being prepared, and poolers dislike it.
            prepare_threshold=None,
            # A server that vanished without a word is found after half a minute, not after two hours.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=4,
            tcp_user_timeout=30_000,
        )
        try:
            connection.execute(_SESSION)
        except BaseException:
            connection.close()
            raise
        return connection

    return connect
