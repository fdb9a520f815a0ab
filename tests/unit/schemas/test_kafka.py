"""Publisher and client configuration, on the cluster of mock brokers that librdkafka brings along."""

import logging

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import ConfigError, PublishError
from schemas.kafka import (
    Publisher,
    PublishTimeoutError,
    client_config,
    new_client,
    partition_for_key,
    settled,
)
from schemas.settings import KafkaSettings

SILENT = logging.getLogger("tests.librdkafka")
SILENT.setLevel(logging.CRITICAL)
MOCK = {"test.mock.num.brokers": 1, "logger": SILENT, "linger.ms": 0}
UNREACHABLE = {"bootstrap.servers": "127.0.0.1:1", "logger": SILENT}
MOCK_PARTITIONS = 4


@pytest.fixture
def publisher():
    with Publisher(MOCK) as publisher:
        yield publisher


def fetch(publisher, topic):
    """All records of a topic, by partition: the mock cluster lives in the publisher's own client."""
    servers = ",".join(
        f"{broker.host}:{broker.port}"
        for broker in publisher._producer.list_topics(timeout=5).brokers.values()
    )
    consumer = Consumer({
        "bootstrap.servers": servers, "group.id": "g", "auto.offset.reset": "earliest", "enable.partition.eof": True,
        "logger": SILENT,
    })  # fmt: skip
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(MOCK_PARTITIONS)])
    found, ended = {}, 0
    while ended < MOCK_PARTITIONS:
        message = consumer.poll(10)
        assert message is not None
        if message.error():
            ended += 1
        else:
            found.setdefault(message.partition(), []).append(message)
    consumer.close()
    return found


# org.apache.kafka.common.utils.UtilsTest.testMurmur2
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("key", JAVA)
@pytest.mark.parametrize("partitions", [1, 3, 8, 1000, 2**31 - 1])
def test_keys_go_where_javas_clients_put_them(key, partitions):
    assert partition_for_key(key, partitions) == (JAVA[key] & 0x7FFFFFFF) % partitions


def test_keys_go_where_librdkafka_puts_them(publisher):
    keys = [b"", b"device-1", "größe".encode(), b"\0\xff", *(b"pump-%d" % number for number in range(30))]
    for key in keys:
        publisher.send("t", key, key)
    publisher.flush()
    placed = {
        message.value(): partition
        for partition, messages in fetch(publisher, "t").items()
        for message in messages
    }
    placed[b""] = placed.pop(None, placed.get(b""))
    assert placed == {key: partition_for_key(key, MOCK_PARTITIONS) for key in keys}


def test_a_message_arrives_as_it_was_sent(publisher):
    headers = [("a", b"1"), ("a", b""), ("none", None), ("bytes", b"\0\xff")]
    publisher.send("t", b"key", None, partition=2, headers=headers, timestamp_ms=1_700_000_000_123)
    publisher.send("t", None, b"value", partition=2, timestamp_ms=5)
    publisher.flush()
    first, second = fetch(publisher, "t")[2]
    assert (first.key(), first.value(), first.headers()) == (b"key", None, headers)
    assert first.timestamp()[1] == 1_700_000_000_123
    assert (second.key(), second.value(), second.timestamp()[1], second.offset()) == (None, b"value", 5, 1)


def test_what_is_acknowledged_is_counted_and_told():
    told = []
    with Publisher(MOCK, on_delivered=lambda *place: told.append(place)) as publisher:
        for _ in range(3):
            publisher.send("t", None, b"x", partition=1)
        publisher.send("t", None, b"x", partition=0)
        publisher.flush()
        assert publisher.delivered == {("t", 1): (3, 2), ("t", 0): (1, 0)}
        assert publisher.outstanding == 0
        assert sorted(told) == [("t", 0, 0), ("t", 1, 0), ("t", 1, 1), ("t", 1, 2)]


def test_many_at_once_keep_their_order(publisher):
    count = 3000
    values = [b"%d" % number for number in range(count)]
    partitions = [number % 3 for number in range(count)]
    publisher.send_many("t", [None] * count, values, partitions=partitions, timestamps_ms=range(1, count + 1))
    publisher.flush()
    found = fetch(publisher, "t")
    for partition in range(3):
        assert [message.value() for message in found[partition]] == values[partition::3]
        assert [message.timestamp()[1] for message in found[partition]] == list(range(1, count + 1))[
            partition::3
        ]
    with pytest.raises(ValueError, match="not of one length"):
        publisher.send_many("t", [b"k"], [b"v", b"w"])


def test_a_full_queue_makes_send_wait():
    with Publisher({**MOCK, "queue.buffering.max.messages": 10}) as publisher:
        for _ in range(200):
            publisher.send("t", b"k", b"v", partition=0)
        publisher.send_many("t", [b"k"] * 200, [b"v"] * 200, partitions=[0] * 200)
        publisher.flush()
        assert publisher.delivered == {("t", 0): (400, 399)}


def test_what_is_too_large_is_refused_at_once(publisher):
    with pytest.raises(PublishError, match=r"topic t: .*too large"):
        publisher.send("t", b"k", b"x" * 3_000_000)
    with pytest.raises(PublishError, match="too large"):
        publisher.send_many("t", [b"k"] * 2, [b"x", b"x" * 3_000_000])
    publisher.flush()
    assert sum(count for count, _ in publisher.delivered.values()) == 1


def refused():
    """A publisher whose first two messages were given up."""
    publisher = Publisher({**UNREACHABLE, "message.timeout.ms": 100, "linger.ms": 0})
    publisher.send("t", b"first", b"v", partition=0)
    publisher.send("t", b"second", b"v", partition=0)
    assert publisher._producer.flush(20) == 0
    return publisher


def test_a_refusal_is_raised_by_whatever_comes_next_and_once():
    for act in (
        lambda publisher: publisher.flush(),
        lambda publisher: publisher.poll(),
        lambda publisher: publisher.send("t", b"third", b"v"),
        lambda publisher: publisher.send_many("t", [b"third"], [b"v"]),
        lambda publisher: publisher.close(),
    ):
        publisher = refused()
        with pytest.raises(PublishError, match=r"topic t, .*key b'(first|second)'.*and 1 more") as caught:
            act(publisher)
        assert not isinstance(caught.value, PublishTimeoutError)
        assert publisher.outstanding == 0  # the third was not taken
        publisher.flush(0)
        publisher.close()


def test_flush_gives_up_waiting_and_the_messages_stay():
    publisher = Publisher(UNREACHABLE)
    publisher.send("t", b"k", b"v")
    with pytest.raises(PublishTimeoutError, match=r"1 messages .* 0\.05 s"):
        publisher.flush(0.05)
    assert publisher.outstanding == 1
    with pytest.raises(PublishTimeoutError):
        publisher.close(0.05)
    publisher.close()


def test_an_exception_gets_a_note_of_what_was_not_sent():
    def interrupted():
        with Publisher(UNREACHABLE) as publisher:
            publisher.send("t", b"k", b"v")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted()
    assert caught.value.__notes__ == ["1 messages sent before may not have reached Kafka"]


def test_nothing_is_lost_at_the_end_of_a_block():
    told = []
    with Publisher(MOCK, on_delivered=lambda *place: told.append(place)) as publisher:
        publisher.send("t", b"k", b"v")
    assert len(told) == 1


def test_the_users_options_win():
    settings = KafkaSettings(
        bootstrap_servers="broker:1", options={"client.id": "mine", "sasl.password": "p", "linger.ms": 3}
    )
    config = client_config(settings, **{"client.id": "role", "group.id": "g"})
    assert config.pop("logger").name == "librdkafka"
    assert config == {
        "bootstrap.servers": "broker:1",
        "client.id": "mine",
        "group.id": "g",
        "sasl.password": "p",
        "linger.ms": "3",
    }


def test_a_bad_option_is_said_in_one_line():
    for config in ({"no.such.option": "1"}, {"acks": "1"}, {"batch.size": "soon"}):
        with pytest.raises(ConfigError, match=r"^kafka\.options: ") as caught:
            Publisher({**UNREACHABLE, **config})
        assert next(iter(config)) in str(caught.value)
    with pytest.raises(ConfigError):
        new_client(Consumer, client_config(KafkaSettings()))  # no group


@pytest.mark.parametrize("kind", [Producer, Consumer, AdminClient])
def test_every_client_takes_the_configuration(kind):
    client = new_client(
        kind,
        client_config(KafkaSettings(bootstrap_servers="127.0.0.1:1"), **{"group.id": "g", "logger": SILENT}),
    )
    if kind is Consumer:
        client.close()


class Cluster:
    """Answers each question with the next of what it was given."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def __call__(self):
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            raise KafkaException(KafkaError(answer))
        return answer


def test_a_question_is_asked_again_until_the_cluster_has_settled():
    cluster = Cluster(
        KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.NOT_COORDINATOR, "answer", "never asked"
    )
    assert settled(cluster) == "answer"
    assert cluster.answers == ["never asked"]


def test_an_error_that_waiting_does_not_change_is_raised_at_once():
    cluster = Cluster(KafkaError.TOPIC_AUTHORIZATION_FAILED, "never asked")
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        settled(cluster)
    assert cluster.answers == ["never asked"]


def test_a_cluster_that_does_not_settle_has_its_last_answer_raised():
    cluster = Cluster(*[KafkaError.LEADER_NOT_AVAILABLE] * 100)
    with pytest.raises(KafkaException, match="LEADER_NOT_AVAILABLE"):
        settled(cluster, seconds=0.2)
