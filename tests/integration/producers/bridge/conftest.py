"""A bridge between a mosquitto of the test's own and topics of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from aiohttp import web

from deploy.embedded import free_port
from producers.bridge.commands import run_bridge
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.errors import SigmawatchError
from schemas.settings import load_settings
from tests.support.mosquitto import Mosquitto
from tests.support.processing import Pipeline
from tests.support.waiting import until

SECONDS = 120.0
CODEC = Codec(Catalogue())
ROOT = Path(__file__).parents[4]
FIELDS = ("power", "voltage", "current", "energy")
ARRIVAL_RULE = {"topic": "now/{device_id}", "format": "number", "metrics": {"$": "v"}}
MOCK_RULE = {
    "topic": "energy/devices/{device_id}/data",
    "time": "$.timestamp",
    "metrics": {name: name for name in FIELDS},
    "fault": "$.anomaly_type",
    "fault_when": "$.anomaly",
}


def payload(number, **more):
    """What iot-mock-service publishes; `number` makes it unlike any other."""
    values = dict.fromkeys(FIELDS, float(number))
    return json.dumps(
        {
            "device_id": f"mock-{number % 5}",
            "timestamp": f"2025-08-09T16:{number // 60 % 60:02}:{number % 60:02}.{number:06}Z",
            **values,
            "status": "online",
            "enabled": True,
            "anomaly": False,
            **more,
        }
    )


class Device:
    """Publishes with QoS 1 and knows what the broker has taken; publishes again what it did not take."""

    def __init__(self, port):
        self.taken = 0
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "device", clean_session=False)
        self._client.reconnect_delay_set(0.1, 0.5)
        self._client.max_inflight_messages_set(100)
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.sent = 0

    def _on_publish(self, *_):
        self.taken += 1

    def publish(self, topic, text, **more):
        self._client.publish(topic, text, qos=1, **more)
        self.sent += 1

    def publish_mock(self, *numbers):
        for number in numbers:
            self.publish(f"energy/devices/mock-{number % 5}/data", payload(number))

    def wait_until_taken(self):
        until(lambda: self.taken >= self.sent)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def websocket_relay(target):
    """Carries MQTT over WebSockets to a broker's TCP port; yields its own."""

    async def relay(request):
        web_socket = web.WebSocketResponse(protocols=("mqtt",))
        await web_socket.prepare(request)
        reader, writer = await asyncio.open_connection("127.0.0.1", target)

        async def back():
            while data := await reader.read(65_536):
                await web_socket.send_bytes(data)

        task = asyncio.create_task(back())
        async for message in web_socket:
            writer.write(message.data)
        task.cancel()
        writer.close()
        return web_socket

    async def serve(ready, stop):
        app = web.Application()
        app.router.add_get("/mqtt", relay)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ready.append(runner.addresses[0][1])
        await asyncio.to_thread(stop.wait)
        await runner.cleanup()

    ready, stop = [], threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve(ready, stop)))
    thread.start()
    try:
        until(lambda: ready)
        yield ready[0]
    finally:
        stop.set()
        thread.join(SECONDS)


class Setup:
    """Kafka's topics, mosquitto, and bridges between."""

    def __init__(self, broker, mosquitto, folder):
        self.kafka = Pipeline(broker.bootstrap_servers).create_topics()
        self.mosquitto = mosquitto
        self.folder = folder
        self.port = free_port()
        self.devices = []

    def overrides(self, **bridge):
        rules = json.dumps([MOCK_RULE, ARRIVAL_RULE])
        chosen = {
            "mqtt": self.mosquitto.url,
            "metrics_port": self.port,
            "rules": rules,
            "keepalive": 5,
            **bridge,
        }
        return {**self.kafka.overrides(), **{f"bridge.{name}": value for name, value in chosen.items()}}

    def device(self):
        self.devices.append(Device(self.mosquitto.port))
        return self.devices[-1]

    @contextmanager
    def bridge(self, **chosen):
        """A bridge in this process; yields a list that gets the error it ends with."""
        stop, errors = threading.Event(), []

        def run():
            try:
                settings = load_settings(None, self.overrides(**chosen), {})
                run_bridge(settings, Codec(Catalogue()), stop, state=self.folder)
            except SigmawatchError as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield errors
        finally:
            stop.set()
            thread.join(SECONDS)
            assert not thread.is_alive()

    def process(self, log, **environment):
        """A bridge as users start it."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("SIGMAWATCH_")}
        variables |= {"SIGMAWATCH_STATE_DIR": str(self.folder), **environment}
        flags = [
            part
            for key, value in self.overrides(max_in_flight=50).items()
            if key != "kafka.options"
            for part in ("--set", f"{key}={value}")
        ]
        with log.open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "deploy.cli", "bridge", "mqtt", *flags],
                cwd=ROOT,
                env=variables,
                stdout=out,
                stderr=out,
            )

    def ask(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_until_ready(self):
        until(lambda: self.ask("/readyz")[0] == 200)

    def readings(self):
        """Every message of the readings' topic, decoded."""
        return [
            CODEC.decode_reading(message.value())
            for messages in self.kafka.read(self.kafka.readings).values()
            for message in messages
        ]

    def dead_letters(self):
        return self.kafka.read(f"{self.kafka.readings}.dlq", 1)[0]

    def wait_for_mocks(self, count):
        """Until the readings of `count` mock messages are there; all readings."""
        found = []

        def there():
            found[:] = self.readings()
            return len({(r.device_id, r.metric, r.time) for r in found if r.metric != "v"}) >= count * len(
                FIELDS
            )

        until(there)
        return found


@pytest.fixture
def setup(broker, tmp_path):
    with Mosquitto(tmp_path / "mosquitto") as mosquitto:
        made = Setup(broker, mosquitto, tmp_path / "state")
        yield made
        for device in made.devices:
            device.close()


@pytest.fixture
def process(setup, tmp_path):
    """Starts bridges in processes of their own and ends them by their ids."""
    running = []

    def start(**environment):
        running.append(setup.process(tmp_path / "bridge.log", **environment))
        setup.wait_until_ready()
        return running[-1]

    yield start
    for one in running:
        if one.poll() is None:
            one.send_signal(signal.SIGKILL)
            one.wait(SECONDS)
