"""Fences, dead letters and outages, which are alike on every database: on plain PostgreSQL."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from schemas.dead_letters import DeadLetterReason
from schemas.errors import DatabaseError
from schemas.readings import Device, Location, Reading
from sinks.dead_letters import DeadLetter
from sinks.logs import Counts, LogId
from sinks.patience import StoppedError
from sinks.timescale import offsets
from sinks.timescale.connection import connector
from sinks.timescale.database import OutageError
from sinks.timescale.writer import Fate, Outcome
from tests.support.sinks import CODEC, T0, Database, anomaly, readings_of
from tests.support.writing import (
    GROUP,
    LOG,
    MAKE,
    OTHER,
    Message,
    Sink,
    anomalies_batch,
    as_rows,
    readings_batch,
    sink_on,
    stored,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def sink(plain_database: Database) -> Iterator[Sink]:
    with sink_on(plain_database) as made:
        yield made


def test_first_by_offset_wins_within_a_batch(sink: Sink) -> None:
    readings = [Reading("d", "m", T0, float(i), None) for i in range(5)]
    assert sink.write(readings_batch(readings))[LOG].counts == Counts(stored=1, duplicates=4)
    assert stored(sink.store) == as_rows(readings[:1])


def test_holes_in_the_offsets_are_legal(sink: Sink) -> None:
    messages = [Message(offset, CODEC.encode_reading(readings_of(1, 1, offset)[0])) for offset in (4, 7, 90)]
    sink.write(MAKE["readings"](LOG, 0, messages))
    assert sink.position() == 91


def test_what_was_read_already_is_left_out() -> None:
    messages = [Message(offset, b"rubbish") for offset in range(5)]
    assert MAKE["readings"](LOG, 5, messages) is None
    late = MAKE["readings"](LOG, 3, messages)
    assert late is not None
    assert [letter.message.offset() for letter in late.refused] == [3, 4]


def test_a_lost_fence_drops_its_batch_and_no_other(sink: Sink) -> None:
    sink.write(readings_batch(readings_of(1, 2)))
    outcomes = sink.write(
        readings_batch([*readings_of(1, 3), b"rubbish"]),  # its fence is 0, the log stands at 2
        readings_batch(readings_of(1, 4, start=10), log=OTHER),
    )
    assert outcomes[LOG] == Outcome(Fate.LOST)
    assert outcomes[OTHER] == Outcome(Fate.STORED, Counts(stored=4))
    assert not sink.letters
    assert sink.store.totals() == {"readings": (6, 0, 0, 0)}


def test_a_log_nobody_entered_is_lost(sink: Sink) -> None:
    unknown = LogId("readings", "life-2", 0)
    assert sink.write(readings_batch(readings_of(1, 1), log=unknown))[unknown].fate is Fate.LOST
    assert stored(sink.store) == []


def test_undecodable_messages_become_dead_letters(sink: Sink) -> None:
    good = readings_of(1, 2)
    bad = [
        None,
        b"",
        b"\x01xxxxxxx",
        b"\0\0\0\0\x63xx",
        CODEC.encode_reading(replace(good[0], value=float("nan"))),
    ]
    outcome = sink.write(readings_batch([good[0], *bad, good[1]]))[LOG]
    assert outcome.counts == Counts(stored=2, dead_letters=5)
    assert [letter.reason for letter in sink.letters] == [
        DeadLetterReason.NULL_VALUE,
        DeadLetterReason.TOO_SHORT,
        DeadLetterReason.BAD_MAGIC,
        DeadLetterReason.UNKNOWN_SCHEMA,
        DeadLetterReason.NON_FINITE_VALUE,
    ]
    assert [letter.message.offset() for letter in sink.letters] == [1, 2, 3, 4, 5]


def test_dead_letters_that_cannot_be_sent_hold_the_offset(sink: Sink) -> None:
    def refuse(_: Sequence[DeadLetter]) -> None:
        raise RuntimeError("broker refuses")

    sink.writer._send_dead_letters = refuse
    with pytest.raises(RuntimeError, match="broker refuses"):
        sink.write(readings_batch([*readings_of(1, 2), b"rubbish"]))
    assert stored(sink.store) == []
    assert sink.position() == 0


class _Unlucky:
    """A connection whose transactions fail at their end: before COMMIT reached the server, or after."""

    def __init__(self, connection: psycopg.Connection, failures: list[str]) -> None:
        self._connection, self._failures, self._depth = connection, failures, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._depth += 1
        failure = self._failures.pop(0) if self._depth == 1 and self._failures else ""
        try:
            with self._connection.transaction():
                yield
                if failure == "before":
                    self._connection.close()
        finally:
            self._depth -= 1
        if failure == "after":
            self._connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")


@pytest.mark.parametrize("failures", [["before"], ["after"], ["before", "before", "after"]], ids="-".join)
def test_a_connection_lost_in_commit(sink: Sink, failures: list[str]) -> None:
    connect, left = sink.connect, list(failures)
    unlucky = Sink(sink.store, lambda: _Unlucky(connect(), left))
    readings = readings_of(3, 10)
    outcome = unlucky.write(readings_batch([*readings, b"rubbish"]))[LOG]
    assert outcome == Outcome(Fate.STORED, Counts(stored=30, dead_letters=1))
    assert not left
    assert unlucky.outages == len(failures)
    assert len(unlucky.letters) == 1
    assert sink.store.totals() == {"readings": (30, 0, 0, 1)}
    unlucky.database.close()


def test_a_connection_ended_by_the_administrator(sink: Sink) -> None:
    sink.position()
    sink.store.query(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE application_name = 'sigmawatch-sink' AND datname = current_database()"""
    )
    assert sink.write(readings_batch(readings_of(1, 5)))[LOG].counts == Counts(stored=5)
    assert sink.outages == 1
    assert not sink.database.waiting


def test_waiting_ends_when_told_to_stop(plain_database: Database) -> None:
    sink = Sink(plain_database, connector(SecretStr("postgresql://nobody@127.0.0.1:1/none")))
    threading.Timer(0.3, sink.stop.set).start()
    with pytest.raises(StoppedError):
        sink.write(readings_batch(readings_of(1, 1)))
    with pytest.raises(OutageError):
        sink.writer.write([readings_batch(readings_of(1, 1))], patient=False)


def test_missing_tables_are_no_outage(sink: Sink) -> None:
    sink.store.query("DROP TABLE readings CASCADE")
    with pytest.raises(DatabaseError, match="readings"):
        sink.write(readings_batch(readings_of(1, 1)))


def test_an_anomaly_the_database_refuses(sink: Sink) -> None:
    log = LogId("anomalies", "life-1", 0)
    sink.position(log)
    bad = anomaly(2, device_id="nul\0")
    counts = sink.write(anomalies_batch([anomaly(1), bad, anomaly(3)]))[log].counts
    assert counts == Counts(stored=2, dead_letters=1)
    assert [letter.message.offset() for letter in sink.letters] == [1]


def test_devices_are_the_newest_message(sink: Sink) -> None:
    log = LogId("devices", "life-1", 0)
    sink.position(log)
    place = Location("Hall 1", 48.1, 11.5, "Europe/Berlin")
    pump = Device("pump-1", "pump", "Pump", place, "ACME", "P1", "1.0", "sn", {"flow": "l/s"}, {"floor": "1"})
    bare = Device("bare", "sensor")

    def write(first: int, *what: Device | bytes | None) -> Counts:
        messages = [
            Message(first + i, CODEC.encode_device(d) if isinstance(d, Device) else d, b"pump-1")
            for i, d in enumerate(what)
        ]
        batch = MAKE["devices"](log, first, messages)
        assert batch is not None
        return sink.write(batch)[log].counts

    assert write(0, pump, bare) == Counts(stored=2)
    assert write(2, pump) == Counts(duplicates=1)
    assert write(3, pump, replace(pump, firmware="2.0")) == Counts(updated=1, duplicates=1)
    (row,) = sink.store.query("SELECT * FROM devices WHERE device_id = 'pump-1'")
    assert row[:-1] == (
        *("pump-1", "pump", "Pump", "Hall 1", 48.1, 11.5, "Europe/Berlin", "ACME", "P1", "2.0", "sn"),
        *({"flow": "l/s"}, {"floor": "1"}),
    )
    assert write(5, None) == Counts(updated=1)  # a tombstone of the compacted topic
    assert write(6, None, b"") == Counts(duplicates=1, dead_letters=1)
    assert sink.store.query("SELECT device_id, units FROM devices") == [("bare", {})]


def test_positions_and_resets(sink: Sink) -> None:
    other = LogId("x", "y", 1)
    with psycopg.connect(sink.store.url, autocommit=True) as connection:
        assert offsets.read(connection, GROUP, [LOG, other]) == {LOG: 0}
        assert offsets.enter(connection, GROUP, {LOG: 77, other: 5}) == {LOG: 0, other: 5}
        assert offsets.reset(connection, GROUP, LOG, 0, 40) == 40
        assert offsets.reset(connection, GROUP, LOG, 0, 50) == 40  # somebody else was faster
        assert offsets.read(connection, "another sink", [LOG]) == {}
