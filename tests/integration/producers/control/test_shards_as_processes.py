"""`sigmawatch simulate --shard I/3` as three processes on a real broker: one fleet between them."""

import json
from collections import Counter
from contextlib import ExitStack, suppress

import httpx
import pytest

from deploy.embedded import free_port
from producers.control.shards import shard_of
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from tests.support.processing import Pipeline
from tests.support.simulators import Simulators, command, with_topics
from tests.support.waiting import until

pytestmark = pytest.mark.integration

CODEC = Codec(Catalogue())
SHARDS = 3
SECONDS = 120.0


@pytest.fixture
def pipelines(broker):
    """Topics for the shards, and others for one simulator that has the whole fleet."""
    return tuple(with_topics(Pipeline(broker.bootstrap_servers)) for _ in range(2))


def shard(number):
    return f"--shard={number}/{SHARDS}"


def stored(pipeline, topic):
    """The messages of a topic, by key, in their order."""
    found = {}
    for messages in pipeline.read(topic).values():
        for message in messages:
            found.setdefault(message.key(), []).append(message.value())
    return found


def readings(pipeline):
    """All readings of the topic."""
    return [
        CODEC.decode_reading(value)
        for values in stored(pipeline, pipeline.readings).values()
        for value in values
    ]


@pytest.mark.most_real
def test_together_they_are_one_fleet(pipelines, tmp_path):
    shared, whole = pipelines
    options = (
        "--fleet=mixed", "--devices=150", "--seed=11", "--anomaly-rate=0.02",
        "--days=0.1", "--start=2026-03-01T00:00:00Z", "--interval=5m",
    )  # fmt: skip
    with ExitStack() as stack:
        ours, alone = (
            stack.enter_context(Simulators(pipeline, folder))
            for pipeline, folder in zip((shared, whole), folders(tmp_path), strict=True)
        )
        workers = [ours.simulate(*options, shard(number)) for number in range(1, SHARDS + 1)]
        expected = alone.simulate(*options).summary(SECONDS)
        summaries = [worker.summary(SECONDS) for worker in workers]
    assert all(summary["produced"] and summary["devices"] for summary in summaries)
    for what in ("produced", "devices", "faults"):
        assert sum(summary[what] for summary in summaries) == expected[what]
    assert sum((Counter(summary["episodes"]) for summary in summaries), Counter()) == expected["episodes"]
    found = stored(shared, shared.readings)
    assert found == stored(whole, whole.readings), "the same bytes under the same keys, in the same order"
    counts = Counter((reading.device_id, reading.metric, reading.time) for reading in readings(shared))
    assert set(counts.values()) == {1}
    assert counts.total() == expected["produced"]
    assert stored(shared, f"devices-{shared.name}") == stored(whole, f"devices-{whole.name}")


def folders(tmp_path):
    for name in ("shards", "whole"):
        (tmp_path / name).mkdir()
        yield tmp_path / name


@pytest.mark.most_real
def test_a_command_through_any_worker_reaches_the_owner(pipelines, tmp_path):
    pipeline, _ = pipelines
    ports = [free_port() for _ in range(SHARDS)]
    with Simulators(pipeline, tmp_path) as simulators:
        workers = [
            simulators.simulate(
                "--fleet=energy", "--devices=30", "--interval=0.2", "--anomaly-rate=0",
                "--control", f"--control-port={port}", shard(number),
            )
            for number, port in enumerate(ports, 1)
        ]  # fmt: skip

        def ask(port, path):
            for worker in workers:
                assert worker.process.poll() is None, worker.said()
            with suppress(httpx.TransportError):
                answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=30)
                return answer.json()["data"] if answer.is_success else None

        # Topics that were just made: a worker that cannot read them yet is answered for with 504.
        for port in ports:
            until(lambda port=port: ask(port, "devices"), SECONDS, "every worker hears of the others")
        devices = sorted(device["id"] for device in ask(ports[0], "devices"))
        assert len(devices) == 30
        faults = ("power_spike", "voltage_fluctuation", "level_shift")
        injected = {}
        for number, (port, fault) in enumerate(zip(ports, faults, strict=True), 1):
            away = [name for name in devices if shard_of(name, SHARDS) != number and name not in injected]
            injected[away[0]] = fault
            url = f"--url=http://127.0.0.1:{port}"
            done = command(pipeline, "fault", "inject", away[0], fault, "--duration=forever", "--json", url)
            assert done.returncode == 0, done.stderr
            touched = json.loads(done.stdout)["devices"]
            assert [(view["id"], view["fault"]["fault"]) for view in touched] == [(away[0], fault)]

        def labelled():
            return {reading.device_id: reading.fault for reading in readings(pipeline) if reading.fault}

        until(lambda: labelled() == injected, SECONDS, "readings say the faults")
        summaries = [worker.stop() for worker in workers]
    found = readings(pipeline)
    assert len(found) == sum(summary["produced"] for summary in summaries)
    assert len({(reading.device_id, reading.metric, reading.time) for reading in found}) == len(found)
    assert {reading.device_id for reading in found} == set(devices)
