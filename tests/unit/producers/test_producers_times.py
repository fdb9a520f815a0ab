"""Times as files write them."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.times import TimeParser
from schemas.errors import ConfigError


def us(text: str) -> int:
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2013-07-04 00:00:00", "2013-07-04T00:00:00"),
        ("2013-07-04T00:00:00.123456Z", "2013-07-04T00:00:00.123456"),
        ("2013-07-04T00:00:00.123456789Z", "2013-07-04T00:00:00.123456"),
        ("2013-07-04T02:00:00+02:00", "2013-07-04T00:00:00"),
        ("2013-07-04 02:00:00 +0200", "2013-07-04T00:00:00"),
        (" 2013-07-04 00:00 UTC ", "2013-07-04T00:00:00"),
        ("2013/7/4 12:30", "2013-07-04T12:30:00"),
        ("2013-07-04", "2013-07-04T00:00:00"),
        ("20130704", "2013-07-04T00:00:00"),
        ("20130704123000", "2013-07-04T12:30:00"),
        ("1372896000", "2013-07-04T00:00:00"),
        ("1372896000.5", "2013-07-04T00:00:00.500000"),
        ("1698401060.123457", "2023-10-27T10:04:20.123457"),
        ("1372896000123", "2013-07-04T00:00:00.123000"),
        ("1372896000123456", "2013-07-04T00:00:00.123456"),
        ("1372896000123456789", "2013-07-04T00:00:00.123456"),
        (1372896000, "2013-07-04T00:00:00"),
        (1372896000.25, "2013-07-04T00:00:00.250000"),
        (1372896000123, "2013-07-04T00:00:00.123000"),
        (1.372896e9, "2013-07-04T00:00:00"),
        (datetime(2013, 7, 4, 2, tzinfo=timezone(timedelta(hours=2))), "2013-07-04T00:00:00"),
        (datetime(2013, 7, 4), "2013-07-04T00:00:00"),  # noqa: DTZ001
        (date(2013, 7, 4), "2013-07-04T00:00:00"),
    ],
)
def test_forms(cell, expected):
    assert TimeParser().parse(cell) == us(expected)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", "missing"),
        ("yesterday", "is not a time"),
        ("04.07.2013 12:00", "--time-format"),
        ("2013-02-30", "is not a time"),
        ("9" * 30, "too large"),
        ("9" * 5000, "cannot be inf"),
        ("0001-01-01T00:00:00+10:00", "out of the range"),
        (float("nan"), "cannot be nan"),
        (True, "a boolean"),
        (None, "null"),
        ([1], "a list"),
        ({}, "an object"),
        (10**400, "out of the range"),
    ],
)
def test_refused(cell, reason):
    with pytest.raises(ValueError, match=reason):
        TimeParser().parse(cell)


@given(
    st.text(max_size=40)
    | st.integers()
    | st.floats()
    | st.none()
    | st.booleans()
    | st.datetimes()
    | st.dates()
)
def test_any_cell_is_a_time_or_a_reason(cell):
    for form in (None, "iso", "epoch_ms", "%Y-%m-%d"):
        parser = TimeParser(form, "Europe/Berlin")
        try:
            assert isinstance(parser.parse(cell), int)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - an error may come or not


def test_the_first_epoch_sets_the_unit():
    parser = TimeParser()
    assert parser.found is None
    parser.parse("1372896000123")
    assert parser.found == "epoch in ms"
    with pytest.raises(ValueError, match="looks like an epoch in s, the rows before like one in ms"):
        parser.parse("1372896000")


@pytest.mark.parametrize(("unit", "factor"), [("s", 10**6), ("ms", 1000), ("us", 1)])
def test_said_units(unit, factor):
    parser = TimeParser(f"epoch_{unit}")
    assert parser.parse("12") == 12 * factor
    assert parser.parse(13) == 13 * factor
    assert parser.found is None
    assert TimeParser("epoch_ns").parse("12999") == 12
    with pytest.raises(ValueError, match="is not a number"):
        parser.parse("2013-07-04")


def test_strptime_patterns():
    assert TimeParser("%d.%m.%Y %H:%M").parse("04.07.2013 12:30") == us("2013-07-04T12:30")
    assert TimeParser("%d.%m.%Y %H:%M", "Europe/Berlin").parse("04.07.2013 12:30") == us("2013-07-04T10:30")
    assert TimeParser("%d.%m.%Y %H:%M %z").parse("04.07.2013 12:30 +0200") == us("2013-07-04T10:30")
    with pytest.raises(ValueError, match="not a time of the form"):
        TimeParser("%d.%m.%Y").parse("2013-07-04")


@pytest.mark.parametrize(
    ("form", "zone"), [("epoch_h", "UTC"), ("never", "UTC"), (None, "Europe/Atlantis"), (None, "../x")]
)
def test_unusable_settings(form, zone):
    with pytest.raises(ConfigError):
        TimeParser(form, zone)


# -- daylight saving: Berlin's clocks went back on 2023-10-29 at 03:00, forward on 2023-03-26 at 02:00


def test_local_times_of_summer_and_winter():
    parser = TimeParser(timezone="Europe/Berlin")
    assert parser.parse("2023-07-01 12:00") == us("2023-07-01T10:00")
    assert parser.parse("2023-12-01 12:00") == us("2023-12-01T11:00")
    assert parser.parse("2023-07-01T12:00Z") == us("2023-07-01T12:00")
    assert parser.parse(1688212800) == us("2023-07-01T12:00")


def test_a_repeated_hour_is_the_earlier_until_the_series_has_passed_it():
    parser = TimeParser(timezone="Europe/Berlin")
    texts = ["01:30", "02:00", "02:30", "02:00", "02:30", "02:30", "03:00"]
    found = [parser.parse(f"2023-10-29 {text}", "a") for text in texts]
    hours = ["2023-10-28T23:30", "2023-10-29T00:00", "00:30", "01:00", "01:30", "01:30", "02:00"]
    assert found == [us(text if "-" in text else f"2023-10-29T{text}") for text in hours]
    assert parser.parse("2023-10-29 02:00", "b") == us("2023-10-29T00:00")


@given(
    st.integers(1, 90),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
def test_a_year_of_local_times_comes_back(minutes, zone):
    """What was written in local time, in order and more often than the clocks are put back, is read back exactly."""
    minutes = min(minutes, 29)  # Lord Howe's clocks go back by half an hour
    start = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    for middle in (
        datetime(2023, 4, 1, 12, tzinfo=UTC),
        datetime(2023, 10, 28, 20, tzinfo=UTC),
        datetime(2023, 11, 5, tzinfo=UTC),
    ):
        parser = TimeParser(timezone=zone)
        for step in range(60):
            moment = max(start, middle) + timedelta(minutes=minutes * step)
            local = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
            assert parser.parse(str(local), "a") == us(moment.isoformat())


def test_a_skipped_hour_is_refused():
    with pytest.raises(ValueError, match="did not exist in Europe/Berlin"):
        TimeParser(timezone="Europe/Berlin").parse("2023-03-26 02:30")
