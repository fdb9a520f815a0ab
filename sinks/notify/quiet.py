"""Quiet hours: stretches of local time, on some days of the week."""

from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.times import to_datetime, to_us


def quiet_until(now: int, start: time, end: time, days: Sequence[int], zone: ZoneInfo) -> int | None:
    """When the quiet hours that `now` lies in are over, µs since 1970 UTC; None where it lies in none.

    Args:
        now: µs since 1970 UTC.
        start: local time at which they begin.
        end: local time at which they end, on the next day if it is not later than `start`.
        days: days of the week on which they begin, 0 is Monday.
        zone: whose clock is meant; on days of changed clocks the hours are as the clock on the wall says.
    """
    for begin, over in _stretches(to_datetime(now), start, end, days, zone):
        if begin <= now < over:
            return over
    return None


def _stretches(
    at: datetime, start: time, end: time, days: Sequence[int], zone: ZoneInfo
) -> Iterator[tuple[int, int]]:
    today = at.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        if day.weekday() in days:
            last = day if end > start else day + timedelta(days=1)
            yield to_us(datetime.combine(day, start, zone)), to_us(datetime.combine(last, end, zone))
