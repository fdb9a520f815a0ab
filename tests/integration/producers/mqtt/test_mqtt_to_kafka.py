"""From simulated devices over MQTT to Kafka: every reading arrives, as it was simulated."""

import threading
from contextlib import contextmanager
from dataclasses import asdict

import pytest
from mqtt_simulations import SECONDS, simulation

from deploy.embedded import free_port
from producers.bridge.commands import run_bridge
from producers.clock import MAX_SPEED
from producers.options import SimulateOptions
from producers.simulation.assembling import make_fleet
from producers.simulation.choosing import choose
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.readings import Reading
from schemas.settings import load_settings
from tests.support.processing import Pipeline
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.most_real]

CODEC = Codec(Catalogue())
START = 1_790_000_000_000_000


@pytest.fixture
def kafka(broker):
    return Pipeline(broker.bootstrap_servers).create_topics()


@contextmanager
def bridge(kafka, mosquitto, folder):
    """A bridge in a thread, subscribed, with the rule by default."""
    stop, port = threading.Event(), free_port()
    overrides = {"mqtt": mosquitto.url, "metrics_port": port}
    settings = load_settings(
        None, {**kafka.overrides(), **{f"bridge.{name}": value for name, value in overrides.items()}}, {}
    )
    thread = threading.Thread(target=run_bridge, args=(settings, CODEC, stop), kwargs={"state": folder})
    thread.start()
    try:
        until(lambda: "Received SUBSCRIBE from sigmawatch-bridge" in mosquitto.log.read_text())
        yield
    finally:
        stop.set()
        thread.join(SECONDS)


def simulated(options):
    """Readings as the fleet makes them."""
    fleet = make_fleet(choose(options))
    batch, table = fleet.between(options.start, options.start + round(options.duration * 1e6)), fleet.table
    columns = (batch.series.tolist(), batch.time.tolist(), batch.value.tolist(), batch.fault.tolist())
    return {
        Reading(
            table.device_ids[series],
            table.metrics[series],
            time,
            value,
            None if fault < 0 else table.faults[fault],
        )
        for series, time, value, fault in zip(*columns, strict=True)
    }


def arrived(kafka):
    """Readings on Kafka, a message that came twice once; the same key has the same reading."""
    found = {
        CODEC.decode_reading(message.value())
        for messages in kafka.read(kafka.readings).values()
        for message in messages
    }
    assert len({(reading.device_id, reading.metric, reading.time) for reading in found}) == len(found)
    return found


@pytest.mark.parametrize(
    "options",
    [
        SimulateOptions(fleet="energy", interval=5.0, anomaly_rate=0.02, duration=900.0),
        SimulateOptions(fleet="mixed", devices=60, interval=5.0, anomaly_rate=0.02, duration=120.0),
    ],
    ids=["energy", "mixed"],
)
def test_every_reading_arrives_as_it_was_simulated(kafka, mosquitto, tmp_path, options):
    chosen = {**asdict(options), "start": START, "speed": MAX_SPEED, "seed": 4}
    expected = simulated(SimulateOptions(**chosen))
    with bridge(kafka, mosquitto, tmp_path):
        with simulation({"mqtt.url": mosquitto.url}, **chosen) as run:
            run.join()
        assert run.summary.produced == len(expected)
        until(lambda: len(arrived(kafka)) >= len(expected))
    found = arrived(kafka)
    assert found == expected
    assert len({reading.fault for reading in found}) > 3
    assert kafka.read(f"{kafka.readings}.dlq", 1)[0] == []


def test_nothing_is_lost_when_the_mqtt_broker_is_killed(kafka, mosquitto, tmp_path):
    options = {
        "fleet": "energy", "interval": 5.0, "anomaly_rate": 0.02, "start": START, "duration": 400.0, "seed": 5, "speed": 80.0,
    }  # fmt: skip
    expected = simulated(SimulateOptions(**options))
    with bridge(kafka, mosquitto, tmp_path):
        with simulation({"mqtt.url": mosquitto.url, "mqtt.max_queued": 250}, **options) as run:
            until(lambda: run.progress and run.progress.acknowledged > 100)
            mosquitto.save()
            mosquitto.pause()
            until(lambda: run.waiting > 40)  # under way, and no answer comes
            mosquitto.kill()
            until(lambda: run.waiting > 400)  # it goes on without it
            mosquitto.start()
            run.join()
        assert run.summary.produced == len(expected)
        until(lambda: len(arrived(kafka)) >= len(expected))
    assert arrived(kafka) == expected
