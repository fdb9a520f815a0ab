"""What simulated devices say, in the JSON of iot-mock-service; pure.

Readings: {device_id, timestamp, power, voltage, current, energy, status, enabled, anomaly, anomaly_type?,
anomaly_duration_remaining?, anomaly_metrics?}: one message has all metrics that a device read at one time; devices of
other types have their own in the place of the four. `anomaly_metrics`, which is ours, names those that the fault
changed: with it a reader gets back exactly the readings that were simulated.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.batches import ReadingBatch, SeriesTable
from producers.control.views import iso
from producers.outputs.checks import require_finite
from producers.simulation.commands import DeviceView
from producers.simulation.program import FOREVER, NONE
from schemas.errors import ConfigError
from schemas.readings import Device

RESERVED = frozenset(
    {
        "device_id",
        "timestamp",
        "status",
        "enabled",
        "anomaly",
        "anomaly_type",
        "anomaly_duration_remaining",
        "anomaly_metrics",
    }
)
"""Fields of a message that no metric can be called."""

_as_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class DataMessage:
    """One device's readings of one time."""

    device_id: str
    payload: bytes
    readings: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command."""

    command: str
    success: bool
    message: str


class DataMessages:
    """Turns batches into messages.

    Args:
        table: names of the series and faults that the batches number; it may grow.
        interval_us: µs between two readings of a device.
    """

    def __init__(self, table: SeriesTable, interval_us: int) -> None:
        self._table = table
        self._interval_us = interval_us
        self._numbers: dict[str, int] = {}
        self._devices = np.empty(0, np.int64)

    def of(self, batch: ReadingBatch) -> Iterator[DataMessage]:
        """The messages of a batch, in its order, in which a device's readings of one time stand together.

        Args:
            batch: as the fleet made it.

        Raises:
            InputError: a value is no number.
        """
        if not len(batch):
            return
        require_finite(batch, self._table)
        device = self._device_of_series()[batch.series]
        new = (device[1:] != device[:-1]) | (batch.time[1:] != batch.time[:-1])
        starts = np.concatenate([[0], np.flatnonzero(new) + 1])
        stops = np.append(starts[1:], len(batch)).tolist()
        first = starts.tolist()
        left = self._readings_left(batch, starts).tolist()
        series, values, faults = batch.series.tolist(), batch.value.tolist(), batch.fault.tolist()
        metrics, ids = self._table.metrics, self._table.device_ids
        for number, (start, stop) in enumerate(zip(first, stops, strict=True)):
            names = [metrics[each] for each in series[start:stop]]
            device_id = ids[series[start]]
            fields: dict[str, Any] = {
                "device_id": device_id,
                "timestamp": iso(int(batch.time[start])),
                **dict(zip(names, values[start:stop], strict=True)),
                "status": "online",
                "enabled": True,
            }
            fields |= self._anomaly(names, faults[start:stop], left[number])
            yield DataMessage(device_id, _as_json(fields).encode(), stop - start)

    def _anomaly(self, names: list[str], faults: list[int], left: int) -> dict[str, Any]:
        fault = max(faults)
        if fault < 0:
            return {"anomaly": False}
        fields: dict[str, Any] = {"anomaly": True, "anomaly_type": self._table.faults[fault]}
        if left != NONE:
            fields["anomaly_duration_remaining"] = left
        changed = [name for name, label in zip(names, faults, strict=True) if label >= 0]
        return {**fields, "anomaly_metrics": changed}

    def _readings_left(self, batch: ReadingBatch, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """(messages,) readings that the fault of each will still have; NONE where it lasts until it is cleared."""
        if batch.fault_end is None:
            return np.full(len(starts), NONE)
        end, time = batch.fault_end[starts], batch.time[starts]
        left = np.maximum(-((time - end) // self._interval_us) - 1, 0)
        return np.where(end == FOREVER, NONE, left)

    def _device_of_series(self) -> NDArray[np.int64]:
        """(series,) a number for each device."""
        new = self._table.device_ids[len(self._devices) :]
        if new:
            numbers = [self._numbers.setdefault(device_id, len(self._numbers)) for device_id in new]
            self._devices = np.concatenate([self._devices, np.array(numbers, np.int64)])
        return self._devices


def require_publishable(devices: Sequence[Device]) -> None:
    """Refuse devices of which a metric has the name of another field.

    Raises:
        ConfigError: names one.
    """
    for device in devices:
        if taken := RESERVED & device.units.keys():
            raise ConfigError(
                f"{device.device_id}: the metric {min(taken)} cannot be published by MQTT, whose messages have "
                "another field of that name",
                "Call it something else in the device's type.",
            )


def status_fields(view: DeviceView, simulator: str) -> dict[str, Any]:
    """What a device's status says, but for the time and the answer to a command."""
    device = view.device
    return {
        "device_id": device.device_id,
        "status": "online" if view.online else "offline",
        "enabled": view.enabled,
        "name": device.name,
        "type": device.type,
        "location": device.location.name if device.location else "",
        "firmware": device.firmware,
        "parameters": view.parameters,
        "simulator": simulator,
    }


def status_payload(fields: Mapping[str, Any], time_us: int, answer: Answer | None = None) -> bytes:
    """A status as bytes; virtual time in µs."""
    device_id, rest = fields["device_id"], {name: fields[name] for name in fields if name != "device_id"}
    whole = {"device_id": device_id, "timestamp": iso(time_us), **rest}
    if answer is not None:
        whole["last_command"] = {
            "command": answer.command,
            "success": answer.success,
            "message": answer.message,
        }
    return _as_json(whole).encode()


def simulator_payload(client_id: str, *, online: bool) -> bytes:
    """What a simulator says of itself; offline is its last will too."""
    return _as_json({"simulator": client_id, "status": "online" if online else "offline"}).encode()
