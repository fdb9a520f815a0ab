"""The fenced writer on real databases, plain and with hypertables: every row once, every counter exact."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr

from schemas.dead_letters import DeadLetterReason, TimeBounds
from schemas.errors import DatabaseError
from schemas.readings import AnomalyState, Device, Location, Reading
from sinks.dead_letters import DeadLetter
from sinks.logs import Counts, LogId
from sinks.patience import StoppedError
from sinks.timescale import offsets
from sinks.timescale.batches import batch_makers
from sinks.timescale.connection import connector
from sinks.timescale.migrate import migrate
from sinks.timescale.writer import Fate, LogBatch, OutageError, Outcome, Writer
from tests.support.sinks import CODEC, T0, Database, anomaly, new_database, readings_of

pytestmark = pytest.mark.integration

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


@pytest.fixture(params=["timescaledb_server", "postgresql_server"])
def store(request: pytest.FixtureRequest) -> Iterator[Database]:
    with new_database(request.getfixturevalue(request.param)) as fresh:
        with psycopg.connect(fresh.url, autocommit=True) as connection:
            migrate(connection)
        yield fresh


class Sink:
    """A writer, and the dead letters it sent."""

    def __init__(self, store: Database, connect: Any = None, **options: Any) -> None:
        self.store = store
        self.letters: list[DeadLetter] = []
        self.stop = threading.Event()
        self.connect = connect or connector(SecretStr(store.url))
        self.writer = Writer(self.connect, GROUP, self._send, self.stop, longest_wait=0.2, **options)

    def _send(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            if not letter.sent:
                self.letters.append(letter)
                letter.sent = True

    def position(self, log: LogId = LOG) -> int:
        return self.writer.enter({log: 0})[log]

    def write(self, *batches: LogBatch | None) -> dict[LogId, Outcome]:
        given = [batch for batch in batches if batch is not None]
        return self.writer.write(given)


@pytest.fixture
def sink(store: Database) -> Iterator[Sink]:
    made = Sink(store)
    made.position(LOG)
    made.position(OTHER)
    yield made
    made.writer.close()


def readings_batch(readings: Sequence[Reading | bytes | None], first: int = 0, log: LogId = LOG) -> LogBatch:
    messages = [
        Message(first + i, CODEC.encode_reading(reading) if isinstance(reading, Reading) else reading)
        for i, reading in enumerate(readings)
    ]
    batch = MAKE["readings"](log, first, messages)
    assert batch is not None
    return batch


def stored(store: Database) -> list[tuple[Any, ...]]:
    return store.query(
        """SELECT device_id, metric, (extract(epoch from time) * 1000000)::int8, value, fault FROM readings
           ORDER BY 1, 2, 3"""
    )


def as_rows(readings: Sequence[Reading]) -> list[tuple[Any, ...]]:
    return sorted((r.device_id, r.metric, r.time, r.value, r.fault) for r in readings)


def test_rows_are_what_was_sent(sink: Sink) -> None:
    readings = [
        Reading("d", "m", T0, -0.0, None),
        Reading("dé", "µ/s", T0 + 1, 1e-300, "spike"),
        Reading("d" * 255, "😀", 0, 1e150, ""),
    ]
    outcome = sink.write(readings_batch(readings))[LOG]
    assert outcome == Outcome(Fate.STORED, Counts(stored=3))
    assert stored(sink.store) == as_rows(readings)
    assert sink.position() == 3


def test_a_repeated_batch_adds_no_row_and_is_counted(sink: Sink) -> None:
    readings = readings_of(3, 50)
    changed = [replace(reading, value=-1.0) for reading in readings]
    sink.write(readings_batch(readings))
    assert sink.write(readings_batch(changed, first=150))[LOG].counts == Counts(duplicates=150)
    mixed = changed[:10] + readings_of(3, 2, start=50) + changed[:5]
    assert sink.write(readings_batch(mixed, first=300))[LOG].counts == Counts(stored=6, duplicates=15)
    assert stored(sink.store) == as_rows(readings + readings_of(3, 2, start=50))
    assert sink.store.totals() == {"readings": (156, 0, 165, 0)}


def test_first_by_offset_wins_within_a_batch(sink: Sink) -> None:
    readings = [Reading("d", "m", T0, float(i), None) for i in range(5)]
    assert sink.write(readings_batch(readings))[LOG].counts == Counts(stored=1, duplicates=4)
    assert stored(sink.store) == as_rows(readings[:1])


def test_the_same_key_in_two_logs_of_one_transaction(sink: Sink) -> None:
    one = Reading("d", "m", T0, 1.0, None)
    outcomes = sink.write(
        readings_batch([replace(one, value=2.0)], log=OTHER), readings_batch([one], log=LOG)
    )
    assert outcomes[LOG].counts == Counts(stored=1)  # logs are written in their order
    assert outcomes[OTHER].counts == Counts(duplicates=1)
    assert stored(sink.store) == as_rows([one])


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


def test_two_sinks_with_the_same_batch_store_it_once(store: Database) -> None:
    sinks = [Sink(store) for _ in range(4)]
    sinks[0].position(LOG)
    readings = readings_of(10, 200)
    fates: list[Fate] = []
    threads = [
        threading.Thread(target=lambda s=s: fates.append(s.write(readings_batch(readings))[LOG].fate))
        for s in sinks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fate.name for fate in fates) == ["LOST", "LOST", "LOST", "STORED"]
    assert store.totals() == {"readings": (2000, 0, 0, 0)}
    for one in sinks:
        one.writer.close()


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


@pytest.mark.parametrize("repeats", [False, True], ids=["copy", "staging"])
def test_rows_the_database_refuses_are_found_and_the_others_stored(sink: Sink, repeats: bool) -> None:
    """A NUL in a fault's name, which no text of PostgreSQL has, and a rule of the user's own."""
    sink.store.query("ALTER TABLE readings ADD CONSTRAINT no_absolute_zero CHECK (value > -273.15)")
    readings = readings_of(4, 25)
    bad = {3: replace(readings[3], fault="a\0b"), 50: replace(readings[50], value=-300.0)}
    if repeats:
        sink.write(readings_batch(readings[-1:], log=OTHER))
    sent = [bad.get(i, reading) for i, reading in enumerate(readings)]
    outcome = sink.write(readings_batch(sent))[LOG]
    assert outcome.counts == Counts(stored=98 - repeats, duplicates=int(repeats), dead_letters=2)
    assert [letter.message.offset() for letter in sink.letters] == [3, 50]
    assert {letter.reason for letter in sink.letters} == {DeadLetterReason.REFUSED_BY_DATABASE}
    assert "no_absolute_zero" in sink.letters[1].detail
    assert stored(sink.store) == as_rows([r for i, r in enumerate(readings) if i not in bad])
    assert sink.position() == 100


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
def test_a_connection_lost_in_commit(store: Database, failures: list[str]) -> None:
    connect = connector(SecretStr(store.url))
    left = list(failures)
    sink = Sink(store, lambda: _Unlucky(connect(), left))
    with psycopg.connect(store.url) as connection:
        offsets.create(connection, GROUP, {LOG: 0})
    readings = readings_of(3, 10)
    outcome = sink.write(readings_batch([*readings, b"rubbish"]))[LOG]
    assert outcome == Outcome(Fate.STORED, Counts(stored=30, dead_letters=1))
    assert not left
    assert sink.writer.outages == len(failures)
    assert len(sink.letters) == 1
    assert store.totals() == {"readings": (30, 0, 0, 1)}
    sink.writer.close()


def test_a_connection_ended_by_the_administrator(sink: Sink) -> None:
    sink.position()
    sink.store.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sigmawatch-sink'"
    )
    assert sink.write(readings_batch(readings_of(1, 5)))[LOG].counts == Counts(stored=5)
    assert sink.writer.outages == 1
    assert not sink.writer.waiting


def test_waiting_ends_when_told_to_stop(store: Database) -> None:
    sink = Sink(store, connector(SecretStr("postgresql://nobody@127.0.0.1:1/none")))
    threading.Timer(0.3, sink.stop.set).start()
    with pytest.raises(StoppedError):
        sink.write(readings_batch(readings_of(1, 1)))
    with pytest.raises(OutageError):
        sink.writer.write([readings_batch(readings_of(1, 1))], patient=False)


def test_missing_tables_are_no_outage(sink: Sink) -> None:
    sink.store.query("DROP TABLE readings")
    with pytest.raises(DatabaseError, match="readings"):
        sink.write(readings_batch(readings_of(1, 1)))


def test_too_much_for_one_transaction_is_halved(sink: Sink) -> None:
    """A lock table that is too small for the chunks of a long history, played by a trigger."""
    sink.store.query(
        """CREATE FUNCTION too_much() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF (SELECT count(*) FROM new_rows) > 30 THEN RAISE SQLSTATE '53200'; END IF; RETURN NULL; END $$;
           CREATE TRIGGER too_much AFTER INSERT ON sigmawatch_rows REFERENCING NEW TABLE AS new_rows
             FOR EACH STATEMENT EXECUTE FUNCTION too_much()""".replace("sigmawatch_rows", "readings")
    )
    readings = readings_of(4, 25)
    sent: list[Any] = [*readings, b"rubbish", *readings[:4]]
    outcomes = sink.write(readings_batch(sent), readings_batch(readings_of(1, 3, start=90), log=OTHER))
    assert outcomes[LOG] == Outcome(Fate.STORED, Counts(stored=100, duplicates=4, dead_letters=1))
    assert outcomes[OTHER] == Outcome(Fate.STORED, Counts(stored=3))
    assert sink.position() == 105
    assert sink.store.totals() == {"readings": (103, 0, 4, 1)}


def anomalies_batch(anomalies: Sequence[Any], first: int = 0) -> LogBatch:
    messages = [
        Message(first + i, a if isinstance(a, bytes | None) else CODEC.encode_anomaly(a))
        for i, a in enumerate(anomalies)
    ]
    batch = MAKE["anomalies"](LogId("anomalies", "life-1", 0), first, messages)
    assert batch is not None
    return batch


def test_an_episode_is_one_row_that_only_goes_forward(sink: Sink) -> None:
    log = LogId("anomalies", "life-1", 0)
    sink.position(log)
    opened, cleared = anomaly(1), anomaly(1, AnomalyState.CLEARED, readings=9, score=12.0)

    def write(first: int, *what: Any) -> Counts:
        return sink.write(anomalies_batch(what, first))[log].counts

    assert write(0, opened) == Counts(stored=1)
    (first_row,) = sink.store.query("SELECT state, score, stored_at, cleared_at FROM anomalies")
    assert first_row[0] == "OPENED"
    assert write(1, opened) == Counts(duplicates=1)
    assert write(2, cleared) == Counts(updated=1)
    assert write(3, opened, cleared, replace(cleared, score=99.0)) == Counts(duplicates=3)
    assert write(6, anomaly(2), anomaly(2, AnomalyState.CLEARED, readings=2), anomaly(2)) == Counts(1, 1, 1)
    assert write(9, anomaly(3, AnomalyState.CLEARED), anomaly(3)) == Counts(stored=1, duplicates=1)
    assert write(11, None, b"rubbish", anomaly(4, opened_at=2**62)) == Counts(dead_letters=3)

    rows = sink.store.query("SELECT anomaly_id, state, score, readings, stored_at FROM anomalies ORDER BY 1")
    assert [row[:4] for row in rows] == [
        (UUID(int=1), "CLEARED", 12.0, 9),
        (UUID(int=2), "CLEARED", 9.5, 2),
        (UUID(int=3), "CLEARED", 9.5, 1),
    ]
    assert rows[0][4] == first_row[2]  # when it was first stored
    assert sink.store.totals()["anomalies"] == (3, 2, 6, 3)
    assert [letter.reason for letter in sink.letters] == [
        DeadLetterReason.NULL_VALUE,
        DeadLetterReason.TOO_SHORT if len(b"rubbish") < 5 else DeadLetterReason.BAD_MAGIC,
        DeadLetterReason.TIME_OUT_OF_BOUNDS,
    ]


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
    assert sink.writer.positions([LOG, LogId("x", "y", 1)]) == {LOG: 0}
    assert sink.writer.enter({LOG: 77, LogId("x", "y", 1): 5}) == {LOG: 0, LogId("x", "y", 1): 5}
    assert sink.writer.reset(LOG, 0, 40) == 40
    assert sink.writer.reset(LOG, 0, 50) == 40  # somebody else was faster
    with psycopg.connect(sink.store.url) as connection:
        assert offsets.read(connection, "another sink", [LOG]) == {}


def test_a_database_of_another_encoding(timescaledb_server) -> None:
    """Texts are UTF-8 in COPY; what the database's encoding lacks is the row's fault, not the stream's."""
    with new_database(timescaledb_server, "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0") as latin:
        with psycopg.connect(latin.url, autocommit=True) as connection:
            migrate(connection)
        sink = Sink(latin)
        sink.position()
        readings = [Reading("Küche", "m", T0, 1.0, None), Reading("厨房", "m", T0, 2.0, None)]
        assert sink.write(readings_batch(readings))[LOG].counts == Counts(stored=1, dead_letters=1)
        assert latin.query("SELECT device_id FROM readings") == [("Küche",)]
        sink.writer.close()
