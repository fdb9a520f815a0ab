"""The embedded broker Tansu: what it can, and that it leaves nothing running."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from deploy.embedded import StartError, TansuBroker, port_answers

pytestmark = pytest.mark.integration


@pytest.fixture
def tansu(tmp_path: Path) -> Iterator[TansuBroker]:
    with TansuBroker(tmp_path) as running:
        yield running


def test_topics_have_ids_and_messages_come_back(tansu: TansuBroker) -> None:
    admin = AdminClient({"bootstrap.servers": tansu.bootstrap_servers})
    admin.create_topics([NewTopic("readings", 4, 1)])["readings"].result(10)
    described = admin.describe_topics(TopicCollection(["readings"]))["readings"].result(10)
    assert len(described.partitions) == 4
    assert str(described.topic_id) != "AAAAAAAAAAAAAAAAAAAAAA"
    producer = Producer({"bootstrap.servers": tansu.bootstrap_servers, "enable.idempotence": True})
    for number in range(100):
        producer.produce("readings", b"%d" % number, key=b"device-%d" % (number % 7))
    assert producer.flush(10) == 0
    consumer = Consumer(
        {
            "bootstrap.servers": tansu.bootstrap_servers,
            "group.id": "test",
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 1000,  # Tansu answers a join after half of it
        }
    )
    consumer.subscribe(["readings"])
    values = set()
    for _ in range(100):
        values |= {int(message.value() or b"-1") for message in consumer.consume(100, 0.2)}
        if len(values) == 100:
            break
    consumer.close()
    assert values == set(range(100))


def test_it_comes_back_empty_on_the_same_port(tansu: TansuBroker) -> None:
    address = tansu.bootstrap_servers
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic("readings", 1, 1)])["readings"].result(10)
    tansu.kill()
    assert not port_answers(int(address.partition(":")[2]))
    tansu.restart()
    assert tansu.bootstrap_servers == address
    assert "readings" not in AdminClient({"bootstrap.servers": address}).list_topics(timeout=10).topics


def test_a_port_in_use_is_said(tansu: TansuBroker, tmp_path: Path) -> None:
    port = int(tansu.bootstrap_servers.partition(":")[2])
    with pytest.raises(StartError, match=f"port {port} is in use"):
        TansuBroker(tmp_path / "second", port).start()


def test_two_run_side_by_side_and_stop(tansu: TansuBroker, tmp_path: Path) -> None:
    said: list[str] = []
    with TansuBroker(tmp_path / "second", progress=said.append) as second:
        assert second.bootstrap_servers != tansu.bootstrap_servers
        assert second.process.memory_bytes is not None
    assert not second.process.alive
    assert tansu.process.alive
    assert said
    assert "Tansu" in said[0]
