import psycopg
import pytest

from sinks.timescale.verdicts import Verdict, judge

ERRORS = psycopg.errors


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ERRORS.CharacterNotInRepertoire, Verdict.ROW),
        (ERRORS.DatetimeFieldOverflow, Verdict.ROW),
        (ERRORS.CheckViolation, Verdict.ROW),
        (ERRORS.RaiseException, Verdict.ROW),
        (ERRORS.ProgramLimitExceeded, Verdict.ROW),
        (ERRORS.AdminShutdown, Verdict.OUTAGE),
        (ERRORS.CannotConnectNow, Verdict.OUTAGE),
        (ERRORS.SerializationFailure, Verdict.OUTAGE),
        (ERRORS.DeadlockDetected, Verdict.OUTAGE),
        (ERRORS.DiskFull, Verdict.OUTAGE),
        (ERRORS.TooManyConnections, Verdict.OUTAGE),
        (ERRORS.ReadOnlySqlTransaction, Verdict.OUTAGE),
        (ERRORS.IdleInTransactionSessionTimeout, Verdict.OUTAGE),
        (ERRORS.QueryCanceled, Verdict.TOO_MUCH),
        (ERRORS.LockNotAvailable, Verdict.OUTAGE),
        (ERRORS.OutOfMemory, Verdict.TOO_MUCH),
        (ERRORS.ConfigurationLimitExceeded, Verdict.TOO_MUCH),
        (ERRORS.UndefinedTable, Verdict.FATAL),
        (ERRORS.InsufficientPrivilege, Verdict.FATAL),
        (psycopg.OperationalError, Verdict.OUTAGE),  # no SQLSTATE: the connection is gone
        (psycopg.InterfaceError, Verdict.OUTAGE),
        (psycopg.DataError, Verdict.ROW),  # the driver refuses a NUL in a text
    ],
)
def test_verdict(error: type[psycopg.Error], verdict: Verdict) -> None:
    assert judge(error()) is verdict
