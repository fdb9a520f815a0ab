"""Faults that come and go, in the program's log."""

from dataclasses import dataclass

import numpy as np
import structlog

from producers.simulation.device_fleet import DeviceFleet
from producers.simulation.program import FOREVER, NONE

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Active:
    """A fault that was told; `end_us` is when it is to end."""

    device_id: str
    fault: str
    end_us: int


class FaultLog:
    """Tells each fault that begins and ends, at level debug, with virtual times: a `Chore`.

    It looks between two pieces: none is missed where these are no longer than the fleet's interval.

    Args:
        fleet: runs.
    """

    def __init__(self, fleet: DeviceFleet) -> None:
        self._fleet = fleet
        self._active: dict[tuple[int, int, int], _Active] = {}

    def __call__(self, time_us: int) -> None:
        """Compare with the last look."""
        devices = self._fleet.population.devices
        slots = np.flatnonzero(devices["fault"] != NONE).tolist()
        now = {self._key(slot): slot for slot in slots}
        for key in sorted(self._active.keys() - now.keys()):
            ended = self._active.pop(key)
            at = _iso(min(ended.end_us, time_us))
            _log.debug("a fault ended", device_id=ended.device_id, fault=ended.fault, at=at)
        for key in sorted(now.keys() - self._active.keys()):
            self._active[key] = self._tell(now[key], time_us)

    def _key(self, slot: int) -> tuple[int, int, int]:
        device = self._fleet.population.devices[slot]
        return int(device["member"]), int(device["fault"]), int(device["fault_begin"])

    def _tell(self, slot: int, time_us: int) -> _Active:
        of = self._fleet.population
        device, fault = of.devices[slot], of.fault_name(slot)
        (view,) = of.views([int(device["member"])], time_us)
        begin, end = int(device["fault_begin"]), int(device["fault_end"])
        _log.debug(
            "a fault began",
            device_id=view.device.device_id,
            fault=fault,
            at=_iso(begin),
            readings=None if end == FOREVER else -((begin - end) // self._fleet.interval_us),
            intensity=round(abs(float(device["fault_amount"])), 3),
            values=view.values,
        )
        return _Active(view.device.device_id, fault, end)


def _iso(time_us: int) -> str:
    return f"{np.datetime64(time_us, 'us')}Z"
