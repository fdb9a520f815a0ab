"""Simulations that publish by MQTT, and who listens there."""

import json
import threading
from contextlib import contextmanager

import paho.mqtt.client as mqtt

from producers.options import SimulateOptions
from producers.simulation.running import run_simulate
from schemas.errors import SigmawatchError
from schemas.settings import load_settings

SECONDS = 120.0


class Listener:
    """Hears topics, and can publish."""

    def __init__(self, port, topics="#", user=None, password=None):
        self.heard = []
        self._ready = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        if user is not None:
            self._client.username_pw_set(user, password)
        self._client.reconnect_delay_set(0.1, 0.2)
        self._client.on_connect = lambda *_: self._client.subscribe(topics, qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _data, message: self.heard.append(
            (message.topic, message.payload, message.retain)
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(SECONDS)

    def said(self, topic, *, retained=None):
        """The documents of a topic."""
        return [
            json.loads(payload)
            for place, payload, retain in list(self.heard)
            if place == topic and payload and retained in (None, retain)
        ]

    def publish(self, topic, document):
        self._client.publish(topic, json.dumps(document), qos=1).wait_for_publish(SECONDS)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


class Simulation:
    """A simulation in a thread; `progress` is the latest, `summary` or `error` what it ended with."""

    def __init__(self, overrides, **options):
        self.progress = self.summary = self.error = self.port = None
        self.stop = threading.Event()
        self._settings = load_settings(None, overrides, {})
        self._options = SimulateOptions(**options)
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            self.summary = run_simulate(
                self._settings,
                self._options,
                stop=self.stop,
                on_progress=self._show,
                on_listening=self._listen,
            )
        except SigmawatchError as error:
            self.error = error

    def _show(self, progress):
        self.progress = progress

    def _listen(self, port):
        self.port = port
        self._listening.set()

    @property
    def waiting(self):
        """Readings that the broker has not acknowledged."""
        return self.progress.sent - self.progress.acknowledged if self.progress else 0

    def join(self):
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        assert self.error is None, self.error


@contextmanager
def simulation(overrides, **options):
    started = Simulation(overrides, **options)
    try:
        yield started
    finally:
        started.stop.set()
        started._thread.join(SECONDS)
