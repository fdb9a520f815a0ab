"""A database with a small plant in it, filled once for all tests that only read."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import psycopg
import pytest
from pydantic import SecretStr

from sinks.queries.connection import reader
from sinks.timescale.migrate import migrate
from tests.support.sinks import new_database

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
HOURS = 26
PLACES = ("Hall 1", "Hall 2")
HOSTILE = "<b>robert'); DROP TABLE readings;--</b> ☃ 100%_\\"


def fill(url: str) -> None:
    """Six devices with two metrics, a reading every 10 s for 26 h; 40 episodes, four of them open."""
    with psycopg.connect(url, autocommit=True) as connection:
        migrate(connection)
        devices = [f"oven-{n}" for n in range(5)] + [HOSTILE]
        for n, device_id in enumerate(devices):
            connection.execute(
                """INSERT INTO devices (device_id, type, name, location, manufacturer, model, firmware, serial_number,
                                        units, attributes)
                   VALUES (%s, %s, %s, %s, 'Maker', 'M1', '1.0', 'S', '{"temperature": "°C", "power": "kW"}', '{}')""",
                (device_id, "oven" if n < 4 else "pump", f"Name {n}", PLACES[n % 2]),
            )
        connection.execute(
            """INSERT INTO readings
               SELECT d, m, %(begin)s::timestamptz + i * interval '10 s', 20 + sin(i / 100.0) + (m = 'power')::int * 5,
                      CASE WHEN d = 'oven-1' AND i BETWEEN 100 AND 109 THEN 'spike' END
               FROM unnest(%(devices)s::text[]) AS d, unnest('{power,temperature}'::text[]) AS m,
                    generate_series(0, %(count)s - 1) AS i""",
            {"begin": BEGIN, "devices": devices, "count": HOURS * 360},
        )
        connection.execute(
            """INSERT INTO anomalies (anomaly_id, device_id, metric, kind, state, opened_at, cleared_at, value, score, mean,
                                      std, lower, upper, readings, fault, detected_at, severity, channel, expected, reason)
               SELECT ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, (%(devices)s::text[])[1 + i %% 6],
                      'temperature', (ARRAY['spike', 'drift'])[1 + i %% 2],
                      CASE WHEN i %% 10 = 0 THEN 'OPENED' ELSE 'CLEARED' END,
                      %(begin)s::timestamptz + (i / 2) * interval '1 hour',
                      CASE WHEN i %% 10 = 0 THEN NULL ELSE %(begin)s::timestamptz + (i / 2) * interval '1 hour' + interval '5 min' END,
                      40, 9.5, 20, 2, 12, 28, 3, NULL, %(begin)s::timestamptz + (i / 2) * interval '1 hour',
                      (ARRAY['INFO', 'WARNING', 'CRITICAL'])[1 + i %% 3], 'spike', 20, 'far from 20'
               FROM generate_series(0, 39) AS i""",
            {"begin": BEGIN, "devices": devices},
        )
        connection.execute("ANALYZE")


@pytest.fixture(scope="session")
def plant(every_database_server):
    """The filled database: `url`, `begin`, `end`."""
    with new_database(every_database_server) as database:
        fill(database.url)
        yield SimpleNamespace(url=database.url, begin=BEGIN, end=BEGIN + timedelta(hours=HOURS))


@pytest.fixture
def connection(plant):
    with reader(SecretStr(plant.url)) as opened:
        yield opened
