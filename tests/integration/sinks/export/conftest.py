"""A database of its own for each test."""

from tests.support.sinks import database, plain_database

__all__ = ["database", "plain_database"]
