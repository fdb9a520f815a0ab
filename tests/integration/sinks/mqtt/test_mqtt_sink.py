"""Anomalies from a real Kafka broker to a real MQTT broker."""

import json
import uuid
from dataclasses import replace
from functools import partial

import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.errors import SigmawatchError
from schemas.kafka import settled
from schemas.readings import AnomalyState
from schemas.settings import load_settings
from sinks.mqtt.service import mqtt_sink
from tests.support.listening import listen, mosquitto
from tests.support.mosquitto import Mosquitto
from tests.support.sinks import CODEC, SHORT_SESSION, Topics, anomaly, running
from tests.support.waiting import until

__all__ = ["listen", "mosquitto"]

pytestmark = [pytest.mark.integration, pytest.mark.most_real]


def sink_of(topics: Topics, mosquitto: Mosquitto, **more: str):
    settings = {
        "kafka.bootstrap_servers": topics.bootstrap_servers,
        "kafka.options": json.dumps(SHORT_SESSION),
        "topics.anomalies": topics.anomalies,
        "mqtt_sink.group": topics.group,
        "mqtt_sink.url": mosquitto.url,
        "mqtt_sink.prefix": "plant",
    }
    return mqtt_sink(load_settings(None, settings | more, {}), CODEC)


def committed(topics: Topics) -> int:
    consumer = Consumer({"bootstrap.servers": topics.bootstrap_servers, "group.id": topics.group})
    try:
        asked = [TopicPartition(topics.anomalies, number) for number in range(topics.partitions)]
        found = settled(partial(consumer.committed, asked, timeout=30))
        return sum(max(0, entry.offset) for entry in found)
    finally:
        consumer.close()


def some(numbers: range):
    return [anomaly(number, anomaly_id=uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in numbers]


def test_anomalies_arrive_and_open_ones_are_kept(topics, mosquitto, listen) -> None:
    ear = listen(mosquitto.port)
    first = some(range(3))
    over = replace(first[0], state=AnomalyState.CLEARED, cleared_at=first[0].opened_at + 1)
    topics.send_anomalies([*first, over])
    topics.send(topics.anomalies, [(b"k", b"rubbish")])
    with running(sink_of(topics, mosquitto, **{"mqtt_sink.retain_open": "yes"})) as sink:
        until(lambda: sum(ear.anomalies().values()) >= 4)
        until(lambda: sink.ready and sink.alive)
        assert json.loads(ear.last("plant/sinks/sigmawatch-sink-mqtt/status"))["status"] == "online"
        until(lambda: committed(topics) == 5)
        late = listen(mosquitto.port)
        until(lambda: len([topic for topic, _, retained in late.heard if retained]) >= 3)
        kept = {topic.split("/")[2] for topic, _, retained in late.heard if retained and "/open/" in topic}
        assert kept == {"device-1", "device-2"}
    until(lambda: b"offline" in ear.last("plant/sinks/sigmawatch-sink-mqtt/status"))
    assert ear.anomalies() == {
        ("device-0", "OPENED"): 1,
        ("device-0", "CLEARED"): 1,
        ("device-1", "OPENED"): 1,
        ("device-2", "OPENED"): 1,
    }
    assert topics.read_all(f"{topics.anomalies}.dlq", 1)[0].value() == b"rubbish"
    with running(sink_of(topics, mosquitto, **{"mqtt_sink.protocol": "3.1.1"})):
        topics.send_anomalies(some(range(3, 4)))
        until(lambda: ear.anomalies()["device-3", "OPENED"])
    assert ear.anomalies()["device-1", "OPENED"] == 1, "goes on where it was"


def test_nothing_is_committed_before_the_broker_has_it(topics, mosquitto, listen) -> None:
    ear = listen(mosquitto.port)
    topics.send_anomalies(some(range(20)))
    with running(sink_of(topics, mosquitto)) as sink:
        until(lambda: committed(topics) == 20)
        mosquitto.pause()  # takes what is sent into the socket, and acknowledges nothing
        topics.send_anomalies(some(range(20, 60)))
        until(lambda: len(sink._flight) >= 40)
        assert committed(topics) == 20
        mosquitto.kill()
        mosquitto.start()
        until(lambda: committed(topics) == 60)
        until(lambda: len(ear.anomalies()) == 60)


def test_who_is_not_let_in_is_told(topics, tmp_path) -> None:
    with (
        Mosquitto(tmp_path / "closed", {"allow_anonymous": "false"}) as closed,
        pytest.raises(SigmawatchError, match="refuses us"),
        running(sink_of(topics, closed)) as sink,
    ):
        until(lambda: not sink.alive)
