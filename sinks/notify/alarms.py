"""What notifications know of an anomaly: its own fields, and those of its device."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any, Self

from schemas.readings import Anomaly, AnomalySeverity, AnomalyState

STORM = "storm"
"""Kind of an anomaly that stands for many devices; its device_id is type:NAME or place:NAME."""

RANKS = {AnomalySeverity.INFO: 0, AnomalySeverity.WARNING: 1, AnomalySeverity.CRITICAL: 2}
"""Severities by how bad they are."""

_LONGEST_TEXT = 300
"""Characters of a name that a notification repeats: longer ones are nobody's wish."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What routes and texts use of a device; empty where it is not known."""

    type: str = ""
    name: str = ""
    place: str = ""
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alarm:
    """An episode as it is told; times in µs since 1970 UTC, values None where there is none or it is not finite."""

    anomaly_id: str
    device_id: str
    metric: str
    kind: str
    severity: AnomalySeverity
    opened_at: int
    detected_at: int
    cleared_at: int | None = None
    value: float | None = None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    readings: int = 0
    reason: str = ""
    storm_id: str | None = None
    type: str = ""
    name: str = ""
    place: str = ""
    unit: str = ""

    @property
    def is_storm(self) -> bool:
        """Whether it stands for many devices."""
        return self.kind == STORM

    @property
    def is_critical(self) -> bool:
        """Whether it is of the worst kind."""
        return self.severity is AnomalySeverity.CRITICAL

    @property
    def known_at(self) -> int:
        """The earlier of event time and detection, which its age is reckoned from."""
        return min(self.opened_at, self.detected_at)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, without what is empty."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in found.items() if value not in (None, "")}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        return cls(**{**plain, "severity": AnomalySeverity(plain["severity"])})

    def cleared(self, by: "Alarm") -> "Alarm":
        """The episode when it is over: what the last message says, with what is known of the device."""
        known = {name: getattr(by, name) or getattr(self, name) for name in ("type", "name", "place", "unit")}
        return replace(
            by,
            opened_at=self.opened_at,
            detected_at=self.detected_at,
            storm_id=by.storm_id or self.storm_id,  # only OPENED says it
            **known,
        )


@dataclass(frozen=True, slots=True)
class Event:
    """A message on its way into the decision."""

    state: AnomalyState
    alarm: Alarm


def event_of(anomaly: Anomaly, device: DeviceFacts) -> Event:
    """What a message says, with what is known of its device."""
    storm = anomaly.kind == STORM
    group, _, which = anomaly.device_id.partition(":")
    cleared = anomaly.state is AnomalyState.CLEARED
    alarm = Alarm(
        anomaly_id=str(anomaly.anomaly_id),
        device_id=clean(anomaly.device_id),
        metric=clean(anomaly.metric),
        kind=clean(anomaly.kind),
        severity=anomaly.severity,
        opened_at=anomaly.opened_at,
        detected_at=anomaly.detected_at,
        cleared_at=(anomaly.cleared_at or anomaly.opened_at) if cleared else None,
        value=_finite(anomaly.value),
        expected=_finite(anomaly.expected),
        lower=_finite(anomaly.lower),
        upper=_finite(anomaly.upper),
        readings=anomaly.readings,
        reason=clean(anomaly.reason),
        storm_id=None if anomaly.storm_id is None else str(anomaly.storm_id),
        type=clean(which if storm and group == "type" else device.type),
        name=clean(device.name),
        place=clean(which if storm and group == "place" else device.place),
        unit=clean(device.units.get(anomaly.metric, "")),
    )
    return Event(anomaly.state, alarm)


def clean(text: str) -> str:
    """A text on one line, without control characters and of a bearable length: it goes into headers and databases."""
    whole = text.encode(errors="replace").decode()
    plain = "".join(character if character.isprintable() else " " for character in whole).strip()
    return plain if len(plain) <= _LONGEST_TEXT else plain[: _LONGEST_TEXT - 1] + "…"


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
