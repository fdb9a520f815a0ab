"""The fleet: devices, the newest reading of each series, open anomalies; cheap with many thousands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from sinks.queries.query import Query

_SELECT = """SELECT d.device_id, d.type, d.name, d.location AS place, d.latitude, d.longitude, d.timezone, d.manufacturer,
d.model, d.firmware, d.serial_number, d.units, d.attributes, d.changed_at FROM devices AS d"""

# The metrics of each device one after the other from the primary key, then of each its last row: no scan of readings. A time
# range lets chunks of another time be left out.
_LATEST = """
WITH RECURSIVE found AS (
    SELECT w.device_id, (SELECT r.metric FROM readings AS r WHERE r.device_id = w.device_id {since}
                         ORDER BY r.device_id, r.metric LIMIT 1) AS metric
    FROM unnest(%(devices)s::text[]) AS w(device_id)
    UNION ALL
    SELECT f.device_id, (SELECT r.metric FROM readings AS r
                         WHERE r.device_id = f.device_id AND r.metric > f.metric {since}
                         ORDER BY r.device_id, r.metric LIMIT 1)
    FROM found AS f WHERE f.metric IS NOT NULL
)
SELECT f.device_id, f.metric, l.time, l.value
FROM found AS f
CROSS JOIN LATERAL (
    SELECT r.time, r.value FROM readings AS r WHERE r.device_id = f.device_id AND r.metric = f.metric {since}
    ORDER BY r.time DESC LIMIT 1
) AS l
WHERE f.metric IS NOT NULL
ORDER BY f.device_id COLLATE "C", f.metric COLLATE "C"
"""

_OPEN = """
SELECT device_id, count(*) FILTER (WHERE severity = 'CRITICAL'), count(*) FILTER (WHERE severity = 'WARNING'),
       count(*) FILTER (WHERE severity = 'INFO')
FROM anomalies WHERE state = 'OPENED' AND kind <> 'storm' {devices} GROUP BY device_id
"""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device as its newest description says."""

    device_id: str
    type: str
    name: str
    place: str | None
    latitude: float | None
    longitude: float | None
    timezone: str | None
    manufacturer: str
    model: str
    firmware: str
    serial_number: str
    units: dict[str, str]
    attributes: dict[str, str]
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class LatestReading:
    """The newest reading of a series, by event time."""

    device_id: str
    metric: str
    time: datetime
    value: float


@dataclass(frozen=True, slots=True)
class OpenAnomalies:
    """How many of a device's episodes are open, by severity."""

    critical: int = 0
    warning: int = 0
    info: int = 0

    @property
    def worst(self) -> str | None:
        """The highest severity that is open."""
        if self.critical:
            return "CRITICAL"
        if self.warning:
            return "WARNING"
        return "INFO" if self.info else None


def all_devices(connection: psycopg.Connection) -> list[DeviceRow]:
    """Every described device, by id."""
    return _devices(connection, Query(f"{_SELECT} ORDER BY d.device_id"))


def device_of(connection: psycopg.Connection, device_id: str) -> DeviceRow | None:
    """A device by its id."""
    query = Query(f"{_SELECT} WHERE d.device_id = %(id)s", {"id": device_id})
    return next(iter(_devices(connection, query)), None)


def devices_version(connection: psycopg.Connection) -> tuple[int, datetime | None]:
    """(how many devices, when one last changed): another pair whenever descriptions changed."""
    ((count, changed),) = Query("SELECT count(*), max(changed_at) FROM devices").rows(connection)
    return int(count), changed


def latest_readings(
    connection: psycopg.Connection, device_ids: Sequence[str], since: datetime | None = None
) -> list[LatestReading]:
    """The newest reading of each series of some devices, by device and metric; from `since` on, where it is given."""
    query = Query(
        _LATEST.format(since="AND r.time >= %(since)s" if since else ""),
        {"devices": list(device_ids), "since": since},
    )
    return [LatestReading(*row) for row in query.rows(connection)]


def open_anomalies(
    connection: psycopg.Connection, device_ids: Sequence[str] | None = None
) -> dict[str, OpenAnomalies]:
    """Device -> its open episodes; of some devices, or of all. Devices without any are left out, and so are storms."""
    narrow = "" if device_ids is None else "AND device_id = ANY (%(devices)s)"
    query = Query(_OPEN.format(devices=narrow), {"devices": None if device_ids is None else list(device_ids)})
    return {device: OpenAnomalies(*counts) for device, *counts in query.rows(connection)}


def is_unknown(connection: psycopg.Connection, device_id: str) -> bool:
    """Whether nothing is stored of a device: neither a description nor readings nor anomalies."""
    query = """SELECT EXISTS (SELECT FROM devices WHERE device_id = %(id)s)
                   OR EXISTS (SELECT FROM readings WHERE device_id = %(id)s)
                   OR EXISTS (SELECT FROM anomalies WHERE device_id = %(id)s)"""
    ((known,),) = Query(query, {"id": device_id}).rows(connection)
    return not known


def _devices(connection: psycopg.Connection, query: Query) -> list[DeviceRow]:
    with connection.cursor(row_factory=class_row(DeviceRow)) as cursor:
        found: list[Any] = cursor.execute(query.text.encode(), query.parameters).fetchall()
    return found
