"""The publisher against real brokers: placement, order, large dead letters, and outages that lose nothing."""

import threading
import uuid

import pytest
from confluent_kafka import Consumer, TopicPartition

from deploy.embedded import TansuBroker
from schemas.errors import PublishError
from schemas.kafka import Publisher, PublishTimeoutError, client_config, new_client, partition_for_key
from schemas.settings import KafkaSettings
from schemas.topics import TopicSpec, create_topics

pytestmark = pytest.mark.integration

PARTITIONS = 8


@pytest.fixture
def topic(admin):
    name = f"t-{uuid.uuid4().hex[:8]}"
    create_topics(admin, [TopicSpec(name, PARTITIONS)])
    return name


def read(kafka, topic, counts):
    """The first `counts[partition]` messages of each partition."""
    consumer = new_client(
        Consumer, client_config(kafka, **{"group.id": "r", "auto.offset.reset": "earliest"})
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in counts])
    found = {partition: [] for partition in counts}
    while any(len(found[partition]) < count for partition, count in counts.items()):
        message = consumer.poll(20)
        assert message is not None
        assert message.error() is None
        found[message.partition()].append(message)
    consumer.close()
    return found


def test_keys_are_placed_as_partition_for_key_says(kafka, topic):
    keys = [f"device-{number}".encode() for number in range(500)]
    with Publisher(client_config(kafka)) as publisher:
        publisher.send_many(topic, keys, keys)
        publisher.flush()
        counts = {partition: count for (_, partition), (count, _) in publisher.delivered.items()}
    for partition, messages in read(kafka, topic, counts).items():
        assert {partition_for_key(message.key(), PARTITIONS) for message in messages} == {partition}


def test_order_and_offsets(kafka, topic):
    with Publisher(client_config(kafka)) as publisher:
        publisher.send_many(
            topic, [b"k"] * 20_000, [b"%d" % n for n in range(20_000)], partitions=[5] * 20_000
        )
        publisher.flush()
        assert publisher.delivered == {(topic, 5): (20_000, 19_999)}
    messages = read(kafka, topic, {5: 20_000})[5]
    assert [message.value() for message in messages] == [b"%d" % n for n in range(20_000)]
    assert [message.offset() for message in messages] == list(range(20_000))


def test_a_dead_letter_of_the_largest_message_fits(admin, kafka):
    create_topics(admin, [TopicSpec("large.dlq", 1, {"max.message.bytes": str(2 * 1024 * 1024)})])
    with Publisher(client_config(kafka)) as publisher:
        publisher.send("large.dlq", b"k", bytes(1_048_500), headers=[("why", b"x" * 1000)])
        publisher.flush()
        assert publisher.delivered == {("large.dlq", 0): (1, 0)}


def test_a_topic_that_is_not_there_is_refused(kafka, broker):
    if broker.name != "kafka":
        pytest.skip(f"{broker.name} makes topics by being written to")
    options = {"topic.metadata.propagation.max.ms": "500"}
    with Publisher(client_config(kafka.model_copy(update={"options": options}))) as publisher:
        publisher.send("nowhere", b"k", b"v")
        with pytest.raises(PublishError, match=r"topic nowhere, .*key b'k': .*Unknown topic"):
            publisher.flush(30)


def test_an_outage_is_waited_out_and_no_message_is_lost_or_doubled(kafka, topic, broker):
    if not hasattr(broker, "pause"):
        pytest.skip(f"{broker.name} cannot be paused")
    count = 3000
    with Publisher(client_config(kafka, **{"reconnect.backoff.max.ms": 200})) as publisher:
        publisher.send_many(topic, [b"k"] * count, [b"%d" % n for n in range(count)], partitions=[0] * count)
        publisher.flush()
        broker.pause()
        try:
            publisher.send_many(
                topic, [b"k"] * count, [b"%d" % n for n in range(count)], partitions=[0] * count
            )
            with pytest.raises(PublishTimeoutError):
                publisher.flush(0.5)
        finally:
            broker.resume()
        publisher.flush(60)
        assert publisher.delivered == {(topic, 0): (2 * count, 2 * count - 1)}
    values = [message.value() for message in read(kafka, topic, {0: 2 * count})[0]]
    assert values == [b"%d" % n for n in range(count)] * 2


def test_a_broker_that_comes_later_is_waited_for(tmp_path):
    early = TansuBroker(tmp_path)
    with early:
        settings = KafkaSettings(bootstrap_servers=early.bootstrap_servers)
    later = threading.Timer(1.0, early.start)
    with Publisher(client_config(settings, **{"reconnect.backoff.max.ms": 200})) as publisher:
        publisher.send("t", b"k", b"v")
        later.start()
        try:
            publisher.flush(60)
            assert sum(count for count, _ in publisher.delivered.values()) == 1
        finally:
            later.join()
            early.stop()
