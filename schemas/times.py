"""Event times, µs since 1970 UTC as messages have them, and the datetimes and texts that stores and people want."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_datetime(us: int) -> datetime:
    """An aware time from µs since 1970 UTC, exact.

    Raises:
        OverflowError: before year 1 or after year 9999.
    """
    return EPOCH + timedelta(microseconds=us)


def to_us(moment: datetime) -> int:
    """µs since 1970 UTC of an aware time, exact."""
    return (moment.astimezone(UTC) - EPOCH) // _MICROSECOND


def floor(moment: datetime, length: timedelta) -> datetime:
    """The last multiple of `length` since 1970 UTC that is not after an aware time."""
    return moment - (moment - EPOCH) % length


def iso(us: int) -> str:
    """ISO 8601 in UTC with a Z of µs since 1970 UTC; fractions of a second where there are any.

    Raises:
        OverflowError: before year 1 or after year 9999.
    """
    return to_datetime(us).isoformat().replace("+00:00", "Z")
