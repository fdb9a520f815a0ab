"""Marks of late readings become stretches of time."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sinks.timescale.dropping import day_before
from sinks.timescale.marks import Mark, Series, Stretch, clipped, stretches_of
from sinks.timescale.rollups import HOURS, MINUTES

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SERIES = [("a", "m"), ("a", "n"), ("b", "m")]


def hour(number: int) -> datetime:
    return T0 + timedelta(hours=number)


def covered(stretches: list[Stretch], hours: int = 60) -> set[tuple[Series, int]]:
    """(series, hour) that the stretches cover."""
    return {
        (series, number)
        for series in SERIES
        for number in range(hours)
        if any(one.series in (None, series) and one.begin <= hour(number) < one.end for one in stretches)
    }


marks = st.builds(
    lambda series, first, length: Mark(series, hour(first), hour(first + length)),
    st.sampled_from([None, *SERIES]),
    st.integers(0, 40),
    st.integers(0, 10),
)


@given(st.lists(marks, max_size=12))
def test_stretches_cover_what_the_marks_do_and_each_series_once(given_marks: list[Mark]) -> None:
    found = stretches_of(given_marks)
    wanted = [
        Stretch(mark.series, mark.first_hour, mark.last_hour + timedelta(hours=1)) for mark in given_marks
    ]
    assert covered(found) == covered(wanted)
    for one in found:
        assert not any(
            other is not one
            and other.series == one.series
            and other.begin <= one.end
            and one.begin <= other.end
            for other in found
        )


def test_what_all_series_cover_is_not_done_twice() -> None:
    found = stretches_of([Mark(("a", "m"), hour(3), hour(3)), Mark(None, hour(2), hour(4))])
    assert found == [Stretch(None, hour(2), hour(5))]


def test_clipped() -> None:
    stretches = [Stretch(None, hour(0), hour(4)), Stretch(("a", "m"), hour(6), hour(9))]
    assert clipped(stretches, hour(3), hour(7)) == [
        Stretch(None, hour(3), hour(4)),
        Stretch(("a", "m"), hour(6), hour(7)),
    ]
    assert clipped(stretches, None, hour(6)) == stretches[:1]


def test_buckets_and_days_begin_at_utc() -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=UTC)
    assert MINUTES.floor(moment) == datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    assert HOURS.floor(moment) == datetime(2026, 3, 4, 5, tzinfo=UTC)
    assert HOURS.floor(datetime(1969, 12, 31, 23, 59, tzinfo=UTC)) == datetime(1969, 12, 31, 23, tzinfo=UTC)
    assert day_before(moment, 86_400.0) == datetime(2026, 3, 3, tzinfo=UTC)
