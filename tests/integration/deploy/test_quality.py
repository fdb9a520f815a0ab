"""`quality` on a real database: faults out of labels, gaps against the readings, and the same figures as made by hand."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from deploy.cli.main import main
from deploy.quality.stored import run_quality
from sinks.timescale.migrate import migrate
from sinks.timescale.quality import devices_between, faults_between, silent
from tests.support.sinks import database

__all__ = ["database"]

pytestmark = [pytest.mark.integration, pytest.mark.most_real]

DAY, MINUTE = 86_400_000_000, 60_000_000
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
BEGIN_US = round(BEGIN.timestamp()) * 1_000_000
FROM, TO = "2026-01-05", "2026-01-08"


def moment(minutes):
    return BEGIN + timedelta(minutes=minutes)


@pytest.fixture
def store(database, monkeypatch):
    """Three days of two devices, a reading a minute, faults on the second day."""
    monkeypatch.setenv("SIGMAWATCH_DATABASE__URL", database.url)
    with psycopg.connect(database.url, autocommit=True) as connection:
        migrate(connection)
    return database


def put_readings(store, rows):
    """(minute, device, metric, fault)."""
    with (
        psycopg.connect(store.url, autocommit=True) as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY readings (device_id, metric, time, value, fault) FROM STDIN") as copy,
    ):
        for minute, device, metric, fault in rows:
            copy.write_row((device, metric, moment(minute), 1.0, fault))


def put_anomalies(store, rows):
    """(opened, cleared or None, device, metric, kind)."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        for opened, cleared, device, metric, kind in rows:
            connection.execute(
                """INSERT INTO anomalies (anomaly_id, device_id, metric, kind, state, opened_at, cleared_at, value, score,
                                          mean, std, lower, upper, readings, detected_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, 1, 5, 0, 1, -4, 4, 1, %s)""",
                (
                    uuid.uuid4(), device, metric, kind, "OPENED" if cleared is None else "CLEARED",
                    moment(opened), None if cleared is None else moment(cleared), moment(opened),
                ),
            )  # fmt: skip


def three_days(silence=range(0)):
    faults = {**dict.fromkeys(range(2000, 2061), "drift"), **dict.fromkeys(range(2400, 2411), "spike")}
    rows = []
    for minute in range(3 * 1440):
        if minute in silence:
            continue
        rows.append((minute, "oven", "temperature", faults.get(minute)))
        rows.append((minute, "oven", "power", None))
        rows.append((minute + 0.25, "fan", "speed", None))
    return rows


ANOMALIES = [
    (100, 130, "oven", "temperature", "spike"),  # in the warm-up
    (2030, 2040, "oven", "power", "spike"),
    (2035, 2060, "oven", "temperature", "drift"),
    (2500, 2510, "oven", "temperature", "spike"),
    (2600, None, "fan", "speed", "stuck"),
    (3000, 3100, "oven", "temperature", "missing_data"),
    (3040, 3100, "oven", "power", "missing_data"),
    (3200, 3260, "oven", "power", "missing_data"),
    (2001, 2002, "type:oven", "*", "storm"),
]


def quality(capsys, *arguments, code=0):
    assert main(["quality", *arguments]) == code
    shown = capsys.readouterr()
    return json.loads(shown.out) if "--json" in arguments and code == 0 else shown.out + shown.err


def test_the_figures(store, capsys):
    put_readings(store, three_days(silence=range(2990, 3100)))
    put_anomalies(store, ANOMALIES)
    said = quality(capsys, "--from", FROM, "--to", TO, "--json")
    assert said["by_fault"] == {
        "drift": {"events": 1, "recall": 1.0, "median_delay_s": 1800.0},
        "spike": {"events": 1, "recall": 0.0, "median_delay_s": None},
    }
    # The first episode of the drift's own metric is called one, the first of all is not.
    assert (said["recall"], said["kind_accuracy"]) == (0.5, 1.0)
    assert said["confusion"] == {"drift": {"drift": 1}}
    # Two of the drift and two silences that were; two about nothing and a silence that was none.
    assert said["alarms"] == {"total": 7, "true": 4, "false": 3}
    assert said["device_days"] == pytest.approx(4.0, abs=0.01)
    assert said["false_alarms_per_device_day"] == pytest.approx(0.75, abs=0.01)
    assert said["settings"] == {
        "from": "2026-01-05T00:00:00Z", "to": "2026-01-08T00:00:00Z", "devices": 2, "warming_devices": 0,
        "readings": 3 * (3 * 1440 - 110), "warm_up_s": 86400.0, "slack_s": 900.0, "slack_readings": 15,
    }  # fmt: skip


def test_a_stretch_in_the_middle_knows_what_was_before(store, capsys):
    put_readings(store, three_days())
    put_anomalies(store, ANOMALIES[:5])
    # It begins within the drift, which does not count then; what is raised about it is no false alarm.
    said = quality(capsys, "--from", "2026-01-06T09:25:00Z", "--to", TO, "--json")
    assert said["by_fault"] == {"spike": {"events": 1, "recall": 0.0, "median_delay_s": None}}
    assert said["alarms"] == {"total": 4, "true": 2, "false": 2}
    # The warm-up is the first day of all, not of the stretch.
    assert said["settings"]["warming_devices"] == 0
    early = quality(capsys, "--from", FROM, "--to", "2026-01-05T12:00:00Z", code=1)
    assert "no stored reading of this time says that it has a fault" in early
    assert "--since" in early


def test_people_read_it(store, capsys):
    put_readings(store, three_days())
    said = quality(capsys, "--from", FROM, "--to", TO, "--warm-up", "7d")
    assert "2026-01-05T00:00:00Z to 2026-01-08T00:00:00Z: 2 devices, 12,960 readings" in said
    assert "2 of 2 devices are in their warm-up" in said
    assert "4.0 device-days" in quality(capsys, "--from", FROM, "--to", TO)


def test_without_readings_or_tables_it_says_so(store, database, capsys):
    assert "no reading of this time is stored" in quality(capsys, code=1)
    assert "is not before" in quality(capsys, "--from", TO, "--to", FROM, code=2)
    store.query("DROP TABLE anomalies; DROP VIEW IF EXISTS readings_hourly; DROP TABLE readings CASCADE")
    assert "`sigmawatch db migrate`" in quality(capsys, code=1)


def test_labels_that_are_not_far_apart_are_one_fault(store):
    labelled = {10: "noise", 14: "noise", 20: "noise", 21: "spike", 22: "noise"}
    rows = [(minute, "d", metric, labelled.get(minute)) for minute in range(60) for metric in ("a", "b")]
    rows += [(minute, "e", "a", "noise" if minute == 12 else None) for minute in range(0, 600, 10)]
    put_readings(store, rows)
    with psycopg.connect(store.url, autocommit=True) as connection:
        devices = devices_between(connection, BEGIN_US, BEGIN_US + DAY)
        found = faults_between(
            connection, BEGIN_US, BEGIN_US + DAY, {"d": 4 * MINUTE, "e": MINUTE, "unknown": 0}
        )
    assert [(one.device_id, one.interval_us, one.readings) for one in devices] == [
        ("d", MINUTE, 120),
        ("e", 10 * MINUTE, 60),
    ]
    assert [
        (one.device_id, one.fault, (one.begin_us - BEGIN_US) // MINUTE, (one.end_us - BEGIN_US) // MINUTE)
        for one in found
    ] == [("d", "noise", 10, 14), ("d", "noise", 20, 22), ("d", "spike", 21, 21)]
    assert found[0].metrics == {"a", "b"}


def test_a_run_has_a_short_warm_up_of_its_own(store):
    put_readings(store, three_days())
    put_anomalies(store, ANOMALIES[:3])
    with psycopg.connect(store.url, autocommit=True) as connection:
        begin_us = BEGIN_US + 1990 * MINUTE
        found = run_quality(connection, begin_us, begin_us + DAY)
        none = run_quality(connection, BEGIN_US, BEGIN_US + 600 * MINUTE)
        nothing = run_quality(connection, 0, 1000)
        assert silent(connection, []) == []
    # The drift began within the first 60 readings.
    assert {name: fault.events for name, fault in found.quality.faults.items()} == {"spike": 1}
    assert found.rules.warmup_us == 60 * MINUTE
    assert (none, nothing) == (None, None)
