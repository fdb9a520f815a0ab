"""The faults that there were, out of the readings themselves: runs of labels, and silences. Pure.

Labels alone would not do: a fault that keeps a device silent has no reading that could say so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deploy.quality.model import MISSING_DATA, FaultEvent, Watched

MERGED_INTERVALS = 4.5
"""Labelled readings no further apart are of one fault: up to three between them may lack the label."""
SILENT_INTERVALS = 1.5
"""A longer time without any reading of a device is a silence."""

Ints = NDArray[np.int64]


class Names(Protocol):
    """What the numbers in a batch mean; `producers.batches.SeriesTable` is one."""

    device_ids: list[str]
    metrics: list[str]
    faults: list[str]


class Labelled(Protocol):
    """n readings by time; `producers.batches.ReadingBatch` is one."""

    @property
    def series(self) -> Ints:
        """(n,) series numbers."""

    @property
    def time(self) -> Ints:
        """(n,) event times, µs."""

    @property
    def fault(self) -> Ints:
        """(n,) fault numbers, -1 for none."""


@dataclass(frozen=True, slots=True)
class _Labels:
    """Rows with a fault: devices are numbers, series and faults as in the batch."""

    device: Ints
    fault: Ints
    time: Ints
    series: Ints


class Truth:
    """Collects the faults of a fleet as its readings go by; keeps only what is labelled, and silences.

    Args:
        names: of series and faults; may grow.
        interval_us: between two readings of a device.
    """

    def __init__(self, names: Names, interval_us: int) -> None:
        self._names = names
        self._interval_us = interval_us
        self._numbers: dict[str, int] = {}
        self._ids: list[str] = []
        self._device_of = np.empty(0, np.int64)
        self._first = np.empty(0, np.int64)
        self._last = np.empty(0, np.int64)
        self._labels: list[_Labels] = []
        self._silences: list[FaultEvent] = []

    def add(self, batch: Labelled) -> None:
        """Take the next readings."""
        if not len(batch.time):
            return
        self._learn_series()
        device = self._device_of[batch.series]
        labelled = np.flatnonzero(batch.fault >= 0)
        self._labels.append(
            _Labels(device[labelled], batch.fault[labelled], batch.time[labelled], batch.series[labelled])
        )
        self._listen(device, batch.time)

    def _learn_series(self) -> None:
        new = self._names.device_ids[len(self._device_of) :]
        if not new:
            return
        numbers = [self._numbers.setdefault(device_id, len(self._numbers)) for device_id in new]
        self._ids = list(self._numbers)
        self._device_of = np.append(self._device_of, np.array(numbers, np.int64))
        unseen = np.full(len(self._numbers) - len(self._first), -1, np.int64)
        self._first, self._last = np.append(self._first, unseen), np.append(self._last, unseen)

    def _listen(self, device: Ints, time: Ints) -> None:
        """Note silences that end in these readings, and first and last readings."""
        order = np.lexsort((time, device))
        device, time = device[order], time[order]
        begins = np.ones(len(device), np.bool_)
        begins[1:] = device[1:] != device[:-1]
        before = np.empty_like(time)
        before[1:] = time[:-1]
        before[begins] = self._last[device[begins]]
        fresh = begins & (before < 0)
        self._first[device[fresh]] = time[fresh]
        before[fresh] = time[fresh]
        for row in np.flatnonzero(time - before > SILENT_INTERVALS * self._interval_us):
            silent = self._ids[device[row]]
            self._silences.append(FaultEvent(silent, MISSING_DATA, int(before[row]), int(time[row])))
        self._last[device] = time  # of several rows of a device the last one stays: they are by time

    def watched(self, until_us: int) -> list[Watched]:
        """The devices that had a reading, watched from their first one to `until_us`."""
        return [
            Watched(
                device_id, int(self._first[number]), int(self._first[number]), until_us, self._interval_us
            )
            for device_id, number in self._numbers.items()
            if self._first[number] >= 0
        ]

    def events(self, until_us: int) -> list[FaultEvent]:
        """The faults, by device and time; a silence that has not ended ends at `until_us`."""
        found = [*self._silences, *self._label_runs()]
        for device_id, number in self._numbers.items():
            last = int(self._last[number])
            if last >= 0 and until_us - last > SILENT_INTERVALS * self._interval_us:
                found.append(FaultEvent(device_id, MISSING_DATA, last, until_us))
        return sorted(found, key=lambda event: (event.device_id, event.begin_us, event.fault))

    def _label_runs(self) -> Iterator[FaultEvent]:
        if not self._labels:
            return
        device = np.concatenate([some.device for some in self._labels])
        fault = np.concatenate([some.fault for some in self._labels])
        time = np.concatenate([some.time for some in self._labels])
        series = np.concatenate([some.series for some in self._labels])
        order = np.lexsort((time, fault, device))
        for rows in runs(device[order], fault[order], time[order], MERGED_INTERVALS * self._interval_us):
            own = order[rows]
            yield FaultEvent(
                self._ids[device[own[0]]],
                self._names.faults[fault[own[0]]],
                int(time[own[0]]),
                int(time[own[-1]]),
                self._metrics(series[own]),
            )

    def _metrics(self, series: Ints) -> frozenset[str]:
        return frozenset(self._names.metrics[number] for number in np.unique(series))


def runs(device: Ints, fault: Ints, time: Ints, merge_us: float) -> Sequence[slice]:
    """Rows of one device and fault that are no further apart than `merge_us`.

    Args:
        device, fault, time: (n,) columns, sorted by device, fault, time.
        merge_us: µs.
    """
    if not len(time):
        return []
    breaks = (np.diff(device) != 0) | (np.diff(fault) != 0) | (np.diff(time) > merge_us)
    cuts = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(time)]
    return [slice(begin, end) for begin, end in pairwise(cuts)]
