"""What `tail` prints of a message."""

import json
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from deploy.letters.history import Attempt, pack_attempts
from deploy.showing import MessageReader, human_line, iso, json_line
from processors.changelog import Marker, marker_key, state_key
from processors.engine.batch import ReadingBatch
from processors.engine.partition import PartitionEngine
from processors.engine.record import pack
from processors.engine.series_index import SeriesName
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import DeadLetterReason, TimeBounds, dead_letter_headers
from schemas.readings import AnomalySeverity, AnomalyState, Reading
from schemas.settings import Settings
from schemas.testing import anomaly

CODEC = Codec(Catalogue())
READER = MessageReader(CODEC, Settings())
CHANGELOG = "sigmawatch-processor-series-changelog"


class FakeMessage:
    def __init__(self, topic, value, key=b"d", headers=None):
        self._fields = topic, value, key, headers

    def topic(self):
        return self._fields[0]

    def value(self):
        return self._fields[1]

    def key(self):
        return self._fields[2]

    def headers(self):
        return self._fields[3]

    def partition(self):
        return 3

    def offset(self):
        return 14

    def timestamp(self):
        return 1, 1_700_000_000_123


def shown(*fields, **named):
    read = READER.read(FakeMessage(*fields, **named))
    line = json_line(read)
    json.dumps(line, allow_nan=False)
    return line, Text.from_markup(human_line(read)).plain


def test_a_reading():
    line, text = shown(
        "readings", CODEC.encode_reading(Reading("d", "temp[era]", 1_700_000_000_000_001, 21.5, "spike"))
    )
    assert line["reading"] == {
        "device_id": "d", "metric": "temp[era]", "time": "2023-11-14T22:13:20.000001Z", "value": 21.5, "fault": "spike",
    }  # fmt: skip
    assert (line["partition"], line["offset"], line["timestamp"]) == (3, 14, "2023-11-14T22:13:20.123000Z")
    assert "temp[era]" in text
    assert "21.5" in text


def test_an_anomaly():
    plain = anomaly(score=5.5, readings=2)
    line, text = shown("anomalies", CODEC.encode_anomaly(plain))
    assert line["anomaly"]["anomaly_id"] == str(UUID(int=1))
    assert line["anomaly"]["cleared_at"] is None
    assert (line["anomaly"]["severity"], line["anomaly"]["storm_id"]) == ("WARNING", None)
    assert "OPENED  WARNING  2023-11-14T22:13:20Z  device-1  temperature  deviation" in text
    assert text.endswith("26 is 5.5 std from 20  2 readings")


def test_an_anomaly_says_how_bad_and_why():
    told = anomaly(
        severity=AnomalySeverity.CRITICAL, kind="gap", reason="nothing [for] 40 s", storm_id=UUID(int=7)
    )
    line, text = shown("anomalies", CODEC.encode_anomaly(told))
    assert line["anomaly"]["storm_id"] == str(UUID(int=7))
    assert "CRITICAL" in text
    assert text.endswith("gap  nothing [for] 40 s  1 readings")


def test_a_storm_counts_devices():
    storm = anomaly(
        "place:Denver", metric="*", kind="storm", channel="storm", readings=12, state=AnomalyState.CLEARED
    )
    _, text = shown("anomalies", CODEC.encode_anomaly(storm))
    assert "CLEARED WARNING " in text
    assert "place:Denver  *  storm" in text
    assert text.endswith("12 devices")


def test_an_anomaly_of_before_severities():
    body = CODEC.encode_anomaly(anomaly(score=5.5))[5:].removesuffix(bytes.fromhex("0200000000"))
    line, text = shown("anomalies", b"\0\0\0\0\3" + body)
    assert "severity" not in line["anomaly"]
    assert "OPENED  2023-11-14T22:13:20Z  device-1  temperature  deviation  26 is 5.5 std from 20" in text


def test_a_dead_letter_says_why_and_what_was_in_it():
    headers = dead_letter_headers(
        "readings", 5, 99, DeadLetterReason.NON_FINITE_VALUE, stage="VALUE_CONVERTER", consumer="group"
    )
    line, text = shown(
        "readings.dlq", CODEC.encode_reading(Reading("d", "m", 1, float("inf"))), headers=headers
    )
    assert line["dead_letter"]["offset"] == "99"
    assert line["reading"]["value"] == "inf"
    assert "not a finite number" in text
    assert "readings/5@99" in text


def test_the_changelog_is_summed_up():
    engine = PartitionEngine()
    columns = decode_readings(
        [CODEC.encode_reading(Reading("d", "m", 5_000_000, 1.5))], np.array([5_000]), CODEC, TimeBounds()
    )
    engine.apply(ReadingBatch(np.array([7]), np.array([5_000]), columns))
    name = SeriesName("d", "m")
    (record,) = pack(engine.states, engine.changed(), {})
    line, text = shown(CHANGELOG, record, key=state_key("w1", name))
    assert (line["state"]["last_offset"], line["state"]["readings"], line["state"]["last_value"]) == (
        7,
        1,
        1.5,
    )
    assert line["state"]["bytes"] == len(record)
    assert "w1 d m" in text
    line, text = shown(CHANGELOG, Marker(42, 1).pack(), key=marker_key("w1"))
    assert line["marker"] == {"next_offset": 42, "dead_letters": 1}
    line, _ = shown(CHANGELOG, None, key=marker_key("w1"))
    assert line["tombstone"] == {}


@given(
    st.sampled_from(["readings", "readings.dlq", CHANGELOG]), st.none() | st.binary(), st.none() | st.binary()
)
def test_whatever_the_bytes_there_is_a_line(topic, value, key):
    line, text = shown(topic, value, key=key)
    assert line["topic"] == topic
    assert "3@14" in text


@pytest.mark.parametrize(
    ("time_us", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1, "1970-01-01T00:00:00.000001Z"), (2**62, f"{2**62} us")],
)
def test_iso(time_us, text):
    assert iso(time_us) == text


def test_what_was_put_back():
    value = pack_attempts([Attempt(3, 9, "2026-03-01T00:00:00Z", ("sink",))])
    line, text = shown("readings.dlq.redriven", value, key=b"readings/3@4#abc")
    assert line["redriven"]["original"] == "readings/3@4#abc"
    assert [attempt["offset"] for attempt in line["redriven"]["attempts"]] == [9]
    assert "readings/3@4#abc" in text
    assert shown("readings.dlq.redriven", b"\xff", key=None)[0]["redriven"]["attempts"] == []
