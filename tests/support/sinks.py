"""Databases and topics for the sinks' tests, and hands to feed and question them."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from pydantic import SecretStr

from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.kafka import Publisher
from schemas.readings import Anomaly, AnomalyState, Reading
from sinks.dead_letters import dead_letter_office
from sinks.kafka import consumer_defaults
from sinks.timescale.connection import connector
from sinks.timescale.worker import Worker, WorkerOptions
from tests.support.servers import scratch_database

CODEC = Codec(Catalogue())
T0 = 1_790_000_000_000_000
"""Event time of the first reading of most tests, µs."""
SHORT_SESSION = {"session.timeout.ms": "2000", "heartbeat.interval.ms": "500"}
"""So that nobody waits long for a sink that was killed; Tansu lets each group wait half a session."""


class Broker(Protocol):
    name: str
    bootstrap_servers: str


class DatabaseServer(Protocol):
    url: str


@dataclass
class Database:
    """A database of its own for one test."""

    url: str = field(repr=False)  # has the password
    server: Any

    def query(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def totals(self) -> dict[str, tuple[int, ...]]:
        """Topic -> sums of (stored, updated, duplicates, dead_letters)."""
        rows = self.query(
            """SELECT topic, sum(stored)::int8, sum(updated)::int8, sum(duplicates)::int8, sum(dead_letters)::int8
               FROM sink_offset GROUP BY topic"""
        )
        return {topic: tuple(map(int, counts)) for topic, *counts in rows}


@contextmanager
def new_database(server: DatabaseServer, options: str = "") -> Iterator[Database]:
    with scratch_database(server.url, options) as url:
        yield Database(url, server)


@contextmanager
def new_role(database: Database, options: str = "") -> Iterator[str]:
    """A role of the whole server; with it goes what it owns in this database."""
    name = f"role_{uuid.uuid4().hex}"
    database.query(f"CREATE ROLE {name} {options}")
    try:
        yield name
    finally:
        database.query(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


@pytest.fixture
def database(real_database_server: DatabaseServer) -> Iterator[Database]:
    with new_database(real_database_server) as fresh:
        yield fresh


@pytest.fixture
def plain_database(running_databases: Callable[[str], DatabaseServer]) -> Iterator[Database]:
    """Plain PostgreSQL, the quickest to make: for what every database does alike."""
    with new_database(running_databases("postgresql")) as fresh:
        yield fresh


@pytest.fixture
def embedded_database(running_databases: Callable[[str], DatabaseServer]) -> Iterator[Database]:
    """On a server that can be stopped and started: `server`."""
    with new_database(running_databases("embedded")) as fresh:
        yield fresh


@dataclass
class Topics:
    """Topics of one test, and what is needed to fill and read them."""

    bootstrap_servers: str
    readings: str
    anomalies: str
    devices: str
    partitions: int

    def __post_init__(self) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
            }
        )
        self.group = self.readings.replace("readings", "sink")

    def close(self) -> None:
        self._producer.close()

    def create(self, *names: str, partitions: int | None = None) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        for future in admin.create_topics(
            # Messages have fixed timestamps, which retention would soon find too old.
            [
                NewTopic(name, partitions or self.partitions, 1, config={"retention.ms": "-1"})
                for name in names
            ]
        ).values():
            future.result()

    def delete(self, *names: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        for future in admin.delete_topics(list(names)).values():
            future.result()

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        for future in admin.delete_records([TopicPartition(topic, partition, before)]).values():
            future.result()

    def send(
        self, topic: str, messages: Sequence[tuple[bytes | None, bytes | None]], partition: int = -1
    ) -> None:
        """Send (key, value) pairs and wait for the broker."""
        refused: list[str] = []
        for key, value in messages:
            self._producer.produce(
                topic,
                key=key,
                value=value,
                partition=partition,
                headers=[("origin", b"test")],
                timestamp=T0 // 1000 + 10_000_000,
                on_delivery=lambda error, _: refused.append(str(error)) if error else None,
            )
            self._producer.poll(0)
        assert self._producer.flush(30) == 0
        assert not refused

    def send_readings(self, readings: Sequence[Reading]) -> None:
        self.send(
            self.readings,
            [(reading.device_id.encode(), CODEC.encode_reading(reading)) for reading in readings],
        )

    def send_anomalies(self, anomalies: Sequence[Anomaly]) -> None:
        self.send(
            self.anomalies,
            [(anomaly.device_id.encode(), CODEC.encode_anomaly(anomaly)) for anomaly in anomalies],
        )

    def read_all(self, topic: str, expected: int, seconds: float = 90) -> list[Any]:
        """The first `expected` messages of a topic of one partition."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": f"test-{uuid.uuid4()}",
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 6000,
            }
        )
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[Any] = []
        deadline = time.monotonic() + seconds
        while len(found) < expected and time.monotonic() < deadline:
            found += [m for m in consumer.consume(100, timeout=0.2) if m.error() is None]
        consumer.close()
        return found


@pytest.fixture
def topics(broker: Broker) -> Iterator[Topics]:
    unique = uuid.uuid4().hex[:12]
    made = Topics(
        broker.bootstrap_servers,
        f"readings-{unique}",
        f"anomalies-{unique}",
        f"devices-{unique}",
        partitions=3,
    )
    made.create(made.readings, made.anomalies, made.devices)
    made.create(*(f"{name}.dlq" for name in (made.readings, made.anomalies, made.devices)), partitions=1)
    yield made
    made.close()


def make_worker(topics: Topics, url: str, **options: Any) -> Worker:
    """A worker on these topics and this database."""
    consumer = {
        "bootstrap.servers": topics.bootstrap_servers,
        **consumer_defaults(topics.group),
        **SHORT_SESSION,
    }
    values = {"batch_seconds": 0.1, "longest_wait": 0.5} | options
    return Worker(
        WorkerOptions(topics.group, consumer, topics.readings, topics.anomalies, topics.devices, **values),
        CODEC,
        connector(SecretStr(url)),
        dead_letter_office(lambda: Publisher({"bootstrap.servers": topics.bootstrap_servers}), topics.group),
    )


@contextmanager
def running(worker: Any) -> Iterator[Any]:
    """The worker at work in a thread; its error, if any, comes out at the end."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            worker.run()
        except Exception as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(120)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def readings_of(devices: int, each: int, start: int = 0) -> list[Reading]:
    """Readings with keys of their own, a second apart."""
    return [
        Reading(f"device-{device:03d}", "temperature", T0 + (start + i) * 1_000_000, float(i), None)
        for i in range(each)
        for device in range(devices)
    ]


def anomaly(
    number: int = 1, state: AnomalyState = AnomalyState.OPENED, readings: int = 1, **changes: Any
) -> Anomaly:
    values: dict[str, Any] = {
        "anomaly_id": uuid.UUID(int=number),
        "device_id": f"device-{number}",
        "metric": "temperature",
        "kind": "deviation",
        "state": state,
        "opened_at": T0,
        "cleared_at": T0 + 5_000_000 if state is AnomalyState.CLEARED else None,
        "value": 40.0,
        "score": 9.5,
        "mean": 20.0,
        "std": 2.0,
        "lower": 12.0,
        "upper": 28.0,
        "readings": readings,
        "fault": None,
        "detected_at": T0 + 1,
    }
    return Anomaly(**values | changes)
