"""Who listens at an MQTT broker in tests, and fixtures of a mosquitto with listeners."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from tests.support.mosquitto import Mosquitto

_SECONDS = 120.0


class Listener:
    """Hears topics, and can publish. `heard` has (topic, payload, whether it was retained) of each message."""

    def __init__(
        self, port: int, topics: str = "#", user: str | None = None, password: str | None = None
    ) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        ready = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        if user is not None:
            self._client.username_pw_set(user, password)
        self._client.reconnect_delay_set(0.1, 0.2)
        self._client.on_connect = lambda *_: self._client.subscribe(topics, qos=1)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = lambda _client, _data, message: self.heard.append(
            (message.topic, message.payload, message.retain)
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(_SECONDS)

    def said(self, topic: str, *, retained: bool | None = None) -> list[Any]:
        """The documents of a topic."""
        return [
            json.loads(payload)
            for place, payload, retain in list(self.heard)
            if place == topic and payload and retained in (None, retain)
        ]

    def last(self, topic: str) -> bytes | None:
        """The last payload of a topic."""
        return next((payload for place, payload, _ in reversed(list(self.heard)) if place == topic), None)

    def anomalies(self) -> Counter[tuple[str, str]]:
        """(device, state) -> how often, of the anomalies that `sink mqtt` publishes."""
        documents = [json.loads(data) for topic, data, _ in list(self.heard) if "/anomalies/" in topic]
        return Counter((each["device_id"], each["state"]) for each in documents)

    def publish(self, topic: str, document: Any) -> None:
        self._client.publish(topic, json.dumps(document), qos=1).wait_for_publish(_SECONDS)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "mosquitto") as running:
        yield running


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Makes listeners, and ends them."""
    made: list[Listener] = []

    def listener(port: int, topics: str = "#", **more: str) -> Listener:
        made.append(Listener(port, topics, **more))
        return made[-1]

    yield listener
    for each in made:
        each.close()
