"""A shipped scenario, run in virtual time, as columns that a test can ask."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from producers.devices.catalogue import load_catalogue
from producers.scenarios.files import load_scenario
from producers.scenarios.model import Scenario
from producers.scenarios.timeline import timeline_of
from producers.simulation.device_fleet import DeviceFleet
from schemas.testing import START_US

_BEGIN_US = START_US - START_US % 86_400_000_000
"""Midnight: what has a daily cycle is the same in every run."""


@dataclass(frozen=True)
class Story:
    """All readings of a scenario. Times are minutes after its beginning."""

    scenario: Scenario
    device: np.ndarray
    metric: np.ndarray
    minute: np.ndarray
    value: np.ndarray
    fault: np.ndarray
    devices: frozenset[str]

    @cached_property
    def _codes(self):
        """Names of the devices, and the number of each reading's."""
        return np.unique(self.device, return_inverse=True)

    def of(self, pattern="*", metric=None, begin=0.0, end=float("inf")):
        """Which readings are of such devices, and between two times."""
        names, codes = self._codes
        fits = np.array([fnmatchcase(name.casefold(), pattern.casefold()) for name in names], bool)
        found = fits[codes] & (self.minute >= begin) & (self.minute < end)
        return found if metric is None else found & (self.metric == metric)

    def faults(self, pattern="*", begin=0.0, end=float("inf"), metric=None):
        """Kinds of faults in such readings."""
        return set(self.fault[self.of(pattern, metric, begin, end)]) - {""}

    def episodes(self, pattern="*", begin=0.0, end=float("inf")):
        """How many faults began there, by the labels alone."""
        chosen = np.flatnonzero(self.of(pattern))
        device = self._codes[1][chosen]
        order = np.lexsort((self.minute[chosen], device))
        device, minute = device[order], self.minute[chosen][order]
        # Readings of a device at one time are one step.
        first = np.flatnonzero((np.diff(minute, prepend=-1.0) != 0) | (np.diff(device, prepend=-1) != 0))
        faulty = np.logical_or.reduceat(self.fault[chosen][order] != "", first)
        goes_on = np.concatenate([[False], faulty[:-1]]) & (np.diff(device[first], prepend=-1) == 0)
        began = minute[first][faulty & ~goes_on]
        return int(((began >= begin) & (began < end)).sum())


@cache
def told(name: str, seed: int = 1) -> Story:
    """The story of a scenario."""
    scenario = load_scenario(name)
    fleet = DeviceFleet(
        scenario.fleet,
        load_catalogue([Path(path) for path in scenario.fleet.types]),
        seed,
        round(scenario.interval * 1e6),
    )
    for at, command in timeline_of(scenario):
        fleet.schedule(_BEGIN_US + at, command)
    batch = fleet.between(_BEGIN_US, _BEGIN_US + round(scenario.duration * 1e6))
    table = fleet.table
    names, metrics = np.array(table.device_ids), np.array(table.metrics)
    labels = np.array([*table.faults, ""])
    return Story(
        scenario=scenario,
        device=names[batch.series],
        metric=metrics[batch.series],
        minute=(batch.time - _BEGIN_US) / 60e6,
        value=batch.value,
        fault=labels[batch.fault],
        devices=frozenset(device.device_id for device in fleet.devices),
    )
