"""The engine of one partition: readings in, anomalies out, and the states that changed on the way."""

import json
from collections import Counter
from dataclasses import dataclass
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from processors.engine.batch import ReadingBatch
from processors.engine.engine_kernel import CLEARED, NOTHING, apply_readings, window_moments
from processors.engine.series_index import SeriesIndex, SeriesName
from processors.engine.settings import DeviationSettings
from processors.engine.states import NEVER, SeriesColumns, grown, new_columns
from schemas.columns import ReadingColumns
from schemas.dead_letters import DeadLetterReason
from schemas.readings import Anomaly, AnomalyState

KIND = "deviation"

ANOMALY_NAMESPACE = UUID("5f0c3c5e-6f0b-5f0e-9d0b-51a7c2d3e4f5")
"""Namespace of anomaly ids. Never change it: a replay must find the anomalies it made before."""


def anomaly_id(name: SeriesName, kind: str, opened_at: int) -> UUID:
    """Id of an episode, from what opened it: the same reading makes the same id, whoever processes it."""
    return uuid5(ANOMALY_NAMESPACE, json.dumps([name.device_id, name.metric, kind, opened_at]))


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that is no reading: its row in the batch, and why."""

    row: int
    reason: DeadLetterReason


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch gave: anomalies in the order of the readings that caused them, and what goes to the DLQ."""

    anomalies: list[Anomaly]
    rejected: list[Rejected]


@dataclass(frozen=True, slots=True)
class SeriesView:
    """A series as people see it."""

    device_id: str
    metric: str
    state: str
    readings: int
    late: int
    repeated: int
    episodes: int
    last_time: int | None
    last_value: float | None
    window_readings: int
    mean: float | None
    std: float | None
    open_anomaly: Anomaly | None


class PartitionEngine:
    """Series of one partition, their states as columns. Not thread-safe; does no I/O.

    `changed` marks the series touched since `clear_changed`; a checkpoint writes those.
    """

    def __init__(self, settings: DeviationSettings) -> None:
        self.settings = settings
        self.index = SeriesIndex()
        self.columns: SeriesColumns = new_columns(0, settings.panes)
        self.open_faults: dict[int, str] = {}
        self._changed = np.zeros(0, np.bool_)

    def __len__(self) -> int:
        return len(self.index)

    def apply(self, batch: ReadingBatch) -> Applied:
        """Apply a batch. Readings that a series has had already (by offset) change nothing."""
        readings = batch.readings
        n = len(readings)
        rows = np.flatnonzero(readings.status == DeadLetterReason.OK)
        series = self.index.numbers(readings, rows)
        self._reserve(len(self.index))
        outcome, event_kind = np.zeros(n, np.uint8), np.full(n, NOTHING, np.uint8)
        event_times, event_numbers = np.empty((n, 4), np.int64), np.empty((n, 6), np.float64)
        settings = self.settings
        apply_readings(
            self.columns,
            series,
            readings.time,
            readings.value,
            batch.offsets,
            batch.timestamps_ms,
            rows,
            settings.pane_us,
            settings.k,
            settings.minimum_readings,
            int(settings.sides),
            outcome,
            event_kind,
            event_times,
            event_numbers,
            self._changed,
        )
        anomalies = [
            self._event(
                readings, int(row), int(series[row]), event_kind[row] == CLEARED, event_times, event_numbers
            )
            for row in np.flatnonzero(event_kind != NOTHING)
        ]
        return Applied(
            anomalies,
            [
                Rejected(int(row), DeadLetterReason(readings.status[row]))
                for row in np.flatnonzero(readings.status != DeadLetterReason.OK)
            ],
        )

    def changed(self) -> NDArray[np.int64]:
        """Numbers of the series touched since `clear_changed`, ascending."""
        return np.flatnonzero(self._changed)

    def clear_changed(self) -> None:
        """Say that the states of all changed series are kept elsewhere now."""
        self._changed[:] = False

    def restore(self, name: SeriesName, row: SeriesColumns, fault: str | None) -> None:
        """Take over a series' state, `row` being columns of one series, unless a newer one is here."""
        number = self.index.number(name)
        self._reserve(len(self.index))
        if row.last_offset[0] <= self.columns.last_offset[number]:
            return
        for column, one in zip(self.columns, row, strict=True):
            column[number] = one[0]
        self.open_faults.pop(number, None)
        if fault is not None:
            self.open_faults[number] = fault

    def counts(self) -> Counter[str]:
        """Cumulative counts over all series, exact across crashes: readings, late, repeated, episodes.

        Also how many series are `warming`, `watched` and have an `open` episode.
        """
        size, columns = len(self.index), self.columns
        counts = Counter(
            {
                name: int(getattr(columns, name)[:size].sum())
                for name in ("readings", "late", "repeated", "episodes")
            }
        )
        watched = int((columns.pane_count[:size].sum(axis=1) >= self.settings.minimum_readings).sum())
        counts.update(series=size, watched=watched, warming=size - watched)
        counts["open"] = int((columns.opened_at[:size] != NEVER).sum())
        return counts

    def view(self, name: SeriesName) -> SeriesView | None:
        """A series for people, None where it was never seen."""
        number = self.index.get(name)
        if number is None:
            return None
        columns = self.columns
        count, mean, m2 = window_moments(columns, number)
        seen = columns.last_time[number] != NEVER
        return SeriesView(
            device_id=name.device_id,
            metric=name.metric,
            state="WATCHED" if count >= self.settings.minimum_readings else "WARMING",
            readings=int(columns.readings[number]),
            late=int(columns.late[number]),
            repeated=int(columns.repeated[number]),
            episodes=int(columns.episodes[number]),
            last_time=int(columns.last_time[number]) if seen else None,
            last_value=float(columns.last_value[number]) if seen else None,
            window_readings=int(count),
            mean=float(mean) if count else None,
            std=float(np.sqrt(m2 / (count - 1))) if count > 1 else None,
            open_anomaly=self._open_anomaly(number, name),
        )

    def _reserve(self, series: int) -> None:
        self.columns = grown(self.columns, series)
        if len(self._changed) < len(self.columns.last_offset):
            self._changed = np.append(
                self._changed, np.zeros(len(self.columns.last_offset) - len(self._changed), np.bool_)
            )

    def _event(
        self,
        readings: ReadingColumns,
        row: int,
        number: int,
        cleared: bool,
        event_times: NDArray[np.int64],
        event_numbers: NDArray[np.float64],
    ) -> Anomaly:
        opened_at, time, detected_at, flagged = (int(x) for x in event_times[row])
        if cleared:
            fault = self.open_faults.pop(number, None)
        else:
            fault = readings.fault(row)
            if fault is not None:
                self.open_faults[number] = fault
        state = AnomalyState.CLEARED if cleared else AnomalyState.OPENED
        return _anomaly(
            self.index.names[number],
            state,
            opened_at,
            time if cleared else None,
            detected_at,
            flagged,
            event_numbers[row],
            fault,
        )

    def _open_anomaly(self, number: int, name: SeriesName) -> Anomaly | None:
        columns = self.columns
        if columns.opened_at[number] == NEVER:
            return None
        return _anomaly(
            name,
            AnomalyState.OPENED,
            int(columns.opened_at[number]),
            None,
            int(columns.detected_at[number]),
            int(columns.flagged[number]),
            columns.peak[number],
            self.open_faults.get(number),
        )


def _anomaly(
    name: SeriesName,
    state: AnomalyState,
    opened_at: int,
    cleared_at: int | None,
    detected_at: int,
    flagged: int,
    numbers: NDArray[np.float64],
    fault: str | None,
) -> Anomaly:
    value, score, mean, std, lower, upper = (float(x) for x in numbers)
    return Anomaly(
        anomaly_id=anomaly_id(name, KIND, opened_at),
        device_id=name.device_id,
        metric=name.metric,
        kind=KIND,
        state=state,
        opened_at=opened_at,
        cleared_at=cleared_at,
        value=value,
        score=score,
        mean=mean,
        std=std,
        lower=lower,
        upper=upper,
        readings=flagged,
        fault=fault,
        detected_at=detected_at,
    )
