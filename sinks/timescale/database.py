"""The database as a sink holds it: one connection, which outages end and patience makes anew."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
import structlog

from schemas.errors import DatabaseError, first_line
from sinks.patience import patiently
from sinks.timescale.migrate import migrate, require_current
from sinks.timescale.verdicts import Verdict, judge

_LOG = structlog.get_logger(__name__)
_Result = TypeVar("_Result")

Work = Callable[[psycopg.Connection], _Result]
"""Something that is done over a connection."""


class OutageError(Exception):
    """The database does not answer or cannot write now; what was to be done is not done, and may be tried again."""


class Database:
    """One connection, made anew after an outage; an open transaction is undone with it. Not for several threads.

    Args:
        connect: makes a connection in autocommit mode; may raise psycopg.OperationalError.
        stop: set when waiting for the database must end.
        longest_wait: longest pause between two attempts, in seconds.
        purpose: what it refuses when it refuses, for the message.
        on_outage: called at each attempt that ends in an outage.
    """

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        stop: threading.Event,
        longest_wait: float = 10.0,
        *,
        purpose: str = "to store",
        on_outage: Callable[[], object] = lambda: None,
    ) -> None:
        self._connect = connect
        self._stop = stop
        self._longest_wait = longest_wait
        self._purpose = purpose
        self._on_outage = on_outage
        self._connection: psycopg.Connection | None = None
        self.waiting = False
        """Whether the database was out of reach at the last attempt."""
        self.preparing = False
        """Whether tables are being looked at or built, which takes as long as it takes."""

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def prepare(self, *, build: bool) -> None:
        """See to it that the tables are there, over a connection of its own; blocks through outages.

        Args:
            build: apply the migrations that are missing; otherwise they must be there.

        Raises:
            StoppedError: told to stop while waiting.
            DatabaseError: tables are missing, newer than this program, or refused.
        """

        def once() -> None:
            with self._connect() as connection:
                if build:
                    migrate(connection)
                else:
                    _LOG.info("database", is_=require_current(connection).text)

        self.preparing = True
        try:
            patiently(once, psycopg.OperationalError, self._stop, "the database", self._longest_wait)
        finally:
            self.preparing = False

    def patiently(self, work: Work[_Result]) -> _Result:
        """As `once`, again and again through outages.

        Raises:
            StoppedError: told to stop while waiting.
            DatabaseError: the database refuses for good.
        """
        return patiently(lambda: self.once(work), OutageError, self._stop, "the database", self._longest_wait)

    def once(self, work: Work[_Result]) -> _Result:
        """Do something over the connection; blocks. Errors that are not the database's pass through.

        Raises:
            OutageError: the database is out of reach, cannot write, or has too little for this transaction.
            DatabaseError: the database refuses for good.
        """
        try:
            if self._connection is None:
                self._connection = self._connect()
            result = work(self._connection)
        except psycopg.Error as error:
            if judge(error) in (Verdict.OUTAGE, Verdict.TOO_MUCH):
                self.waiting = True
                self._on_outage()
                self.close()
                raise OutageError(first_line(error)) from error
            raise DatabaseError(
                f"the database refuses {self._purpose}: {first_line(error)}",
                "See `sigmawatch db status`, and the user's rights.",
            ) from error
        self.waiting = False
        return result


@contextmanager
def transaction(connection: psycopg.Connection) -> Iterator[None]:
    """A transaction that is committed when the block is left without an error.

    Raises:
        psycopg.OperationalError: the connection was closed within the block, which psycopg passes over without a word.
    """
    with connection.transaction():
        yield
    if connection.closed:
        raise psycopg.OperationalError("the connection was closed before COMMIT")
