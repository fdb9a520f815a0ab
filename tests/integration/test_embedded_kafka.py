"""Apache Kafka on the machine's Java: starts, keeps its log over crashes, and has its tools."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from deploy.embedded import FolderInUseError, KafkaBroker, cache_folder, kafka_available
from deploy.embedded.kafka_jars import find_kafka

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    reason = kafka_available()
    if reason is not None:
        pytest.skip(f"Apache Kafka cannot be had: {reason}")
    properties = {"num.partitions": "3"}
    with KafkaBroker(tmp_path_factory.mktemp("kafka"), properties=properties) as running:
        yield running


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Kafka as a distribution has it, made of links to the jars that are here; KAFKA_HOME names it."""
    reason = kafka_available()
    if reason is not None:
        pytest.skip(f"Apache Kafka cannot be had: {reason}")
    home = tmp_path / "Apache Kafka"
    (home / "libs").mkdir(parents=True)
    for jar in find_kafka(cache_folder(), lambda _: None).jars:
        (home / "libs" / jar.name).symlink_to(jar)
    monkeypatch.setenv("KAFKA_HOME", str(home))
    return home


@pytest.fixture
def topic(kafka: KafkaBroker) -> str:
    return filled_topic(kafka)


def filled_topic(kafka: KafkaBroker) -> str:
    """A new topic of two partitions with the numbers 0 to 99."""
    name = f"readings-{os.urandom(3).hex()}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(20)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "acks": "all"})
    for number in range(100):
        producer.produce(name, b"%d" % number, key=b"device-%d" % (number % 7), headers={"unit": b"C"})
    assert producer.flush(20) == 0
    return name


def stored(kafka: KafkaBroker, topic: str) -> set[int]:
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": os.urandom(3).hex(),
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    values: set[int] = set()
    for _ in range(150):
        values |= {
            int(message.value() or b"-1") for message in consumer.consume(100, 0.2) if not message.error()
        }
        if len(values) == 100:
            break
    consumer.close()
    return values


def tool(kafka: KafkaBroker, name: str, *args: str) -> str:
    argv = kafka.console_tool(name, "--bootstrap-server", kafka.bootstrap_servers, *args)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kafkas_own_tools_see_keys_headers_and_groups(kafka: KafkaBroker, topic: str) -> None:
    assert "PartitionCount: 2" in tool(kafka, "kafka-topics", "--describe", "--topic", topic)
    renamed = tuple(map(int, kafka.version.split(".")[:2])) >= (4, 2)
    option = "--formatter-property" if renamed else "--property"
    show = (option, "print.key=true", option, "print.headers=true")
    options = ("--topic", topic, "--from-beginning", "--max-messages", "100", "--group", "tool")
    lines = tool(kafka, "kafka-console-consumer", *options, *show).splitlines()
    assert len(lines) == 100
    assert all(line.startswith("unit:C\tdevice-") for line in lines)
    assert topic in tool(kafka, "kafka-consumer-groups", "--describe", "--group", "tool")


def test_segments_can_be_dumped(kafka: KafkaBroker, topic: str) -> None:
    files = ",".join(str(path) for path in kafka.data.glob(f"{topic}-*/*.log"))
    done = subprocess.run(
        kafka.console_tool("kafka-dump-log", "--print-data-log", "--files", files),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.count("key: device-") == 100


def test_settings_of_ours_take_effect(kafka: KafkaBroker) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic("by-default", -1, -1)])["by-default"].result(20)
    assert len(admin.list_topics("by-default", timeout=10).topics["by-default"].partitions) == 3


def test_its_log_outlives_restart_and_crash_on_the_same_port(kafka: KafkaBroker, topic: str) -> None:
    address = kafka.bootstrap_servers
    kafka.restart()
    assert stored(kafka, topic) == set(range(100))
    kafka.kill()
    assert not kafka.process.alive
    kafka.restart()
    assert kafka.bootstrap_servers == address
    assert stored(kafka, topic) == set(range(100))


def test_a_paused_broker_goes_on(kafka: KafkaBroker, topic: str) -> None:
    kafka.pause()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    with pytest.raises(Exception, match=r"_TRANSPORT|_TIMED_OUT"):
        admin.list_topics(timeout=1.0)
    kafka.resume()
    assert stored(kafka, topic) == set(range(100))


def test_a_second_on_the_same_folder_is_refused(kafka: KafkaBroker) -> None:
    with pytest.raises(FolderInUseError, match=f"in use by process {os.getpid()}"):
        KafkaBroker(kafka.data.parent.parent).start()


def test_an_installed_kafka_is_used_and_none_fetched(installed: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with KafkaBroker(tmp_path / "state", cache) as kafka:
        assert str(installed / "libs") in " ".join(kafka.console_tool("kafka-topics"))
        topic = filled_topic(kafka)
        assert stored(kafka, topic) == set(range(100))
        assert topic in tool(kafka, "kafka-topics", "--list").splitlines()
        kafka.restart()
        assert stored(kafka, topic) == set(range(100))
    assert not cache.exists()
