"""Fixtures of the sinks' tests, beside the common brokers and database servers."""

from tests.support.sinks import database, embedded_database, plain_database, topics

__all__ = ["database", "embedded_database", "plain_database", "topics"]
