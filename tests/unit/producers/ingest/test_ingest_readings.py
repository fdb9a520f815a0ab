"""JSON documents to readings."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.ingest.readings import BadReadingError, Defaults, readings_of
from schemas.dead_letters import TimeBounds
from schemas.readings import Reading
from schemas.strict_json import parse_json

NOW_US = 1_795_261_139_000_000
DEFAULTS = Defaults("detect", "value")


def read(document):
    text = document if isinstance(document, str) else json.dumps(document)
    return readings_of(parse_json(text.encode()), DEFAULTS, NOW_US, TimeBounds())


def problem(document):
    with pytest.raises(BadReadingError) as caught:
        read(document)
    assert caught.value.remedy
    return caught.value.place, caught.value.message


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"value": 45.2, "timestamp": 1698401060.0}, Reading("detect", "value", 1_698_401_060_000_000, 45.2)),
        ({"value": 45, "timestamp": 1698401060}, Reading("detect", "value", 1_698_401_060_000_000, 45.0)),
        (
            {"value": 1, "timestamp": 1698401060.123456},
            Reading("detect", "value", 1_698_401_060_123_456, 1.0),
        ),
        (
            {"value": 1, "timestamp": "2023-10-27T10:04:20Z"},
            Reading("detect", "value", 1_698_401_060_000_000, 1.0),
        ),
        (
            {"value": 1, "time": "2023-10-27T12:04:20.5+02:00"},
            Reading("detect", "value", 1_698_401_060_500_000, 1.0),
        ),
        ({"value": 1, "time": "2023-10-27 10:04:20"}, Reading("detect", "value", 1_698_401_060_000_000, 1.0)),
        (
            {"device_id": "boiler-7", "metric": "°C", "time": 0, "value": -1e150, "fault": "spike"},
            Reading("boiler-7", "°C", 0, -1e150, "spike"),
        ),
        ({"value": 1, "time": 5, "fault": None}, Reading("detect", "value", 5_000_000, 1.0)),
    ],
)
def test_forms(document, expected):
    assert read(document) == [expected]
    assert read([document, document]) == [expected, expected]


def test_an_empty_list_is_no_reading():
    assert read([]) == []


GOOD = {"value": 1, "time": 1}


@pytest.mark.parametrize(
    ("document", "place", "message"),
    [
        ("null", "", "expected an object, found null"),
        ("3", "", "found a number"),
        ([GOOD, GOOD, GOOD, {"value": "x", "time": 1}], "[3].value", "expected a number, found a string"),
        ([GOOD, []], "[1]", "expected an object, found a list"),
        ({"time": 1}, "value", "the field is missing"),
        ({"value": 1}, "time", "the field is missing"),
        ({}, "time", "the field is missing"),
        ({"value": True, "time": 1}, "value", "found a boolean"),
        ('{"value": NaN, "time": 1}', "value", "not finite"),
        ('{"value": 1e999, "time": 1}', "value", "not finite"),
        ('{"value": -Infinity, "time": 1}', "value", "not finite"),
        ('{"value": 1' + "0" * 400 + ', "time": 1}', "value", "larger than 1e150"),
        ('{"value": 1, "timestamp": NaN}', "timestamp", "cannot be nan"),
        ('{"value": 1, "time": 1e300}', "time", "cannot be 1e+300"),
        ('{"value": 1, "time": 1' + "0" * 400 + "}", "time", "another unit"),
        ({"value": 1, "time": 1698401060000}, "time", "another unit"),
        ({"value": 1, "time": -1}, "time", "before 1970"),
        ({"value": 1, "time": ""}, "time", "no time in ISO-8601"),
        ({"value": 1, "time": "yesterday" * 10}, "time", "no time in ISO-8601"),
        ({"value": 1, "time": None}, "time", "found null"),
        ({"value": 1, "time": True}, "time", "found a boolean"),
        ({"value": 1, "time": 1, "timestamp": 1}, "time", "both there"),
        ({**GOOD, "device_id": ""}, "device_id", "0 bytes"),
        ({**GOOD, "device_id": None}, "device_id", "found null"),
        ({**GOOD, "metric": "ü" * 128}, "metric", "256 bytes"),
        ({**GOOD, "metric": "a\0"}, "metric", "NUL"),
        ({**GOOD, "fault": "\ud800"}, "fault", "surrogate"),
        ({**GOOD, "unit": "C"}, "unit", "no such field"),
        ('{"value": 1, "value": 2, "time": 1}', "value", "there twice"),
        ('{"value": {"a": 1, "a": 2}, "time": 1}', "value", "found an object"),
    ],
)
def test_bad_documents(document, place, message):
    found = problem(document)
    assert found[0] == place
    assert message in found[1]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["value", "time", "timestamp", "device_id", "metric", "fault"]) | st.text(),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(anything)
def test_whatever_comes_is_read_or_refused(document):
    found, refused = None, ""
    try:
        found = readings_of(document, DEFAULTS, NOW_US, TimeBounds())
    except BadReadingError as error:
        refused = error.message
    if found is None:
        assert refused
        return
    assert len(found) == (len(document) if isinstance(document, list) else 1)
    assert all(math.isfinite(reading.value) and reading.device_id for reading in found)


@given(
    st.lists(
        st.builds(
            Reading,
            st.text(min_size=1, max_size=20).filter(
                lambda text: "\0" not in text and len(text.encode()) < 256
            ),
            st.sampled_from(["a", "ü"]),
            st.integers(0, NOW_US),
            st.floats(-1e150, 1e150),
            st.sampled_from([None, "spike"]),
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read(readings):
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    document = [
        {
            "device_id": reading.device_id,
            "metric": reading.metric,
            "time": (epoch + timedelta(microseconds=reading.time)).isoformat(),
            "value": reading.value,
            "fault": reading.fault,
        }
        for reading in readings
    ]
    assert read(document) == readings
