"""The writer's SQL on every database that is here: every row once, every counter exact."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from schemas.dead_letters import DeadLetterReason
from schemas.readings import AnomalySeverity, AnomalyState, Reading
from sinks.logs import Counts, LogId
from sinks.timescale.writer import Fate, Outcome
from tests.support.sinks import T0, DatabaseServer, anomaly, new_database, readings_of
from tests.support.writing import LOG, OTHER, Sink, anomalies_batch, as_rows, readings_batch, sink_on, stored

pytestmark = pytest.mark.integration


@pytest.fixture
def sink(every_database_server: DatabaseServer) -> Iterator[Sink]:
    with new_database(every_database_server) as store, sink_on(store) as made:
        yield made


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


def test_the_same_key_in_two_logs_of_one_transaction(sink: Sink) -> None:
    one = Reading("d", "m", T0, 1.0, None)
    outcomes = sink.write(
        readings_batch([replace(one, value=2.0)], log=OTHER), readings_batch([one], log=LOG)
    )
    assert outcomes[LOG].counts == Counts(stored=1)  # logs are written in their order
    assert outcomes[OTHER].counts == Counts(duplicates=1)
    assert stored(sink.store) == as_rows([one])


def test_sinks_with_the_same_batch_store_it_once(sink: Sink) -> None:
    sinks = [Sink(sink.store) for _ in range(4)]
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
    assert sink.store.totals() == {"readings": (2000, 0, 0, 0)}
    for one in sinks:
        one.database.close()


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
        DeadLetterReason.BAD_MAGIC,
        DeadLetterReason.TIME_OUT_OF_BOUNDS,
    ]


def test_the_end_of_an_episode_says_it_better_and_its_beginning_undoes_nothing(sink: Sink) -> None:
    log = LogId("anomalies", "life-1", 0)
    sink.position(log)
    opened = anomaly(1, kind="spike", channel="spike", reason="40 is high", expected=20.5)
    storm = UUID(int=99)
    cleared = replace(
        anomaly(1, AnomalyState.CLEARED, readings=9),
        kind="level_shift",
        severity=AnomalySeverity.CRITICAL,
        channel="shift",
        expected=None,
        reason="40 since 14:13",
        storm_id=storm,
    )

    def write(first: int, *what: Any) -> Counts:
        return sink.write(anomalies_batch(what, first))[log].counts

    def rows() -> list[Any]:
        names = "kind, state, severity, channel, expected, reason, storm_id, readings"
        return sink.store.query(f"SELECT {names} FROM anomalies ORDER BY anomaly_id")

    assert write(0, opened) == Counts(stored=1)
    assert rows() == [("spike", "OPENED", "WARNING", "spike", 20.5, "40 is high", None, 1)]
    more = replace(opened, readings=4, storm_id=storm, reason="41 is high")
    assert write(1, more, opened) == Counts(updated=1, duplicates=1)
    assert rows() == [("spike", "OPENED", "WARNING", "spike", 20.5, "41 is high", storm, 4)]
    end = ("level_shift", "CLEARED", "CRITICAL", "shift", None, "40 since 14:13", storm, 9)
    assert write(3, replace(cleared, storm_id=None)) == Counts(updated=1)
    assert rows() == [end]  # out of a storm there is no way
    assert write(4, opened, more, replace(cleared, kind="drift", reason="")) == Counts(duplicates=3)
    other = {"anomaly_id": UUID(int=2)}
    late = [replace(one, **other) for one in (cleared, opened, more)]
    assert write(7, *late) == Counts(stored=1, duplicates=2)
    assert rows() == [end, end]


def test_a_database_of_another_encoding(real_database_server: DatabaseServer) -> None:
    """Texts are UTF-8 in COPY; what the database's encoding lacks is the row's fault, not the stream's."""
    options = "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    with new_database(real_database_server, options) as latin, sink_on(latin) as sink:
        readings = [Reading("Küche", "m", T0, 1.0, None), Reading("厨房", "m", T0, 2.0, None)]
        assert sink.write(readings_batch(readings))[LOG].counts == Counts(stored=1, dead_letters=1)
        assert latin.query("SELECT device_id FROM readings") == [("Küche",)]
