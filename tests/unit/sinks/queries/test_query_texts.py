"""The questions' texts and plans, without a database."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from sinks.queries.anomalies import anomalies_query
from sinks.queries.band import expected_band
from sinks.queries.cursors import make_cursor, moment, plain_text, read_cursor
from sinks.queries.readings import readings_query
from sinks.queries.selection import Selection, escaped
from sinks.queries.series import Abilities, Plan, buckets_query, plan_buckets

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
KEPT = Abilities(time_bucket=True, rollups=frozenset({"readings_by_minute", "readings_hourly"}))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"devices": ("a\0b",)}, "zero byte"),
        ({"search": "x" * 1001}, "longer than 1000"),
        ({"metrics": ("\ud800",)}, "surrogate"),
        ({"metrics": ("a",) * 1001}, "more than 1000 metrics"),
        ({"severities": ("BAD",)}, "'BAD' is no severity"),
        ({"states": ("OPEN",)}, "'OPEN' is no state"),
        ({"begin": datetime(2026, 3, 1)}, "no time zone"),  # noqa: DTZ001 - what is refused
        ({"begin": BEGIN, "end": BEGIN}, "ends before it begins"),
    ],
)
def test_what_cannot_be_in_the_database_is_refused(fields, said):
    with pytest.raises(InputError, match=said):
        Selection(**fields)


def test_values_are_parameters_and_never_text():
    hostile = "'); DROP TABLE readings;--"
    selection = Selection(devices=(hostile,), metrics=(hostile, "b"), search=hostile, begin=BEGIN)
    for query in (anomalies_query(selection, 10), readings_query(selection, 10)):
        assert hostile not in query.text
        assert hostile in query.parameters.values()


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_a_page_has_a_size(limit):
    with pytest.raises(InputError, match=f"limit is {limit}"):
        anomalies_query(Selection(), limit)


@given(st.text())
def test_a_search_finds_itself_alone(text):
    for sign in ("%", "_"):
        assert escaped(text).count(sign) == escaped(text).count(f"\\{sign}")


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.uuids(),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300),
)
def test_a_cursor_gives_its_key_back(time, identity, name):
    selection = Selection(search="x")
    cursor = make_cursor("things", selection, (time, identity, name))
    assert cursor.isascii()
    assert read_cursor(cursor, "things", selection, (moment, UUID, plain_text)) == (time, identity, name)
    for pages, question in (("others", selection), ("things", Selection())):
        with pytest.raises(InputError):
            read_cursor(cursor, pages, question, (moment, UUID, plain_text))


@given(st.one_of(st.text(max_size=60), st.binary(max_size=60).map(lambda raw: raw.hex())))
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises(InputError, match="cursor"):
        read_cursor(text, "things", Selection(), (moment,))


@pytest.mark.parametrize(
    ("length", "pixels", "abilities", "plan"),
    [
        (timedelta(minutes=10), 600, KEPT, Plan(timedelta(seconds=1), "readings")),
        (timedelta(minutes=10), 599, KEPT, Plan(timedelta(seconds=2), "readings")),
        (timedelta(hours=10), 600, KEPT, Plan(timedelta(minutes=1), "readings")),
        (timedelta(hours=10), 600, Abilities(), Plan(timedelta(minutes=1), "readings")),
        (timedelta(days=7), 800, KEPT, Plan(timedelta(minutes=15), "readings_by_minute")),
        (timedelta(days=90), 800, KEPT, Plan(timedelta(hours=3), "readings_hourly")),
        (timedelta(microseconds=10), 5, KEPT, Plan(timedelta(milliseconds=1), "readings")),
        (timedelta(days=3650), 1, KEPT, Plan(timedelta(days=3650), "readings_hourly")),
    ],
)
def test_buckets_are_as_wide_as_the_pixels_ask(length, pixels, abilities, plan):
    assert plan_buckets(BEGIN, BEGIN + length, pixels, abilities) == plan


@pytest.mark.parametrize(("length", "pixels"), [(0, 10), (-1, 10), (1, 0), (1, 10_001)])
def test_a_diagram_has_a_stretch_and_pixels(length, pixels):
    with pytest.raises(InputError):
        plan_buckets(BEGIN, BEGIN + timedelta(hours=length), pixels, KEPT)


def test_plain_postgresql_has_another_word_for_buckets():
    plan = Plan(timedelta(hours=1), "readings_hourly")
    texts = [
        buckets_query("a", "b", BEGIN, BEGIN + timedelta(days=1), plan, abilities).text
        for abilities in (KEPT, Abilities())
    ]
    assert "time_bucket(%(width)s::interval, hour)" in texts[0]
    assert "date_bin(%(width)s::interval, hour" in texts[1]


def test_the_band_is_about_what_was_before_and_an_episode_does_not_pull_it_along():
    rng = np.random.default_rng(5)
    mean = 20.0 + rng.normal(0.0, 0.1, 300)
    mean[200:220] += 30.0
    band = expected_band(mean, mean - 0.2, mean + 0.2)
    assert np.isnan(band.expected[:8]).all()
    assert np.isfinite(band.upper[8:]).all()
    healthy = np.r_[20:200, 225:300]
    inside = (mean > band.lower) & (mean < band.upper)
    assert inside[healthy].mean() > 0.97
    assert not inside[200:220].any()
    assert np.abs(band.expected[8:] - 20.0).max() < 0.2


def test_a_band_of_extremes_is_no_error():
    mean = np.array([1e150, -1e150] * 20)
    band = expected_band(mean, mean, mean)
    assert not np.isinf(band.upper).any()
    assert np.isnan(expected_band(mean[:5], mean[:5], mean[:5]).expected).all()
    assert len(expected_band(mean[:0], mean[:0], mean[:0]).lower) == 0
