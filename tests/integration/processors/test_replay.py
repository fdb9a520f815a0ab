"""A recorded topic, replayed, gives the same anomalies to the byte, also on another number of workers."""

import pytest
from confluent_kafka.admin import AdminClient

from producers.record import record_topic
from producers.replay.recorded import replay_recording
from schemas.kafka import Publisher, client_config
from tests.support.processing import Pipeline, fleet, processors, until_applied, until_shared

pytestmark = pytest.mark.integration

PARTITIONS = 3


def process(pipeline, count, workers, logs, preset):
    """Have workers process the topic to its end; what is in the anomalies topic then, by partition."""
    logs.mkdir()
    with processors(pipeline, logs, workers, preset=preset) as running:
        until_shared(running, PARTITIONS)
        until_applied(running, count)
        for worker in running:
            worker.stop()
    messages = pipeline.read(pipeline.anomalies)
    return {number: [(m.key(), m.value()) for m in found] for number, found in messages.items()}


def replayed(recording, pipeline):
    """The recording in the topic of another pipeline."""
    admin = AdminClient({"bootstrap.servers": pipeline.servers})
    with Publisher(client_config(pipeline.settings.kafka)) as publisher:
        summary = replay_recording(
            recording,
            publisher,
            lambda topic: len(admin.list_topics(topic, timeout=10).topics[topic].partitions),
            topic=pipeline.readings,
        )
    return summary.produced


@pytest.mark.most_real
@pytest.mark.parametrize("preset", ["standard", "moving-average"])
def test_a_replayed_topic_gives_the_same_anomalies_to_the_byte(broker, tmp_path, preset):
    """What one worker made of the original, two make of the replay."""
    original, again = (
        Pipeline(broker.bootstrap_servers, partitions=PARTITIONS).create_topics() for _ in range(2)
    )
    readings = fleet([f"device-{number}" for number in range(30)], 120, outliers=0.02)
    count = original.send(readings[:2000])
    count += original.send_raw([(b"broken", b"\0\0"), (None, b"x")])
    count += original.send(readings[1500:])  # five hundred of them a second time
    first = process(original, count, 1, tmp_path / "original", preset)
    assert sum(map(len, first.values())) > 20

    recording = tmp_path / "readings.avro"
    summary = record_topic(client_config(original.settings.kafka), original.readings, recording)
    assert summary.messages == count
    assert replayed(recording, again) == count
    assert process(again, count, 2, tmp_path / "again", preset) == first
