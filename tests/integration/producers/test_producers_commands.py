"""Simulate, replay and record against real brokers."""

import re
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from deploy.embedded import TansuBroker
from producers import record
from producers.commands import partition_count, run_record, run_replay
from producers.options import RecordOptions, ReplayOptions, SimulateOptions
from producers.simulation.running import run_simulate
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.errors import ConfigError, InputError, SigmawatchError, TopicError
from schemas.kafka import Publisher, client_config, partition_for_key
from schemas.recording import RecordingReader
from schemas.settings import KafkaSettings, Settings
from tests.support.chaos import read_all

pytestmark = pytest.mark.integration

CODEC = Codec(Catalogue())
AMBIENT = Path(__file__).parents[4] / "shared/data/nab/realKnownCause/ambient_temperature_system_failure.csv"
PARTITIONS = 4


@pytest.fixture(scope="module")
def settings(broker):
    return Settings(kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers))


@pytest.fixture(scope="module")
def other_settings(tmp_path_factory):
    """Another broker."""
    with TansuBroker(tmp_path_factory.mktemp("broker")) as other:
        yield Settings(kafka=KafkaSettings(bootstrap_servers=other.bootstrap_servers))


@pytest.fixture
def topics(request, settings, other_settings):
    """Make topics of these names, with a suffix of the test's own, on both brokers."""

    def make(*names, partitions=PARTITIONS):
        full = [re.sub(r"[^\w.-]", "-", f"{name}-{request.node.name}") for name in names]
        for one in (settings, other_settings):
            admin = AdminClient(client_config(one.kafka))
            # The messages have timestamps of long ago, which Kafka would delete when it next looks, once in five minutes.
            kept = [NewTopic(name, partitions, 1, config={"retention.ms": "-1"}) for name in full]
            for future in admin.create_topics(kept).values():
                future.result(60)
        return full

    return make


def with_topics(settings, readings, devices):
    return settings.model_copy(
        update={"topics": settings.topics.model_copy(update={"readings": readings, "devices": devices})}
    )


def consume(settings, topic, partitions=PARTITIONS):
    """All messages of a topic, by partition."""
    found = read_all(settings.kafka.bootstrap_servers, topic, partitions)
    return [message for number in sorted(found) for message in found[number]]


def recorded(path):
    with path.open("rb") as file:
        return list(RecordingReader(file, str(path)))


def by_partition(messages):
    parts = {}
    for message in messages:
        place = (message.timestamp_ms, message.timestamp_type, message.key, message.value, message.headers)
        parts.setdefault(message.partition, []).append((message.offset, *place))
    return parts


def fill(settings, topic, count=3000):
    """All sorts of messages: nulls, empty ones, headers, times in the past, several batches a partition."""
    with Publisher(client_config(settings.kafka)) as publisher:
        for number in range(count):
            key = [None, b"", b"key-%d" % (number % 50)][min(2, number % 40)]
            value = [None, b"", b"value %d" % number][min(2, number % 30)]
            headers = [("a", b"%d" % number), ("b", None), ("a", b"")] if number % 3 == 0 else None
            publisher.send(
                topic,
                key,
                value,
                partition=number * 7 % PARTITIONS,
                headers=headers,
                timestamp_ms=1_500_000_000_000 + number * 10,
            )
            if number % 1000 == 700:
                publisher.flush()


def test_record_replay_record_is_identical(settings, other_settings, topics, tmp_path):
    source, copy = topics("source", "copy")
    fill(settings, source)
    first = run_record(settings, source, tmp_path / "first.avro")
    assert first.messages == 3000
    messages = recorded(tmp_path / "first.avro")
    assert sum(first.by_partition.values()) == len(messages) == 3000
    assert [m.timestamp_ms for m in messages] == sorted(m.timestamp_ms for m in messages)
    assert {m.key for m in messages} >= {None, b"", b"key-2"}
    assert {m.value for m in messages} >= {None, b""}
    for target, topic in ((settings, copy), (other_settings, source), (other_settings, copy)):
        options = ReplayOptions(topic=None if topic == source else topic)
        summary = run_replay(target, tmp_path / "first.avro", options)
        assert (summary.produced, summary.by_partition, summary.notes) == (3000, first.by_partition, [])
        run_record(target, topic, tmp_path / "second.avro", RecordOptions(overwrite=True))
        assert by_partition(recorded(tmp_path / "second.avro")) == by_partition(messages)


def test_partitions_far_apart_are_held_back(settings, topics, tmp_path, monkeypatch):
    """Partition 0 is all later than the others: it waits, paused, instead of filling the memory."""
    monkeypatch.setattr(record, "_BUFFER_BYTES", 20_000)
    (source,) = topics("source")
    with Publisher(client_config(settings.kafka)) as publisher:
        for number in range(8000):
            partition = number % PARTITIONS
            publisher.send(
                source, None, b"%d" % number + bytes(100), partition=partition,
                timestamp_ms=1_500_000_000_000 + number + (0 if partition else 1_000_000),
            )  # fmt: skip
    summary = run_record(settings, source, tmp_path / "r.avro")
    assert summary.by_partition == dict.fromkeys(range(PARTITIONS), 2000)
    messages = recorded(tmp_path / "r.avro")
    assert [m.timestamp_ms for m in messages] == sorted(m.timestamp_ms for m in messages)
    for part in by_partition(messages).values():
        assert [place[0] for place in part] == list(range(2000))


def test_too_few_partitions_and_missing_topics(settings, topics, tmp_path):
    (source,) = topics("source")
    (small,) = topics("small", partitions=2)
    fill(settings, source, 50)
    run_record(settings, source, tmp_path / "r.avro")
    with pytest.raises(TopicError, match=r"has 2 partitions, the recorded topic .* 4"):
        run_replay(settings, tmp_path / "r.avro", ReplayOptions(topic=small))
    with pytest.raises(TopicError, match="no topic 'nowhere'"):
        run_replay(settings, tmp_path / "r.avro", ReplayOptions(topic="nowhere"))
    with pytest.raises(TopicError, match="no topic 'nowhere'"):
        run_record(settings, "nowhere", tmp_path / "n.avro")
    with pytest.raises(ConfigError, match="--shift-to-now: the file is a recorded topic"):
        run_replay(settings, tmp_path / "r.avro", ReplayOptions(shift_to_now=True))
    assert partition_count(settings.kafka, "nowhere") is None
    assert consume(settings, small, 2) == []
    assert list(tmp_path.glob("n.avro*")) == []


@pytest.mark.parametrize(
    ("start", "expected"), [("10", 3000 - 4 * 10), ("2017-07-14T02:40:10Z", 2000), ("99999", 0)]
)
def test_where_recording_starts(settings, topics, tmp_path, start, expected):
    (source,) = topics("source")
    fill(settings, source)
    summary = run_record(settings, source, tmp_path / "r.avro", RecordOptions(start=start))
    assert summary.messages == expected


def test_empty_topic_and_maximum(settings, topics, tmp_path):
    empty, full = topics("empty", "full")
    # It ends at once, and does not wait for messages until its patience is over: that would be longer than the test may take.
    assert run_record(settings, empty, tmp_path / "e.avro", RecordOptions(idle_timeout=3600.0)).messages == 0
    assert run_replay(settings, tmp_path / "e.avro").produced == 0
    fill(settings, full, 500)
    assert run_record(settings, full, tmp_path / "f.avro", RecordOptions(max_messages=123)).messages == 123
    assert len(recorded(tmp_path / "f.avro")) == 123


def test_transactions(broker, settings, topics, tmp_path):
    """Aborted messages are left out, and a topic that ends with a transaction's marker has an end."""
    if broker.name == "tansu":
        pytest.skip("Tansu shows aborted records and has no control records")
    (source,) = topics("source")
    producer = Producer(client_config(settings.kafka, **{"transactional.id": "t"}))
    producer.init_transactions(30)
    for end in (producer.commit_transaction, producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        for number in range(10):
            producer.produce(source, end.__name__, partition=number % PARTITIONS)
        producer.flush(30)
        end(30)
    summary = run_record(settings, source, tmp_path / "r.avro", RecordOptions(idle_timeout=10.0))
    assert summary.messages == 20
    assert {message.value for message in recorded(tmp_path / "r.avro")} == {b"commit_transaction"}


def test_follow_until_stopped(settings, topics, tmp_path):
    (source,) = topics("source")
    fill(settings, source, 100)
    stop, summaries = threading.Event(), []
    path = tmp_path / "r.avro"
    thread = threading.Thread(
        target=lambda: summaries.append(
            run_record(settings, source, path, RecordOptions(start="end", follow=True), stop=stop)
        )
    )
    thread.start()
    # What is recorded depends on when the recorder is there: send until it has seen something.
    deadline, sent = time.monotonic() + 90, 0
    partial = tmp_path / "r.avro.part"
    with Publisher(client_config(settings.kafka)) as publisher:
        while time.monotonic() < deadline and not (partial.exists() and partial.stat().st_size > 100_000):
            publisher.send(
                source, b"k", sent.to_bytes(4) + bytes(range(256)) * 4, partition=sent % PARTITIONS
            )
            sent += 1
            if sent % 200 == 0:
                publisher.flush()
    stop.set()
    thread.join(90)
    assert summaries[0].stopped
    values = [m.value for m in recorded(path)]
    assert values
    assert all(len(value) == 1028 for value in values), "nothing from before the end"
    assert not partial.exists()


def test_a_busy_topic_ends_where_it_ended_at_the_start(settings, topics, tmp_path):
    (source,) = topics("source")
    fill(settings, source, 1000)
    stop = threading.Event()

    def write():
        with Publisher(client_config(settings.kafka)) as publisher:
            number = 0
            while not stop.is_set():
                publisher.send(source, b"later", b"%d" % number)
                number += 1
                if number % 100 == 0:
                    publisher.flush()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        summary = run_record(settings, source, tmp_path / "r.avro")
    finally:
        stop.set()
        thread.join()
    assert summary.messages >= 1000
    early = [m for m in recorded(tmp_path / "r.avro") if m.key != b"later"]
    assert len(early) == 1000


def test_simulated_fleet_is_counted_by_partition(settings, topics):
    readings, devices = topics("readings", "devices")
    options = SimulateOptions(
        fleet="signal", devices=50, duration=200.0, speed=float("inf"), anomaly_rate=0.01, seed=5
    )
    summary = run_simulate(with_topics(settings, readings, devices), options)
    assert summary.produced == 50 * 3 * 200
    messages = consume(settings, readings)
    counts = {}
    for message in messages:
        counts[message.partition()] = counts.get(message.partition(), 0) + 1
        assert message.partition() == partition_for_key(message.key(), PARTITIONS)
    assert summary.by_partition == dict(sorted(counts.items()))
    decoded = [CODEC.decode_reading(message.value()) for message in messages]
    assert sum(reading.fault is not None for reading in decoded) == summary.faults > 0
    assert all(
        message.key() == reading.device_id.encode()
        for message, reading in zip(messages, decoded, strict=True)
    )
    now_ms = time.time() * 1000
    assert all(now_ms - 600_000 < message.timestamp()[1] <= now_ms for message in messages)
    announced = [CODEC.decode_device(message.value()).device_id for message in consume(settings, devices)]
    assert sorted(announced) == [f"signal-{number:03}" for number in range(1, 51)]


def test_simulation_in_real_time_stops_cleanly(settings, topics):
    readings, devices = topics("readings", "devices")
    stop, seen = threading.Event(), []

    def progress(step):
        seen.append(step)
        if step.sent > 500:
            stop.set()

    options = SimulateOptions(fleet="signal", devices=20, rate=1000.0)
    summary = run_simulate(with_topics(settings, readings, devices), options, stop=stop, on_progress=progress)
    assert len(consume(settings, readings)) == summary.produced > 500
    assert 0.3 < summary.seconds < 120


@pytest.mark.skipif(not AMBIENT.exists(), reason="../shared/data/nab is not on this machine")
def test_ambient_temperature(settings, topics):
    (readings, devices) = topics("readings", "devices")
    summary = run_replay(with_topics(settings, readings, devices), AMBIENT)
    messages = consume(settings, readings)
    assert summary.produced == len(messages) == 7267
    partition = partition_for_key(b"ambient_temperature_system_failure", PARTITIONS)
    assert summary.by_partition == {partition: 7267}
    times = [CODEC.decode_reading(message.value()).time for message in messages]
    assert times == sorted(times)


def test_a_bad_row_stops_with_everything_before_it_published(settings, topics, tmp_path):
    readings, devices = topics("readings", "devices")
    path = tmp_path / "a.csv"
    path.write_text(
        "time,value\n" + "".join(f"2020-01-01,{i}\n" for i in range(7000)) + "2020-01-01,\n2020-01-01,1\n"
    )
    with pytest.raises(
        InputError, match="line 7002, column value: the value is missing; the 7000 readings before"
    ):
        run_replay(with_topics(settings, readings, devices), path)
    assert len(consume(settings, readings)) == 7000


def test_no_broker_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "_ANSWER_S", 1.0)
    nowhere = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(SigmawatchError, match="cannot be recorded"):
        run_record(nowhere, "t", tmp_path / "r.avro")
    assert list(tmp_path.iterdir()) == []
