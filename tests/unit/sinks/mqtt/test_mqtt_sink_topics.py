"""Topics of anomalies, and what has arrived at the MQTT broker, without a broker."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from schemas.mqtt.publishing import Message
from schemas.readings import AnomalyState
from schemas.settings import load_settings
from schemas.testing import START_US, anomaly
from sinks.mqtt.flight import Flight
from sinks.mqtt.topics import AnomalyTopics, level, messages_of

TOPICS = AnomalyTopics("plant")


def test_an_anomaly_is_json_on_the_topic_of_its_series():
    (message,) = messages_of(anomaly(value=float("nan")), TOPICS, retain_open=False)
    assert message.topic == "plant/anomalies/device-1/temperature"
    assert not message.retain
    document = json.loads(message.payload)
    assert document["opened_at"] == "2023-11-14T22:13:20.000000Z"
    assert document["anomaly_id"] == "00000000-0000-0000-0000-000000000001"
    assert document["value"] is None


def test_an_open_one_is_retained_until_it_is_cleared():
    first = anomaly()
    over = replace(first, state=AnomalyState.CLEARED, cleared_at=START_US + 1)
    topic = "plant/open/device-1/temperature/00000000-0000-0000-0000-000000000001"
    plain, kept = messages_of(first, TOPICS, retain_open=True)
    assert kept == Message(topic, plain.payload, retain=True)
    assert messages_of(over, TOPICS, retain_open=True)[1] == Message(topic, b"", retain=True)


def test_a_template_of_ones_own():
    topics = AnomalyTopics("plant", "{prefix}/alarms/{severity}/{state}/{kind}/{device_id}")
    assert topics.of(anomaly("a/b+c#d")) == "plant/alarms/WARNING/OPENED/deviation/a%2Fb%2Bc%23d"
    assert topics.of(anomaly("{state}")) == "plant/alarms/WARNING/OPENED/deviation/{state}"


@given(st.text(max_size=50))
def test_any_name_is_one_level(text):
    found = level(text)
    assert found
    assert not set(found) & set("/+#\0\n\r\t")
    assert found.encode()


@given(st.text(max_size=20), st.text(max_size=20))
def test_different_names_have_different_levels(one, other):
    assert (level(one) == level(other)) == (one == other or {one, other} == {"", "-"})


@pytest.mark.parametrize("topic", ["{prefix}/{divice}", "a/{", "a/#", "}", "{prefix!r}"])
def test_a_template_that_makes_no_topic_is_refused(topic):
    with pytest.raises(ConfigError, match="topic"):
        load_settings(None, {"mqtt_sink.topic": topic}, {})


@given(
    st.lists(
        st.tuples(st.sampled_from(["read", "send", "answer", "cut", "ask"]), st.integers(0, 5)), max_size=60
    )
)
def test_an_offset_has_arrived_when_all_before_it_have(steps):
    """Whatever is answered in whatever order, and however often the connection is cut."""
    flight = Flight()
    offsets = Counter()
    packets: dict[int, tuple[str, int, int]] = {}
    expected: dict[tuple[str, int], list[set[int]]] = {("a", 0): [], ("a", 1): []}
    arrived: dict[tuple[str, int], int] = {}
    packet = 0
    for step, number in steps:
        key = ("a", number % 2)
        if step == "read":
            parts = range(number % 3)
            flight.add(key, offsets[key], [Message(f"{key[1]}/{offsets[key]}/{part}", b"") for part in parts])
            expected[key].append(set(parts))
            offsets[key] += 1
        elif step == "send" and flight.waiting:
            packet += 1
            packets[packet] = tuple(map(int, flight.waiting[0][0].topic.split("/")))
            flight.sent(packet)
        elif step == "answer" and packets:
            chosen = sorted(packets)[number % len(packets)]
            flight.acknowledged(chosen)
            partition, offset, part = packets.pop(chosen)
            expected["a", partition][offset].discard(part)
        elif step == "cut":
            flight.put_back()
            packets.clear()
            waiting = [tuple(map(int, message.topic.split("/"))) for message, _ in flight.waiting]
            for partition in (0, 1):
                mine = [each[1:] for each in waiting if each[0] == partition]
                assert mine == sorted(mine), "sent again in its order"
        elif step == "ask":
            arrived |= flight.arrived()
    arrived |= flight.arrived()
    for key, missing in expected.items():
        first = next((offset for offset, parts in enumerate(missing) if parts), len(missing))
        assert arrived.get(key, 0) == first
