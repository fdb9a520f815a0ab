"""The three messages as objects: `Reading`, `Device`, `Anomaly`.

Times are event times: int microseconds since 1970-01-01 UTC. The objects say what a message means; that ids are
non-empty and values finite is judged where messages are read (`schemas.columns`).
"""

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one metric of one device at one time.

    Attributes:
        device_id: also the message's key.
        metric: with device_id it names the series.
        time: event time, µs since 1970 UTC.
        value: in the unit that the Device says.
        fault: kind of the injected fault (ground truth, simulated devices only).
    """

    device_id: str
    metric: str
    time: int
    value: float
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Where a device stands; degrees of WGS 84, and an IANA time zone."""

    name: str = ""
    latitude: float | None = None
    longitude: float | None = None
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Device:
    """What of a device does not change from reading to reading; `units` is metric -> unit."""

    device_id: str
    type: str
    name: str = ""
    location: Location | None = None
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    serial_number: str = ""
    units: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)


class AnomalyState(StrEnum):
    """Where an episode stands."""

    OPENED = "OPENED"
    CLEARED = "CLEARED"


class AnomalySeverity(StrEnum):
    """How bad an episode is, from the least to the most."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A step in the life of an episode of one series.

    A storm, many devices at once, is one as well: device_id is "type:oven" or "place:Denver", metric "*",
    kind "storm", readings the number of devices.

    Attributes:
        anomaly_id: the episode; the same reading always opens the same id.
        device_id: also the message's key.
        metric: with device_id it names the series.
        kind: what is wrong, named as a fault is: spike, drop, level_shift, drift, ...; CLEARED may say it better
            than OPENED did, for the whole episode is known then.
        state: OPENED, later CLEARED.
        opened_at: time of the reading that opened the episode, µs.
        cleared_at: time of the reading that ended it, µs; None while OPENED.
        value, score, mean, std, lower, upper: of the most deviating reading so far; score is its distance
            from the mean in std, lower and upper the bounds it broke.
        readings: flagged so far.
        fault: fault of the reading that opened the episode, where it is known.
        detected_at: Kafka timestamp of the record that opened the episode, µs; never the wall clock, so that a
            replay gives the same bytes.
        severity: how bad it is.
        channel: of the detector, that opened the episode: spike, jump, pattern, range, shift, energy, stuck, gap,
            flicker, dwell, invalid, model, storm; empty where it is not known.
        expected: value that was expected of the most deviating reading; None where no value is, as in a gap.
        reason: why, in words, for people.
        storm_id: anomaly_id of the storm that the episode belongs to.
    """

    anomaly_id: UUID
    device_id: str
    metric: str
    kind: str
    state: AnomalyState
    opened_at: int
    cleared_at: int | None
    value: float
    score: float
    mean: float
    std: float
    lower: float
    upper: float
    readings: int
    fault: str | None
    detected_at: int
    severity: AnomalySeverity = AnomalySeverity.WARNING
    channel: str = ""
    expected: float | None = None
    reason: str = ""
    storm_id: UUID | None = None
