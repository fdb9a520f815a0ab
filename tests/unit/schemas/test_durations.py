"""Lengths of time in settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (30, 30.0),
        (0.5, 0.5),
        ("30", 30.0),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("500us", 0.0005),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("1.5h", 5400.0),
        ("7d", 604_800.0),
        ("0s", 0.0),
    ],
)
def test_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "10 parsecs",
        "-5",
        -5,
        "1m1h",
        "1m1m",
        "10m5",
        "nan",
        "inf",
        float("nan"),
        True,
        None,
        [],
        "1e999",
    ],
)
def test_refused(text):
    with pytest.raises(ValueError, match="length of time"):
        parse_duration(text)


@given(st.integers(0, 10**13))
def test_what_is_written_is_read_back(microseconds):
    assert round(parse_duration(format_duration(microseconds / 1e6)) * 1e6) == microseconds
