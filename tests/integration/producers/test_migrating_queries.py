"""The SQL of docs/migrating.md runs, and its views answer the questions of those who move here."""

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Json

from producers.devices.catalogue import load_catalogue
from producers.devices.fleet_spec import FleetSpec
from producers.simulation.device_fleet import DeviceFleet
from sinks.timescale.migrate import migrate
from tests.support.sinks import Database, DatabaseServer, new_database

pytestmark = pytest.mark.integration

GUIDE = (Path(__file__).parents[3] / "docs" / "migrating.md").read_text()
STATEMENTS = re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL)
VIEWS = [statement for statement in STATEMENTS if statement.startswith("CREATE VIEW")]
QUERIES = [statement for statement in STATEMENTS if not statement.startswith("CREATE VIEW")]
MINUTE_US = 60_000_000


@pytest.fixture(scope="module")
def store(running_databases: Callable[[str], DatabaseServer]) -> Iterator[Database]:
    """Two hours, up to now, of every type that the views are about, with the views."""
    with new_database(running_databases("postgresql")) as store:
        with psycopg.connect(store.url) as connection:
            migrate(connection)
        _fill(store)
        for view in VIEWS:
            store.query(view)
        yield store


def _fill(store: Database) -> None:
    types = ("oven", "heater", "lamp", "fan", "pm", "environmental", "environmental_vibration", "hvac")
    groups = [{"type": name, "count": 2, "faults": {"probability": 0.01}} for name in types]
    groups[5] |= {"cities": "Denver", "manufacturer": "SensorTech"}
    fleet = DeviceFleet(FleetSpec.model_validate({"groups": groups}), load_catalogue(), 1, MINUTE_US)
    ((now,),) = store.query("SELECT (extract(epoch FROM now()) * 1000000)::int8")
    batch, table = fleet.between(now - 120 * MINUTE_US, now), fleet.table
    with psycopg.connect(store.url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO readings VALUES (%s, %s, to_timestamp(%s / 1e6), %s, %s)",
            [
                (
                    table.device_ids[series],
                    table.metrics[series],
                    time,
                    value,
                    table.faults[fault] if fault >= 0 else None,
                )
                for series, time, value, fault in zip(
                    *(column.tolist() for column in (batch.series, batch.time, batch.value, batch.fault)),
                    strict=True,
                )
            ],
        )
        cursor.executemany(
            """INSERT INTO devices VALUES (%(device_id)s, %(type)s, %(name)s, %(place)s, %(latitude)s, %(longitude)s,
               %(timezone)s, %(manufacturer)s, %(model)s, %(firmware)s, %(serial_number)s, %(units)s, %(attributes)s)""",
            [_row(asdict(device)) for device in fleet.devices],
        )


def _row(device: dict[str, Any]) -> dict[str, Any]:
    where = device.pop("location") or {"name": None, "latitude": None, "longitude": None, "timezone": "UTC"}
    return {
        **device,
        **where,
        "name": device["name"],
        "place": where["name"],
        "units": Json(device["units"]),
        "attributes": Json(device["attributes"]),
    }


def test_the_guide_has_both_views() -> None:
    assert [re.search(r"VIEW (\w+)", view)[1] for view in VIEWS] == ["sensors_data", "sensor_data"]
    assert len(QUERIES) >= 5


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.split("\n")[0][:50])
def test_each_query_of_the_guide_runs(store: Database, query: str) -> None:
    rows = store.query(query)
    assert rows or "FROM anomalies" in query


def test_sensors_data_is_as_anomaly_watcher_had_it(store: Database) -> None:
    kinds = dict(
        store.query("SELECT category, array_agg(DISTINCT type ORDER BY type) FROM sensors_data GROUP BY 1")
    )
    assert kinds == {
        "oven": ["analog"],
        "heater": ["analog"],
        "lamp": ["digital"],
        "fan": ["analog", "digital"],
        "pm": ["serial"],
    }
    # Its key: one value of one sensor at one time.
    assert store.query('SELECT count(*) - count(DISTINCT (sensor_id, "timestamp")) FROM sensors_data') == [
        (0,)
    ]
    assert store.query("SELECT count(*) - count(DISTINCT id) FROM sensors_data") == [(0,)]
    places = {"restaurant", "supermarket", "factory"}
    assert {place for (place,) in store.query("SELECT DISTINCT location FROM sensors_data")} <= places
    ((unit, metadata),) = store.query(
        "SELECT unit, sensors_metadata::json FROM sensors_data WHERE category = 'pm' LIMIT 1"
    )
    assert unit == "µg/m³"
    assert metadata["firmware_version"]
    assert 35 <= float(metadata["battery_level"]) <= 100


@pytest.mark.parametrize(
    "query",
    [
        'SELECT * FROM sensors_data ORDER BY "timestamp" DESC LIMIT 10',
        """SELECT "timestamp", sensor_id, location, value, unit FROM sensors_data
           WHERE category = 'oven' AND value > 30 AND "timestamp" > NOW() - INTERVAL '1 day' ORDER BY 1 DESC""",
        """SELECT date_bin('15 minutes', "timestamp", TIMESTAMPTZ '2001-01-01') AS interval, sensor_id, location,
           AVG(value) AS avg_rpm, MAX(value) AS max_rpm, MIN(value) AS min_rpm FROM sensors_data
           WHERE category = 'fan' AND type = 'analog' GROUP BY 1, 2, 3 ORDER BY 1 DESC""",
        """SELECT "timestamp", sensor_id, category, location, value AS state,
           LAG(value) OVER (PARTITION BY sensor_id ORDER BY "timestamp") AS previous_state FROM sensors_data
           WHERE type = 'digital' AND "timestamp" > NOW() - INTERVAL '1 hour' ORDER BY 1 DESC""",
    ],
)
def test_questions_of_anomaly_watcher_are_answered(store: Database, query: str) -> None:
    assert store.query(query)


def test_sensor_data_is_as_sensor_log_generator_had_it(store: Database) -> None:
    ((rows, whole, flagged, typed),) = store.query(
        """SELECT count(*), count(*) FILTER (WHERE num_nonnulls(temperature, humidity, pressure, voltage) = 4),
           sum(anomaly_flag), count(anomaly_type) FROM sensor_data"""
    )
    assert rows == whole > 400
    assert flagged == typed > 0
    assert store.query("SELECT count(*) FROM sensor_data WHERE vibration IS NOT NULL") == [
        store.query("SELECT count(*) FROM readings WHERE metric = 'vibration'")[0]
    ]
    ((city, zone, maker, height),) = store.query(
        "SELECT DISTINCT location, timezone, manufacturer, height_meters > 0 FROM sensor_data WHERE location = 'Denver'"
    )
    assert (city, zone, maker, height) == ("Denver", "America/Denver", "SensorTech", True)
