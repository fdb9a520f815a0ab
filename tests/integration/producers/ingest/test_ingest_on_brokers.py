"""Readings by HTTP onto real Kafka brokers."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.embedded import free_port
from producers.ingest.commands import run_ingest
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.settings import load_settings
from tests.support.processing import Pipeline
from tests.support.waiting import until

pytestmark = pytest.mark.integration

SECONDS = 120.0
CODEC = Codec(Catalogue())
DETECTED = {"status": "Data received and processed"}
ROOT = Path(__file__).parents[4]


def post(port, path, document):
    """(status, what was answered)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("POST", path, json.dumps(document).encode(), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def point(number, device="d"):
    return {"device_id": device, "metric": "m", "time": 1_700_000_000 + number, "value": number}


def stored(pipeline):
    return [
        CODEC.decode_reading(message.value())
        for messages in pipeline.read(pipeline.readings).values()
        for message in messages
    ]


@pytest.fixture
def pipeline(broker):
    return Pipeline(broker.bootstrap_servers).create_topics()


@contextmanager
def serving(pipeline, **ingest):
    """The port of an ingest in this process."""
    chosen = {f"ingest.{name}": value for name, value in {"port": 0, "wait": 30.0, **ingest}.items()}
    stop, ports, listening = threading.Event(), [], threading.Event()
    settings = load_settings(None, {**pipeline.overrides(), **chosen}, {})

    def on_listening(port):
        ports.append(port)
        listening.set()

    thread = threading.Thread(
        target=run_ingest, args=(settings, Codec(Catalogue()), stop), kwargs={"on_listening": on_listening}
    )
    thread.start()
    assert listening.wait(SECONDS)
    try:
        yield ports[0]
    finally:
        stop.set()
        thread.join(SECONDS)
    assert not thread.is_alive()


@pytest.fixture
def service(pipeline):
    with serving(pipeline) as port:
        yield port


def test_readings_arrive_with_their_devices_as_keys(pipeline, service):
    assert post(
        service, "/detect?device_id=pump&metric=load", {"value": 45.2, "timestamp": 1_700_000_000.5}
    ) == (
        200,
        DETECTED,
    )
    many = [point(number, f"device-{number % 7}") for number in range(1000)]
    assert post(service, "/readings", many) == (200, {**DETECTED, "accepted": 1000})
    assert post(service, "/readings", [*many, {"value": 1}])[0] == 422
    readings = stored(pipeline)
    assert len(readings) == 1001
    (pump,) = [reading for reading in readings if reading.device_id == "pump"]
    assert (pump.metric, pump.time, pump.value) == ("load", 1_700_000_000_500_000, 45.2)
    for messages in pipeline.read(pipeline.readings).values():
        for message in messages:
            assert message.key() == CODEC.decode_reading(message.value()).device_id.encode()


def test_many_clients_at_once(pipeline, service):
    def client(name):
        return [
            post(service, "/readings", [point(n * 20 + k, name) for k in range(20)])[0] for n in range(10)
        ]

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(client, [f"client-{number}" for number in range(8)]))
    assert statuses == [[200] * 10] * 8
    readings = stored(pipeline)
    assert len(readings) == len({(reading.device_id, reading.time) for reading in readings}) == 8 * 200


def until_taken(port, document):
    until(lambda: post(port, "/detect", document)[0] == 200, SECONDS, "Kafka takes a reading")


def test_an_outage_of_kafka(pipeline, broker):
    if not hasattr(broker, "pause"):
        pytest.skip(f"{broker.name} cannot be paused")
    with serving(pipeline, wait=0.7) as port:
        until_taken(port, point(0))
        broker.pause()
        try:
            in_flight = post(port, "/detect", point(1))
            behind = post(port, "/detect", point(2))
        finally:
            broker.resume()
        until_taken(port, point(3))
    assert (in_flight[0], "may still arrive" in in_flight[1]["detail"]) == (503, True)
    assert (behind[0], "nothing was sent" in behind[1]["detail"]) == (503, True)
    assert {reading.value for reading in stored(pipeline)} == {0.0, 1.0, 3.0}


@pytest.mark.most_real
def test_what_was_answered_with_200_is_there_after_a_stop(pipeline, tmp_path):
    port = free_port()
    flags = [
        part
        for key, value in {**pipeline.overrides(), "ingest.port": port}.items()
        if key != "kafka.options"
        for part in ("--set", f"{key}={value}")
    ]
    log = tmp_path / "ingest.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIGMAWATCH_")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", "ingest", *flags],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=out,
        )
    try:

        def listens():
            assert process.poll() is None, log.read_text()
            return b"listening" in log.read_bytes()

        until(listens, SECONDS, log.read_text)
        answered, ended = [], threading.Event()

        def client(name):
            number = 0
            while not ended.is_set():
                try:
                    status, _ = post(port, "/detect", point(number, name))
                except OSError:
                    return
                if status == 200:
                    answered.append((name, number))
                number += 1

        threads = [threading.Thread(target=client, args=(f"client-{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(answered) >= 100, SECONDS, log.read_text)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0, log.read_text()
        ended.set()
        for thread in threads:
            thread.join(SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    there = {(reading.device_id, reading.value) for reading in stored(pipeline)}
    assert set(answered) <= there
