"""The answers' shapes, for the API's description, and what makes them of rows. The rows' own names are the fields' names."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from schemas.readings import Anomaly, Reading
from schemas.times import to_datetime
from sinks.api.fleet import FleetDevice
from sinks.queries.anomalies import AnomalyRow

_DEVICE = {"device_id": "oven-0042"}


def _believable(value: datetime) -> datetime:
    if not 1900 <= value.year <= 2999:
        raise ValueError("expected a year from 1900 to 2999")
    return value.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_believable)]
"""A time as clients write it: with a time zone."""


class AnomalyOut(BaseModel):
    """An episode: from the reading that opened it to the one that cleared it."""

    anomaly_id: UUID
    device_id: str
    metric: str
    kind: str = Field(description="What is wrong, named as a fault is: spike, drop, level_shift, drift, ...")
    state: Literal["OPENED", "CLEARED"]
    severity: Literal["INFO", "WARNING", "CRITICAL"]
    opened_at: datetime
    cleared_at: datetime | None = Field(description="null while it is open.")
    value: float | None = Field(description="The most deviating reading so far.")
    expected: float | None = Field(
        description="What was expected of it; null where no value is, as in a gap."
    )
    score: float | None
    mean: float | None
    std: float | None
    lower: float | None
    upper: float | None
    readings: int = Field(description="Flagged so far; of a storm, how many devices are in it.")
    channel: str = Field(description="Of the detector, that opened it.")
    reason: str = Field(description="Why, in words.")
    fault: str | None = Field(description="Ground truth, of simulated devices only.")
    storm_id: UUID | None
    detected_at: datetime
    stored_at: datetime | None = Field(description="null in a stream.")
    device_type: str | None
    device_name: str | None
    place: str | None
    unit: str | None


class AnomaliesOut(BaseModel):
    """A page of anomalies, the newest first."""

    anomalies: list[AnomalyOut]
    next: str | None = Field(description="Cursor of the page behind this one; null at the end.")


class ReadingOut(BaseModel):
    """A stored reading."""

    device_id: str
    metric: str
    time: datetime = Field(description="Event time.")
    value: float
    fault: str | None = Field(description="Ground truth of a simulated device: the fault that changed it.")


class ReadingsOut(BaseModel):
    """A page of readings."""

    readings: list[ReadingOut]
    next: str | None = Field(description="Cursor of the page behind this one; null at the end.")


class LatestOut(BaseModel):
    """The newest reading of a metric."""

    time: datetime
    value: float


class OpenOut(BaseModel):
    """Open anomalies of a device, by severity."""

    critical: int
    warning: int
    info: int


State = Literal["critical", "warning", "info", "silent", "unseen", "quiet"]


class DeviceOut(BaseModel):
    """A device as it is now; without a description the fields about it are empty."""

    device_id: str
    type: str
    name: str
    place: str | None
    state: State = Field(
        description="Its worst open anomaly; silent: nothing for five minutes; unseen: no reading ever; quiet: all well."
    )
    open: OpenOut
    last_seen: datetime | None = Field(description="Event time of its newest reading.")
    latest: dict[str, LatestOut] = Field(description="Metric -> its newest reading.")
    units: dict[str, str] = Field(description="Metric -> unit.")


class DeviceDetailOut(DeviceOut):
    """A device with all that is known of it."""

    latitude: float | None
    longitude: float | None
    timezone: str | None
    manufacturer: str
    model: str
    firmware: str
    serial_number: str
    attributes: dict[str, str]
    changed_at: datetime | None
    anomalies: list[AnomalyOut] = Field(description="The newest ones, 20 at most.")


class DevicesOut(BaseModel):
    """A page of devices, and counts of all that the question asks for, whatever their state."""

    devices: list[DeviceOut]
    next: str | None = Field(description="Cursor of the page behind this one; null at the end.")
    total: int
    states: dict[State, int]
    types: dict[str, int]
    places: dict[str, int]


class SeriesOut(BaseModel):
    """A series in the pixels of a diagram: columns of equal length, one entry a bucket that has readings."""

    device_id: str
    metric: str
    unit: str | None
    begin: datetime = Field(alias="from")
    end: datetime = Field(alias="to")
    bucket_seconds: float = Field(description="0: each entry is one reading, there were no more than pixels.")
    source: Literal["readings", "readings_by_minute", "readings_hourly"]
    time: list[datetime] = Field(description="Beginning of the bucket.")
    low: list[float]
    high: list[float]
    mean: list[float | None]
    count: list[int]
    labelled: list[int] = Field(
        description="Readings with an injected fault; 0 from rollups, which do not know."
    )
    expected: list[float | None] = Field(
        description="Middle of the expected band; null where the stretch has too little before it."
    )
    lower: list[float | None]
    upper: list[float | None]
    anomalies: list[AnomalyOut] = Field(description="Open at some time of the stretch; the newest 200.")


def device_out(found: FleetDevice) -> dict[str, Any]:
    """A device as `DeviceOut` describes it."""
    row = found.description
    return {
        "device_id": found.device_id,
        "type": row.type if row else "",
        "name": row.name if row else "",
        "place": row.place if row else None,
        "state": found.state,
        "open": {"critical": found.open.critical, "warning": found.open.warning, "info": found.open.info},
        "last_seen": found.last_seen,
        "latest": {metric: {"time": one.time, "value": one.value} for metric, one in found.latest.items()},
        "units": row.units if row else {},
    }


def detail_out(found: FleetDevice, anomalies: list[AnomalyRow]) -> dict[str, Any]:
    """A device as `DeviceDetailOut` describes it."""
    row = found.description
    more = ("latitude", "longitude", "timezone", "manufacturer", "model", "firmware", "serial_number")
    empty = {"latitude": None, "longitude": None, "timezone": None}
    return {
        **device_out(found),
        **{name: getattr(row, name) if row else empty.get(name, "") for name in more},
        "attributes": row.attributes if row else {},
        "changed_at": row.changed_at if row else None,
        "anomalies": anomalies,
    }


def anomaly_event(anomaly: Anomaly, described: FleetDevice | None) -> dict[str, Any]:
    """A message about an episode as `AnomalyOut` describes it, its times as text."""
    row = described.description if described else None
    return {
        "anomaly_id": str(anomaly.anomaly_id),
        "device_id": anomaly.device_id,
        "metric": anomaly.metric,
        "kind": anomaly.kind,
        "state": str(anomaly.state),
        "severity": str(anomaly.severity),
        "opened_at": iso(anomaly.opened_at),
        "cleared_at": None if anomaly.cleared_at is None else iso(anomaly.cleared_at),
        **{
            name: finite(getattr(anomaly, name))
            for name in ("value", "expected", "score", "mean", "std", "lower", "upper")
        },
        "readings": anomaly.readings,
        "channel": anomaly.channel,
        "reason": anomaly.reason,
        "fault": anomaly.fault,
        "storm_id": None if anomaly.storm_id is None else str(anomaly.storm_id),
        "detected_at": iso(anomaly.detected_at),
        "stored_at": None,
        "device_type": row.type if row else None,
        "device_name": row.name if row else None,
        "place": row.place if row else None,
        "unit": row.units.get(anomaly.metric) if row else None,
    }


def reading_event(reading: Reading) -> dict[str, Any]:
    """A reading as an event."""
    return {
        "device_id": reading.device_id,
        "metric": reading.metric,
        "time": iso(reading.time),
        "value": finite(reading.value),
        "fault": reading.fault,
    }


def finite(value: float | None) -> float | None:
    """The number, None for what JSON cannot say."""
    return value if value is not None and abs(value) < float("inf") else None


def iso(time_us: int) -> str | None:
    """An event time as text, None for one that no calendar has."""
    try:
        return to_datetime(time_us).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return None


EXAMPLE_ANOMALY = {
    **_DEVICE,
    "anomaly_id": "3f2c1f6e-58a4-5d0e-9f8e-5d1f0f6a7b1c",
    "metric": "temperature",
    "kind": "drift",
    "state": "OPENED",
    "severity": "WARNING",
    "opened_at": "2026-03-01T12:00:00Z",
    "cleared_at": None,
    "value": 231.4,
    "expected": 205.1,
    "score": 7.9,
    "mean": 205.1,
    "std": 3.3,
    "lower": 191.9,
    "upper": 218.3,
    "readings": 14,
    "channel": "shift",
    "reason": "temperature climbs away from 205.1 °C",
    "fault": None,
    "storm_id": None,
    "detected_at": "2026-03-01T12:00:00.120000Z",
    "stored_at": "2026-03-01T12:00:00.700000Z",
    "device_type": "oven",
    "device_name": "Oven 42",
    "place": "Denver",
    "unit": "°C",
}

EXAMPLE_READING = {
    **_DEVICE,
    "metric": "temperature",
    "time": "2026-03-01T12:03:20Z",
    "value": 231.4,
    "fault": None,
}

EXAMPLE_DEVICE = {
    **_DEVICE,
    "type": "oven",
    "name": "Oven 42",
    "place": "Denver",
    "state": "warning",
    "open": {"critical": 0, "warning": 1, "info": 0},
    "last_seen": "2026-03-01T12:03:20Z",
    "latest": {"temperature": {"time": "2026-03-01T12:03:20Z", "value": 231.4}},
    "units": {"temperature": "°C"},
}

EXAMPLE_SERIES = {
    **_DEVICE,
    "metric": "temperature",
    "unit": "°C",
    "from": "2026-03-01T12:00:00Z",
    "to": "2026-03-01T12:02:00Z",
    "bucket_seconds": 60,
    "source": "readings",
    "time": ["2026-03-01T12:00:00Z", "2026-03-01T12:01:00Z"],
    "low": [203.9, 204.2],
    "high": [206.3, 231.4],
    "mean": [205.0, 218.7],
    "count": [12, 12],
    "labelled": [0, 7],
    "expected": [None, 205.1],
    "lower": [None, 191.9],
    "upper": [None, 218.3],
    "anomalies": [EXAMPLE_ANOMALY],
}


def with_example(model: type[BaseModel], example: Any) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: its success, with an example."""
    return {200: {"model": model, "content": {"application/json": {"example": example}}}}
