"""What a database error means for the batch: the row's fault, an outage, or the end.

By SQLSTATE (PostgreSQL's manual, appendix A), as drivers' classes mix outages and refusals.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

import psycopg

from schemas.errors import DatabaseError, first_line


class Verdict(Enum):
    """What to do about an error."""

    ROW = auto()
    """A row is refused: find it, and make it a dead letter."""
    OUTAGE = auto()
    """Wait and try again; nothing is wrong with the rows."""
    TOO_MUCH = auto()
    """The transaction needs more of the server than it has: try half of it."""
    FATAL = auto()
    """No waiting helps: stop and say why."""


# Data exceptions, constraints, WITH CHECK OPTION, PL/pgSQL's RAISE, limits such as an index row's size.
_ROW_CLASSES = ("22", "23", "44", "P0", "54")
# Connection, transaction state (read-only standby, idle timeout), rollback (serialization, deadlock), resources
# (disk, connections), object state (locks), operator intervention (shutdown, cancel), system, internal.
_OUTAGE_CLASSES = ("08", "25", "40", "53", "55", "57", "58", "XX")
# Chunks of a hypertable take locks each: history of many years in one batch can exceed the lock table (53200), or take
# longer than a statement may (57014); older TimescaleDBs unpack much of the columnstore for it, up to a limit (53400).
_TOO_MUCH = ("53200", "53400", "57014")


def judge(error: psycopg.Error) -> Verdict:
    """The verdict on an error that the driver raised."""
    state = error.sqlstate
    if state is None:
        # No answer of the server: the connection is gone, or the driver itself refused a value (a NUL in a text).
        return Verdict.ROW if isinstance(error, psycopg.DataError) else Verdict.OUTAGE
    if state in _TOO_MUCH:
        return Verdict.TOO_MUCH
    if state.startswith(_ROW_CLASSES):
        return Verdict.ROW
    return Verdict.OUTAGE if state.startswith(_OUTAGE_CLASSES) else Verdict.FATAL


@contextmanager
def needing_rights(remedy: str) -> Iterator[None]:
    """A block in which a right that is missing becomes a DatabaseError with a remedy."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseError(f"the database user lacks a right: {first_line(error)}", remedy) from error
