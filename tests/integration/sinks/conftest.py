"""Fixtures of the sinks' tests, beside the common `broker` and `database_server`."""

from tests.support.sinks import database, postgresql_server, timescaledb_server, topics

__all__ = ["database", "postgresql_server", "timescaledb_server", "topics"]
