"""The SQL of docs/queries.md runs on every strength of database, finds what is there, and says what is true."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sinks.timescale.maintain import maintain
from sinks.timescale.migrate import migrate
from sinks.timescale.policies import Ages
from tests.support.sinks import DatabaseServer, new_database

pytestmark = pytest.mark.integration

GUIDE = (Path(__file__).parents[3] / "docs" / "queries.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"\n([^\n]+)\n\n```sql\n(.*?)```", GUIDE, re.DOTALL)

_FILL = """
INSERT INTO devices (device_id, type, name, location, timezone, manufacturer, model, firmware, serial_number, units, attributes)
VALUES
    ('oven-1', 'oven', 'Oven', 'Denver', 'America/Denver', 'Omega', '', '', '', '{"temperature": "°C"}', '{"place": "factory"}'),
    ('oven-2', 'oven', 'Oven', NULL, NULL, 'ThermoWorks', '', '', '', '{"temperature": "°C"}', '{"place": "factory"}'),
    ('fan-1', 'fan', 'Fan', NULL, NULL, 'Omega', '', '', '', '{"speed": "rpm", "state": ""}', '{"place": "restaurant"}'),
    ('gone-1', 'fan', 'Fan', NULL, NULL, 'Omega', '', '', '', '{"speed": "rpm"}', '{}');
-- Three quarters of the first device's minutes, for ten days; an hour is missing, one in a hundred is faulty.
INSERT INTO readings
SELECT 'oven-1', 'temperature', now() - i * INTERVAL '1 minute', 180 + i % 7 + CASE WHEN i % 100 = 0 THEN 200 ELSE 0 END,
       CASE WHEN i % 100 = 0 THEN 'spike' END
FROM generate_series(0, 14400) AS i WHERE i % 4 <> 1 AND i NOT BETWEEN 3000 AND 3060;
INSERT INTO readings
SELECT 'fan-1', metric, now() - i * INTERVAL '1 minute', CASE metric WHEN 'speed' THEN 500 + i % 9 ELSE i / 10 % 2 END
FROM generate_series(0, 3000) AS i, unnest(ARRAY['speed', 'state']) AS metric;
INSERT INTO readings VALUES ('gone-1', 'speed', now() - INTERVAL '9 days', 400);
INSERT INTO anomalies (anomaly_id, device_id, metric, kind, state, opened_at, cleared_at, value, score, mean, std, lower, upper,
                       readings, detected_at, severity, storm_id)
VALUES
    ('00000000-0000-0000-0000-000000000001', 'oven-1', 'temperature', 'spike', 'CLEARED', now() - INTERVAL '1 h 39 min',
     now() - INTERVAL '1 h', 380, 9, 180, 2, 170, 190, 1, now(), 'CRITICAL', '00000000-0000-0000-0000-000000000009'),
    ('00000000-0000-0000-0000-000000000002', 'fan-1', 'speed', 'missing_data', 'OPENED', now() - INTERVAL '3 h', NULL,
     0, 0, 0, 0, 0, 0, 0, now(), 'WARNING', NULL),
    ('00000000-0000-0000-0000-000000000009', '', '', 'storm', 'CLEARED', now() - INTERVAL '2 h', now() - INTERVAL '1 h',
     0, 0, 0, 0, 0, 0, 5, now(), 'CRITICAL', NULL);
INSERT INTO sink_offset (sink, topic, topic_id, partition, next_offset) VALUES ('sink', 'readings', 'id', 0, 10);
"""


@pytest.fixture(scope="module", params=["plain", "real"])
def connection(
    request: pytest.FixtureRequest,
    running_databases: Callable[[str], DatabaseServer],
    real_database_server: DatabaseServer,
) -> Iterator[psycopg.Connection]:
    """With rollups kept, on plain PostgreSQL and on the most real server."""
    server = running_databases("postgresql") if request.param == "plain" else real_database_server
    with new_database(server) as store, psycopg.connect(store.url, autocommit=True) as link:
        migrate(link)
        with link.transaction():  # one `now` for all
            link.execute(_FILL.encode())
        maintain(link, Ages())
        yield link


@pytest.fixture
def ask(connection: psycopg.Connection) -> Callable[[str], list[tuple[Any, ...]]]:
    """The rows of the query whose introduction begins so."""

    def rows(beginning: str) -> list[tuple[Any, ...]]:
        (query,) = [text for introduction, text in QUERIES if introduction.startswith(beginning)]
        return connection.execute(query.encode()).fetchall()

    return rows


@pytest.mark.parametrize(
    "query", [pytest.param(text, id=introduction[:40]) for introduction, text in QUERIES]
)
def test_each_runs_and_finds_something(connection: psycopg.Connection, query: str) -> None:
    assert connection.execute(query.encode()).fetchall()


def test_none_is_left_out() -> None:
    assert len(QUERIES) == GUIDE.count("```sql") > 25


def test_the_hours_are_those_of_the_readings(ask: Callable[[str], list[tuple[Any, ...]]]) -> None:
    kept, computed = ask("Average oven temperature"), ask("The same from the readings themselves")
    # Of the hour in which the seven days begin, only the readings have a part.
    assert kept == [row for row in computed if row[0] >= kept[0][0]]
    assert len(kept) > 160
    assert {device for _, device, _ in kept} == {"oven-1"}


def test_what_the_answers_say(ask: Callable[[str], list[tuple[Any, ...]]]) -> None:
    assert {(row[0], row[3]) for row in ask("The newest value of every series")} == {
        ("oven-1", "temperature")
    }
    assert [row[0] for row in ask("Who has been silent")] == ["oven-2", "gone-1"]
    assert {row[1:5] for row in ask("Ovens that run too hot")} == {
        ("oven-1", "factory", row[3], "°C") for row in ask("Ovens that run too hot")
    }
    rates = {row[0]: row[2] for row in ask("Anomaly rate by manufacturer")}
    assert set(rates) == {"Omega"}
    assert rates["Omega"] > 90
    assert [row[0] for row in ask("Types of anomalies")] == ["spike"]
    assert [row[2] for row in ask("Open now")] == ["fan-1"]
    assert [row[2:4] for row in ask("Storms")] == [(5, 1)]
    assert ask("Hours in which a device was silent")[0][0] == "fan-1"
    assert sum(float(row[2]) for row in ask("Hours in which a device was silent")) == pytest.approx(
        3, abs=0.2
    )
    gap = ask("The gaps themselves")[0][2]
    assert 61 <= gap.total_seconds() / 60 <= 64
    assert ask("The share of time")[0][0] == "fan-1"
    assert 45 < ask("The share of time")[0][1] < 55
    changes = ask("State changes")
    assert len(changes) in {6, 7}
    assert changes[-1][5] is None


def test_days_out_of_hours_are_those_of_the_readings(
    connection: psycopg.Connection, ask: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    given = connection.execute(
        """SELECT device_id, metric, date_trunc('day', time, 'UTC') AS day, count(*), avg(value), stddev_samp(value),
                  min(value), max(value)
           FROM readings GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
    ).fetchall()
    found = ask("Days out of hours")
    assert [row[:4] for row in found] == [row[:4] for row in given]
    for one, other in zip(found, given, strict=True):
        assert one[4] == pytest.approx(other[4])
        assert one[5] == (None if other[5] is None else pytest.approx(other[5], rel=1e-6))
        assert one[6:] == other[6:]
