"""Storms: many devices of one type or at one place with the same kind of anomaly at once, told once.

Each partition watches its own devices, by event time and nothing else, so that a replay tells the same storms. A storm's id is
made of its group, its kind and a coarse time, so that the partitions of one topic that see the same storm tell it
under one id, and whoever stores anomalies by id has it once.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid5

from processors.engine.telling import score
from schemas.readings import Anomaly, AnomalySeverity, AnomalyState

STORM_NAMESPACE = UUID("0d4a6c1e-9a53-5c0d-8a0f-5f1f8b7f3c21")
"""Namespace of storm ids. Never change it: a replay must find the storms it told before."""

_BUCKET_US = 600_000_000
"""Partitions see a storm begin some seconds apart: openings within the same ten minutes are one storm."""

KIND = "storm"
METRIC = "*"


@dataclass(frozen=True, slots=True)
class StormLimits:
    """When anomalies are a storm.

    Attributes:
        on: whether storms are told.
        window_us: event time within which the devices' anomalies open, µs.
        devices: how many of a group it takes at least.
        share: how many of the group's devices in the partition it takes at least.
        quiet_us: event time without a further device after which it is over, µs.
    """

    on: bool = True
    window_us: int = 120_000_000
    devices: int = 5
    share: float = 0.3
    quiet_us: int = 600_000_000


USUAL_STORMS = StormLimits()


@dataclass(slots=True)
class _Storm:
    anomaly: Anomaly
    devices: set[str]
    last_at: int


class StormWatch:
    """The storms of one partition. Not thread-safe; does no I/O."""

    def __init__(self, limits: StormLimits = USUAL_STORMS) -> None:
        self.limits = limits
        self._members: dict[str, set[str]] = defaultdict(set)
        self._recent: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        self._storms: dict[tuple[str, str], _Storm] = {}

    def know(self, device_id: str, groups: Iterable[str]) -> None:
        """A device of the partition belongs to these groups, as type:oven and place:Denver, and to no others."""
        wanted = set(groups)
        for group, members in self._members.items():
            if group not in wanted:
                members.discard(device_id)
        for group in wanted:
            self._members[group].add(device_id)

    def note(self, opened: Anomaly, groups: Iterable[str]) -> tuple[UUID | None, list[Anomaly]]:
        """Take an episode that opened.

        Returns:
            The storm that it belongs to, if any, and the storms that it opens.
        """
        if not self.limits.on:
            return None, []
        told: list[Anomaly] = []
        found: UUID | None = None
        for group in sorted(groups):
            key = (group, opened.kind)
            storm = self._storms.get(key)
            if storm is None:
                storm = self._begin(key, opened)
                if storm is None:
                    continue
                told.append(storm.anomaly)
            else:
                storm.devices.add(opened.device_id)
                storm.last_at = max(storm.last_at, opened.opened_at)
            found = found or storm.anomaly.anomaly_id
        return found, told

    def end(self, time: int) -> list[Anomaly]:
        """The storms that are over at an event time."""
        over = [key for key, storm in self._storms.items() if storm.last_at + self.limits.quiet_us <= time]
        return [self._cleared(self._storms.pop(key)) for key in sorted(over)]

    def _begin(self, key: tuple[str, str], opened: Anomaly) -> _Storm | None:
        recent = self._recent[key]
        recent[opened.device_id] = opened.opened_at
        since = opened.opened_at - self.limits.window_us
        for device in [device for device, at in recent.items() if at < since]:
            del recent[device]
        group, kind = key
        members = len(self._members[group])
        if len(recent) < max(self.limits.devices, self.limits.share * members):
            return None
        del self._recent[key]
        at = min(recent.values())
        name, _, which = group.partition(":")
        where = f"of type {which}" if name == "type" else f"at {which}"
        anomaly = replace(
            opened,
            anomaly_id=uuid5(
                STORM_NAMESPACE, json.dumps([group, kind, at // min(_BUCKET_US, self.limits.quiet_us)])
            ),
            device_id=group,
            metric=METRIC,
            kind=KIND,
            opened_at=at,
            value=float(len(recent)),
            score=score(len(recent) / max(self.limits.devices, self.limits.share * members)),
            mean=0.0,
            std=0.0,
            lower=0.0,
            upper=0.0,
            readings=len(recent),
            severity=AnomalySeverity.CRITICAL,
            channel=KIND,
            expected=None,
            reason=f"{len(recent)} of {members} devices {where} at once: {kind}",
        )
        storm = self._storms[key] = _Storm(anomaly, set(recent), max(recent.values()))
        return storm

    def _cleared(self, storm: _Storm) -> Anomaly:
        return replace(
            storm.anomaly,
            state=AnomalyState.CLEARED,
            cleared_at=storm.last_at + self.limits.quiet_us,
            readings=len(storm.devices),
            value=float(len(storm.devices)),
        )

    def dump(self) -> Any:
        """What a checkpoint keeps, as JSON has it; None where there is nothing."""
        if not self._storms and not self._recent:
            return None
        return {
            "recent": [[*key, devices] for key, devices in sorted(self._recent.items()) if devices],
            "storms": [
                [*key, _plain(storm.anomaly), sorted(storm.devices), storm.last_at]
                for key, storm in sorted(self._storms.items())
            ],
        }

    def load(self, kept: Any) -> None:
        """Go on from what `dump` gave.

        Raises:
            ValueError, TypeError, KeyError: it is none of ours.
        """
        self._recent.clear()
        self._storms.clear()
        for group, kind, devices in kept["recent"] if kept else ():
            self._recent[group, kind] = {str(device): int(at) for device, at in devices.items()}
        for group, kind, anomaly, devices, last_at in kept["storms"] if kept else ():
            self._storms[group, kind] = _Storm(_anomaly(anomaly), set(devices), int(last_at))


def _plain(anomaly: Anomaly) -> dict[str, Any]:
    return {
        "id": str(anomaly.anomaly_id),
        "group": anomaly.device_id,
        "opened_at": anomaly.opened_at,
        "detected_at": anomaly.detected_at,
        "readings": anomaly.readings,
        "score": anomaly.score,
        "fault": anomaly.fault,
        "reason": anomaly.reason,
    }


def _anomaly(plain: dict[str, Any]) -> Anomaly:
    return Anomaly(
        anomaly_id=UUID(plain["id"]),
        device_id=plain["group"],
        metric=METRIC,
        kind=KIND,
        state=AnomalyState.OPENED,
        opened_at=int(plain["opened_at"]),
        cleared_at=None,
        value=float(plain["readings"]),
        score=float(plain["score"]),
        mean=0.0,
        std=0.0,
        lower=0.0,
        upper=0.0,
        readings=int(plain["readings"]),
        fault=plain["fault"],
        detected_at=int(plain["detected_at"]),
        severity=AnomalySeverity.CRITICAL,
        channel=KIND,
        expected=None,
        reason=plain["reason"],
    )
