"""From messages to readings, by rules."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.bridge.decode import RuleReader
from producers.checks import NotBelievableError
from schemas.bridge_rules import DEFAULT_RULES, BridgeRule
from schemas.dead_letters import DeadLetterReason, TimeBounds
from schemas.readings import Reading

NOW_US = 1_795_261_139_000_000
MOCK = {
    "device_id": "mock-hvac-001",
    "timestamp": "2025-08-09T16:30:00Z",
    "power": 25.3,
    "voltage": 239.8,
    "current": 23.7,
    "energy": 156,
    "status": "online",
    "enabled": True,
    "anomaly": False,
}
MOCK_US = 1_754_757_000_000_000
ENERGY = DEFAULT_RULES[0].model_copy(
    update={"metrics": {name: name for name in ("power", "voltage", "current", "energy")}, "ignore": ()}
)


def read(rule, payload, topic="energy/devices/mock-hvac-001/data"):
    reader = RuleReader(rule)
    parts = reader.pattern.match(topic)
    assert parts is not None
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return reader.readings(parts, data, NOW_US, TimeBounds())


def refusal(rule, payload, **more):
    with pytest.raises(NotBelievableError) as caught:
        read(rule, payload, **more)
    return caught.value.reason, str(caught.value)


def rule(**fields):
    return BridgeRule(**{"topic": "t/{device_id}", "metrics": {"$.v": "v"}, **fields})


def one(payload, **fields):
    (reading,) = read(rule(**fields), payload, "t/d")
    return reading


def test_iot_mock_service():
    fields = {"power": 25.3, "voltage": 239.8, "current": 23.7, "energy": 156.0}
    assert read(DEFAULT_RULES[0], MOCK) == [
        Reading("mock-hvac-001", metric, MOCK_US, value) for metric, value in fields.items()
    ]
    oven = {**MOCK, "temperature": 180, "door": 0.0}
    assert [reading.metric for reading in read(DEFAULT_RULES[0], oven)] == [*fields, "temperature", "door"]
    spike = {**MOCK, "anomaly": True, "anomaly_type": "power_spike", "anomaly_duration_remaining": 3}
    assert [reading.metric for reading in read(DEFAULT_RULES[0], spike)] == [*fields]
    assert {reading.fault for reading in read(DEFAULT_RULES[0], spike)} == {"power_spike"}
    assert {reading.fault for reading in read(DEFAULT_RULES[0], {**MOCK, "anomaly_type": "old"})} == {None}
    assert {reading.fault for reading in read(DEFAULT_RULES[0], {**MOCK, "anomaly": True})} == {"anomaly"}


@pytest.mark.parametrize(
    ("payload", "reason", "what"),
    [
        (b"", DeadLetterReason.NULL_VALUE, ""),
        (b"{", DeadLetterReason.UNDECODABLE, "no JSON: Expecting property name"),
        (b"\xff", DeadLetterReason.UNDECODABLE, "not UTF-8 (byte 0)"),
        (b"[" * 100_000, DeadLetterReason.UNDECODABLE, "nested too deeply"),
        (b"[]", DeadLetterReason.UNDECODABLE, "$.timestamp is missing"),
        (b"3", DeadLetterReason.UNDECODABLE, "$.timestamp is missing"),
        (
            {**MOCK, "timestamp": 1754757000},
            DeadLetterReason.UNDECODABLE,
            "expected ISO-8601, found a number",
        ),
        ({**MOCK, "timestamp": "soon"}, DeadLetterReason.UNDECODABLE, "$.timestamp: 'soon' is no time"),
        ({**MOCK, "timestamp": "2099-01-01"}, DeadLetterReason.TIME_OUT_OF_BOUNDS, "ahead of the clock"),
        ({**MOCK, "power": None}, DeadLetterReason.UNDECODABLE, "$.power is missing"),
        ({**MOCK, "power": "25"}, DeadLetterReason.UNDECODABLE, "$.power: expected a number, found a string"),
        ({**MOCK, "power": True}, DeadLetterReason.UNDECODABLE, "$.power: expected a number"),
        (
            {**MOCK, "current": math.nan},
            DeadLetterReason.NON_FINITE_VALUE,
            "$.current: the number is not finite",
        ),
        (
            {**MOCK, "anomaly": True, "anomaly_type": 3},
            DeadLetterReason.UNDECODABLE,
            "$.anomaly_type: expected a text",
        ),
        (b'{"timestamp": {"a": 1, "a": 2}}', DeadLetterReason.UNDECODABLE, "the key 'a' is there twice"),
        (b'{"a": 1, "a": 2}', DeadLetterReason.UNDECODABLE, "the key 'a' is there twice"),
    ],
)
def test_what_is_no_reading(payload, reason, what):
    found = refusal(ENERGY, payload)
    assert found[0] is reason
    assert what in found[1]


def test_the_device_in_the_topic_may_be_none():
    found = refusal(DEFAULT_RULES[0], MOCK, topic="energy/devices//data")
    assert found == (DeadLetterReason.BAD_DEVICE_ID, "device id: the text has 0 bytes, expected 1 to 255")


def test_devices_by_template_and_by_path():
    assert one({"v": 1}, device_id="x-{device_id}").device_id == "x-d"
    assert one({"v": 1}, device_id="fixed").device_id == "fixed"
    assert one({"v": 1, "dev": {"id": "p"}}, device_id="$.dev.id").device_id == "p"
    assert one({"v": 1, "dev": 17}, device_id="$.dev").device_id == "17"
    for payload in ({"v": 1}, {"v": 1, "dev": None}, {"v": 1, "dev": ""}):
        assert refusal(rule(device_id="$.dev"), payload, topic="t/d")[0] is DeadLetterReason.BAD_DEVICE_ID


@pytest.mark.parametrize(
    ("time_format", "cell", "expected"),
    [
        ("iso", "2025-08-09T18:30:00.25+02:00", MOCK_US + 250_000),
        ("iso", "2025-08-09 16:30", MOCK_US),
        ("epoch_s", 1_754_757_000, MOCK_US),
        ("epoch_s", 1_754_757_000.5, MOCK_US + 500_000),
        ("epoch_s", "1754757000", MOCK_US),
        ("epoch_ms", 1_754_757_000_001, MOCK_US + 1_000),
        ("epoch_us", 1_754_757_000_000_001, MOCK_US + 1),
    ],
)
def test_times(time_format, cell, expected):
    assert one({"v": 1, "at": [cell]}, time="$.at[0]", time_format=time_format).time == expected


def test_without_a_time_it_is_that_of_the_arrival():
    assert one({"v": 1}).time == NOW_US


def test_every_number():
    payload = {"t": 21.5, "humidity": 40, "on": True, "state": "OK", "at": 0, "nested": {"x": 1}}
    found = read(rule(metrics="*", time="$.at", time_format="epoch_s"), payload, "t/d")
    assert [(reading.metric, reading.value) for reading in found] == [("t", 21.5), ("humidity", 40.0)]
    assert "no number in it" in refusal(rule(metrics="*"), {"state": "online"}, topic="t/d")[1]
    assert "expected an object" in refusal(rule(metrics="*"), [1], topic="t/d")[1]
    assert refusal(rule(metrics="*"), {"": 1}, topic="t/d")[0] is DeadLetterReason.BAD_METRIC
    assert refusal(rule(metrics="*"), b'{"a": 1e999}', topic="t/d")[0] is DeadLetterReason.NON_FINITE_VALUE


def test_metrics_that_may_be_missing():
    sparse = rule(metrics={"$.a": "a", "$.b": "b"}, missing="skip")
    assert [reading.metric for reading in read(sparse, {"b": 1}, "t/d")] == ["b"]
    assert "no number in it" in refusal(sparse, {"c": 1}, topic="t/d")[1]
    assert "$.a is missing" in refusal(rule(metrics={"$.a": "a", "$.b": "b"}), {"b": 1}, topic="t/d")[1]


def test_metric_named_by_the_topic():
    number = BridgeRule(topic="home/{device_id}/{what}", format="number", metrics={"$": "{what}"})
    (reading,) = read(number, b" 21.5\n", "home/stove/temperature")
    assert reading == Reading("stove", "temperature", NOW_US, 21.5)
    for payload, value in ((b"-.5e1", -5.0), (b"+3", 3.0), (b"7.", 7.0)):
        assert read(number, payload, "home/a/b")[0].value == value
    for payload in (b"21,5", b"nan", b"1_0", b"0x1", b"ON", "٣".encode()):
        assert refusal(number, payload, topic="home/a/b")[0] is DeadLetterReason.UNDECODABLE
    assert refusal(number, b"1e999", topic="home/a/b")[0] is DeadLetterReason.NON_FINITE_VALUE


def test_a_bare_number_in_json():
    assert one(21.5, metrics={"$": "v"}).value == 21.5


@given(
    st.binary(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*MOCK, "anomaly_type"]), inner, max_size=8)
        ),
        max_leaves=15,
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_comes_is_read_or_refused(payload):
    for each in (DEFAULT_RULES[0], rule(topic="energy/devices/{device_id}/data", metrics="*")):
        try:
            found = read(each, payload)
        except NotBelievableError:
            continue
        assert found
        assert all(math.isfinite(reading.value) and reading.metric for reading in found)
