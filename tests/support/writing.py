"""A writer on a database, batches without Kafka for it, and the rows that should come of them."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from pydantic import SecretStr

from schemas.dead_letters import TimeBounds
from schemas.readings import Reading
from sinks.dead_letters import DeadLetter
from sinks.logs import LogId
from sinks.timescale import offsets
from sinks.timescale.batches import batch_makers
from sinks.timescale.connection import connector
from sinks.timescale.database import Database as KeptDatabase
from sinks.timescale.migrate import migrate
from sinks.timescale.writer import LogBatch, Outcome, Writer
from tests.support.sinks import CODEC, T0, Database

GROUP = "sink-under-test"
MAKE = batch_makers(
    CODEC, TimeBounds(max_ahead_us=10**15), readings="readings", anomalies="anomalies", devices="devices"
)
LOG = LogId("readings", "life-1", 0)
OTHER = LogId("readings", "life-1", 1)


class Message:
    def __init__(self, offset: int, value: bytes | None, key: bytes | None = b"key") -> None:
        self._offset, self._value, self._key = offset, value, key

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, T0 // 1000

    def headers(self) -> None:
        return None


class Sink:
    """A writer, and the dead letters it sent."""

    def __init__(self, store: Database, connect: Any = None) -> None:
        self.store = store
        self.letters: list[DeadLetter] = []
        self.stop = threading.Event()
        self.connect = connect or connector(SecretStr(store.url))
        self.outages = 0
        self.database = KeptDatabase(self.connect, self.stop, longest_wait=0.2, on_outage=self._count_outage)
        self.writer = Writer(self.database, GROUP, self._send)

    def _count_outage(self) -> None:
        self.outages += 1

    def _send(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            if not letter.sent:
                self.letters.append(letter)
                letter.sent = True

    def position(self, log: LogId = LOG) -> int:
        return self.database.patiently(lambda connection: offsets.enter(connection, GROUP, {log: 0}))[log]

    def write(self, *batches: LogBatch | None) -> dict[LogId, Outcome]:
        given = [batch for batch in batches if batch is not None]
        return self.writer.write(given)


@contextmanager
def sink_on(store: Database) -> Iterator[Sink]:
    """A sink that has entered both logs, on new tables."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        migrate(connection)
    made = Sink(store)
    made.position(LOG)
    made.position(OTHER)
    yield made
    made.database.close()


def readings_batch(readings: Sequence[Reading | bytes | None], first: int = 0, log: LogId = LOG) -> LogBatch:
    messages = [
        Message(first + i, CODEC.encode_reading(reading) if isinstance(reading, Reading) else reading)
        for i, reading in enumerate(readings)
    ]
    batch = MAKE["readings"](log, first, messages)
    assert batch is not None
    return batch


def anomalies_batch(anomalies: Sequence[Any], first: int = 0) -> LogBatch:
    messages = [
        Message(first + i, a if isinstance(a, bytes | None) else CODEC.encode_anomaly(a))
        for i, a in enumerate(anomalies)
    ]
    batch = MAKE["anomalies"](LogId("anomalies", "life-1", 0), first, messages)
    assert batch is not None
    return batch


def stored(store: Database) -> list[tuple[Any, ...]]:
    return store.query(
        """SELECT device_id, metric, (extract(epoch from time) * 1000000)::int8, value, fault FROM readings
           ORDER BY 1, 2, 3"""
    )


def as_rows(readings: Sequence[Reading]) -> list[tuple[Any, ...]]:
    return sorted((r.device_id, r.metric, r.time, r.value, r.fault) for r in readings)
