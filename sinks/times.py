"""Event times of messages, for stores that want datetimes."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_datetime(us: int) -> datetime:
    """An aware time from µs since 1970 UTC, exact.

    Raises:
        OverflowError: before year 1 or after year 9999.
    """
    return _EPOCH + timedelta(microseconds=us)
