"""The whole sink, on a real broker and a real database."""

import urllib.request
from dataclasses import replace

import psycopg
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from schemas.health import HealthServer
from schemas.readings import AnomalyState, Device, Reading
from tests.support.sinks import (
    CODEC,
    Broker,
    Database,
    Topics,
    anomaly,
    make_worker,
    readings_of,
    running,
)
from tests.support.waiting import until

pytestmark = pytest.mark.integration


def rows(database: Database) -> list[tuple[str, str, int, float]]:
    return database.query(
        "SELECT device_id, metric, (extract(epoch from time) * 1000000)::int8, value FROM readings ORDER BY 1, 2, 3"
    )


def expected(readings: list[Reading]) -> list[tuple[str, str, int, float]]:
    return sorted((r.device_id, r.metric, r.time, r.value) for r in readings)


def accounted(database: Database, topic: str) -> int:
    """Messages of a topic that are dealt with; 0 before the tables are there."""
    try:
        return sum(database.totals().get(topic, ()))
    except psycopg.errors.UndefinedTable:
        return 0


def test_everything_is_stored_once_over_restarts(database: Database, topics: Topics) -> None:
    readings = readings_of(20, 100)
    bad = CODEC.encode_reading(replace(readings[0], value=float("inf")))
    topics.send_readings(readings[:1500])
    topics.send(topics.readings, [(b"k", bad), (None, b"rubbish")])
    topics.send_anomalies([anomaly(1), anomaly(2), anomaly(1, AnomalyState.CLEARED)])
    pump = Device("pump-1", "pump", "Pump")
    topics.send(topics.devices, [(b"pump-1", CODEC.encode_device(pump))])

    with running(make_worker(topics, database.url)) as worker:
        until(lambda: accounted(database, topics.readings) == 1502, what="first part")
        until(lambda: accounted(database, topics.anomalies) == 3, what="anomalies")
        until(lambda: accounted(database, topics.devices) == 1, what="devices")
        assert worker.ready
        assert worker.alive
        stats = worker.stats()
        assert stats.counts[topics.readings].stored == 1500
        assert stats.assigned == 9
    assert not worker.ready

    topics.send_readings(readings[1400:])  # a hundred of them for the second time
    with running(make_worker(topics, database.url)):
        until(lambda: accounted(database, topics.readings) == 2102, what="second part")

    assert rows(database) == expected(readings)
    assert database.totals() == {
        topics.readings: (2000, 0, 100, 2),
        topics.anomalies: (2, 1, 0, 0),
        topics.devices: (1, 0, 0, 0),
    }
    assert database.query("SELECT anomaly_id::text, state FROM anomalies ORDER BY 1") == [
        ("00000000-0000-0000-0000-000000000001", "CLEARED"),
        ("00000000-0000-0000-0000-000000000002", "OPENED"),
    ]


@pytest.mark.most_real
def test_dead_letters_carry_what_was_sent_and_why(database: Database, topics: Topics) -> None:
    topics.send(topics.readings, [(b"the key", b"\x07rubbish")])
    with running(make_worker(topics, database.url)):
        (letter,) = topics.read_all(f"{topics.readings}.dlq", 1)
        until(lambda: accounted(database, topics.readings) == 1, what="dead letter")
    headers = dict(letter.headers())
    assert (letter.key(), letter.value()) == (b"the key", b"\x07rubbish")
    assert headers["origin"] == b"test"
    assert headers["__connect.errors.topic"] == topics.readings.encode()
    assert headers["__connect.errors.offset"] == b"0"
    assert headers["__connect.errors.exception.class.name"] == b"BAD_MAGIC"
    assert headers["__connect.errors.connector.name"] == topics.group.encode()


def test_kafka_sees_the_group_where_the_database_is(database: Database, topics: Topics) -> None:
    topics.send_readings(readings_of(10, 10))
    with running(make_worker(topics, database.url)):
        until(lambda: accounted(database, topics.readings) == 100, what="readings")
    admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers})
    future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(topics.group)])[topics.group]
    committed = {
        entry.partition: entry.offset
        for entry in future.result().topic_partitions
        if entry.topic == topics.readings and entry.offset > 0
    }
    stored = database.query(
        "SELECT partition, next_offset FROM sink_offset WHERE topic = %s AND next_offset > 0",
        [topics.readings],
    )
    assert committed == dict(stored)


def test_a_recreated_topic_is_read_from_its_start(database: Database, topics: Topics) -> None:
    first, second = readings_of(10, 30), readings_of(10, 30, start=1000)
    topics.send_readings(first)
    with running(make_worker(topics, database.url)):
        until(lambda: accounted(database, topics.readings) == 300, what="first life")
    topics.delete(topics.readings)
    topics.create(topics.readings)
    topics.send_readings(second)
    with running(make_worker(topics, database.url)):
        until(lambda: accounted(database, topics.readings) == 600, what="second life")
    assert rows(database) == expected(first + second)
    lives = database.query(
        "SELECT count(DISTINCT topic_id), count(*) FROM sink_offset WHERE topic = %s", [topics.readings]
    )
    assert lives == [(2, 6)]


def test_a_topic_recreated_under_a_running_sink(broker: Broker, database: Database, topics: Topics) -> None:
    if broker.name == "tansu":
        pytest.skip("librdkafka crashes on Tansu's answer to a fetch from a topic that is gone")
    first, second = readings_of(10, 30), readings_of(10, 40, start=1000)
    topics.send_readings(first)
    with running(make_worker(topics, database.url)):
        until(lambda: accounted(database, topics.readings) == 300, what="first life")
        topics.delete(topics.readings)
        topics.create(topics.readings)
        topics.send_readings(second)
        until(lambda: len(rows(database)) == 700, 120, "second life")
    assert rows(database) == expected(first + second)


def test_an_offset_beyond_the_end_of_the_log(broker: Broker, database: Database, topics: Topics) -> None:
    """Kafka lost what is stored already: all is read anew, and changes nothing."""
    if broker.name == "tansu":
        pytest.skip("Tansu answers a fetch beyond the log's end as if it were at the end")
    readings = readings_of(10, 30)
    topics.send_readings(readings)
    with running(make_worker(topics, database.url)):
        until(lambda: accounted(database, topics.readings) == 300, what="readings")
    database.query("UPDATE sink_offset SET next_offset = 5000 WHERE topic = %s", [topics.readings])
    topics.send_readings(readings_of(10, 1, start=500))
    with running(make_worker(topics, database.url)) as worker:
        until(lambda: len(rows(database)) == 310, what="what came after")
    resets = worker.metrics.registry.get_sample_value(
        "sigmawatch_sink_log_resets_total", {"topic": topics.readings}
    )
    assert resets == 3


def test_messages_deleted_before_they_were_stored(broker: Broker, database: Database, topics: Topics) -> None:
    """Retention was faster than the sink: what is left is stored, and the loss is said."""
    if broker.name == "tansu":
        pytest.skip("DeleteRecords ends a thread of Tansu")
    topics.send(topics.readings, [(b"k", CODEC.encode_reading(r)) for r in readings_of(1, 50)], partition=0)
    with running(make_worker(topics, database.url)):
        until(lambda: accounted(database, topics.readings) == 50, what="readings")
    late = readings_of(1, 50, start=50)
    topics.send(topics.readings, [(b"k", CODEC.encode_reading(r)) for r in late], partition=0)
    topics.delete_records(topics.readings, 0, 70)
    with running(make_worker(topics, database.url)):
        until(lambda: len(rows(database)) == 80, what="what is left")
    assert database.query(
        "SELECT next_offset, stored FROM sink_offset WHERE topic = %s AND partition = 0", [topics.readings]
    ) == [(100, 80)]


@pytest.mark.most_real
def test_a_missing_topic_is_waited_for(database: Database, topics: Topics) -> None:
    topics.readings += "-later"
    topics.send_anomalies([anomaly(1)])
    with running(make_worker(topics, database.url)):
        until(lambda: accounted(database, topics.anomalies) == 1, what="anomaly")
        topics.create(topics.readings)
        topics.send_readings(readings_of(2, 5))
        until(lambda: accounted(database, topics.readings) == 10, what="readings of the late topic")


@pytest.mark.most_real
def test_an_anomaly_does_not_wait_for_the_readings_batch(database: Database, topics: Topics) -> None:
    with running(make_worker(topics, database.url, batch_seconds=600.0)) as worker:
        until(lambda: worker.ready, what="ready")
        topics.send_readings(readings_of(1, 5))
        topics.send_anomalies([anomaly(1)])
        until(lambda: accounted(database, topics.anomalies) == 1, what="anomaly")
        assert accounted(database, topics.readings) == 0
    assert accounted(database, topics.readings) == 5  # stopping writes what was gathered


def test_two_sinks_share_the_partitions(database: Database, topics: Topics) -> None:
    readings = readings_of(30, 100)
    with running(make_worker(topics, database.url)) as one:
        until(lambda: one.stats().assigned == 9, what="first sink")
        topics.send_readings(readings[:1000])
        with running(make_worker(topics, database.url)) as two:
            until(lambda: one.stats().assigned > 0 and two.stats().assigned > 0, what="both")
            topics.send_readings(readings[1000:2000])
            until(lambda: accounted(database, topics.readings) == 2000, what="both at work")
        topics.send_readings(readings[2000:])
        until(lambda: accounted(database, topics.readings) == 3000, what="the first alone again")
    assert rows(database) == expected(readings)
    assert database.totals()[topics.readings] == (3000, 0, 0, 0)


@pytest.mark.most_real
def test_the_database_restarts_in_between(embedded_database: Database, topics: Topics) -> None:
    database, readings = embedded_database, readings_of(10, 300)
    with running(make_worker(topics, database.url)) as worker:
        topics.send_readings(readings[:1000])
        until(lambda: accounted(database, topics.readings) == 1000, what="before")
        database.server.stop()
        topics.send_readings(readings[1000:2000])
        until(lambda: worker.stats().waiting, what="the sink notices")
        assert not worker.ready
        assert worker.alive
        database.server.start()
        topics.send_readings(readings[2000:])
        until(lambda: accounted(database, topics.readings) == 3000, what="after")
        assert worker.ready
    assert rows(database) == expected(readings)
    assert database.totals()[topics.readings] == (3000, 0, 0, 0)


@pytest.mark.most_real
def test_metrics_of_a_running_sink(database: Database, topics: Topics) -> None:
    worker = make_worker(topics, database.url)
    with (
        running(worker),
        HealthServer(
            "127.0.0.1", 0, worker.metrics.registry, lambda: worker.alive, lambda: worker.ready
        ) as server,
    ):
        topics.send_readings(readings_of(2, 5))
        until(lambda: accounted(database, topics.readings) == 10, what="readings")

        def page() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=60) as answer:
                return str(answer.read().decode())

        line = f'sigmawatch_sink_messages_total{{fate="stored",topic="{topics.readings}"}} 10.0'
        until(lambda: line in page(), what="the counter")
        until(lambda: "sigmawatch_sink_lag_messages" in page(), what="the lag")
        assert "sigmawatch_sink_assigned_partitions 9.0" in page()
        assert "device-0" not in page()
