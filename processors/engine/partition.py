"""The engine of one partition: readings in, anomalies out, and the states that changed on the way."""

import json
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from processors.engine import telling
from processors.engine.batch import ReadingBatch
from processors.engine.book import OneProfile, ProfileBook
from processors.engine.channels import Channel, window
from processors.engine.channels.window import NEVER
from processors.engine.deadlines import CLOCK, UNSET, ClockTime, Heap, set_key
from processors.engine.engine_kernel import apply_readings
from processors.engine.episodes_kernel import CLEARED, GAP, VALUE, Events
from processors.engine.judging_kernel import CHANNELS, EXPECTATION
from processors.engine.series_index import SeriesIndex, SeriesName
from processors.engine.states import Table, grown, new_states
from processors.engine.storms import StormWatch
from schemas.columns import ReadingColumns
from schemas.dead_letters import DeadLetterReason
from schemas.readings import Anomaly, AnomalyState

ANOMALY_NAMESPACE = UUID("5f0c3c5e-6f0b-5f0e-9d0b-51a7c2d3e4f5")
"""Namespace of anomaly ids. Never change it: a replay must find the anomalies it made before."""

_EVENT_ROOM = 1024

_KEPT_BY_RESET = (
    "last_offset",
    "touched",
    "last_time",
    "last_value",
    "readings",
    "late",
    "repeated",
    "episodes",
    "open",
    "recent_count",
    "recent_next",
    "recent",
    "value_alarm",
    "quality_alarm",
    "gap_alarm",
)


def anomaly_id(name: SeriesName, channel: str, opened_at: int) -> UUID:
    """Id of an episode, from what opened it: the same reading makes the same id, whoever processes it."""
    return uuid5(ANOMALY_NAMESPACE, json.dumps([name.device_id, name.metric, channel, opened_at]))


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that is no reading: its row in the batch, and why."""

    row: int
    reason: DeadLetterReason


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch gave.

    Attributes:
        anomalies: in the order of the readings that caused them.
        rows: of each anomaly, the row of that reading.
        rejected: what goes to the DLQ.
        q: (n,) of each row, the largest statistic of the value channels over its threshold; 1 is the alarm level.
    """

    anomalies: list[Anomaly]
    rows: list[int]
    rejected: list[Rejected]
    q: NDArray[np.float64]


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
    open_anomalies: tuple[Anomaly, ...]


class PartitionEngine:
    """Series of one partition, their states as rows of one table. Not thread-safe; does no I/O.

    `changed` marks the series touched since `clear_changed`; a checkpoint writes those.
    """

    def __init__(self, book: ProfileBook | None = None) -> None:
        self.book: ProfileBook = OneProfile() if book is None else book
        self.index = SeriesIndex()
        self.states: Table = new_states(0)
        self.faults: dict[int, dict[int, str]] = {}
        """Ground truth of open episodes, by series number and slot; no entry for a series that has none."""
        self.storms = StormWatch(self.book.storms)
        self._clock: Table = np.array([ClockTime()], CLOCK)
        self._heap = Heap()
        self._profile_of = np.zeros(0, np.int64)
        self._device_of = np.zeros(0, np.uint64)
        self._changed = np.zeros(0, np.bool_)
        self._events = Events(_EVENT_ROOM)
        self._q = np.zeros(CHANNELS)
        self._expectation = np.zeros(1, EXPECTATION)

    def __len__(self) -> int:
        return len(self.index)

    def use(self, book: ProfileBook, devices: Container[str] | None = None) -> None:
        """Judge all series by another book from the next reading on; or by the same one, where these devices changed.

        A series whose state belongs to another origin by now is begun anew.
        """
        self.book = book
        self.storms.limits = book.storms
        concerned: dict[str, None] = {}
        for number, name in enumerate(self.index.names):
            if devices is None or name.device_id in devices:
                self._profile_of[number] = book.number(name)
                self._follow_origin(number, name)
                concerned[name.device_id] = None
        for device_id in concerned:
            self.storms.know(device_id, book.groups(device_id))

    def reset(self, name: SeriesName) -> None:
        """Begin a series anew: what it learnt is forgotten; its times, its counts and its open episodes stay."""
        number = self.index.get(name)
        if number is None:
            return
        fresh = new_states(1)
        for kept in _KEPT_BY_RESET:
            fresh[kept] = self.states[kept][number]
        self.states[number] = fresh[0]
        self._changed[number] = True

    def _follow_origin(self, number: int, name: SeriesName) -> None:
        origin, before = self.book.origin(name), int(self.states["origin"][number])
        if origin in (0, before):
            return
        if before != 0:
            self.reset(name)
        self.states["origin"][number] = origin

    @property
    def clock(self) -> ClockTime:
        """What the partition's clock shows."""
        return ClockTime(*self._clock[0].item())

    @clock.setter
    def clock(self, time: ClockTime) -> None:
        self._clock[0] = tuple(time)

    def apply(self, batch: ReadingBatch) -> Applied:
        """Apply a batch. Readings that a series has had already (by offset) change nothing.

        Raises:
            Exception: the book's, of a new series; then nothing was applied, and it may be applied again.
        """
        readings = batch.readings
        n = len(readings)
        rows = np.flatnonzero(readings.status == DeadLetterReason.OK)
        series = self.index.numbers(readings, rows)
        self._reserve()
        outcome, q = np.zeros(n, np.uint8), np.zeros(n)
        heap, events = self._heap, self._events
        anomalies: list[Anomaly] = []
        causes: list[int] = []
        at = 0
        while True:
            at, used = apply_readings(
                self.states,
                self.book.table,
                self.book.forests,
                self._profile_of,
                self._device_of,
                (heap.order, heap.place, heap.key, heap.tie),
                self._clock[0],
                series,
                readings.time,
                readings.value,
                batch.offsets,
                batch.timestamps_ms,
                rows,
                at,
                outcome,
                q,
                self._changed,
                (events.steps, events.episodes, events.conditions),
                self._q,
                self._expectation[0],
            )
            for i in range(used):
                told = self._tell_with_storms(readings, i)
                anomalies += told
                causes += [int(events.steps[i]["row"])] * len(told)
            if at == len(rows):
                break
        over = self.storms.end(self.clock.time)
        anomalies += over
        causes += [n - 1] * len(over)
        rejected = [
            Rejected(int(row), DeadLetterReason(readings.status[row]))
            for row in np.flatnonzero(readings.status != DeadLetterReason.OK)
        ]
        return Applied(anomalies, causes, rejected, q)

    def changed(self) -> NDArray[np.int64]:
        """Numbers of the series touched since `clear_changed`, ascending."""
        return np.flatnonzero(self._changed)

    def clear_changed(self) -> None:
        """Say that the states of all changed series are kept elsewhere now."""
        self._changed[:] = False

    def faults_of(self, number: int) -> dict[int, str]:
        """Ground truth of a series' open episodes, by slot."""
        return dict(self.faults.get(number, {}))

    def restore(self, name: SeriesName, row: Any, faults: dict[int, str]) -> None:
        """Take over a series' state, a record of `SERIES`, unless a newer one is here."""
        number = self.index.number(name)
        self._reserve()
        here = self.states[number]
        if (row["touched"], row["last_offset"]) <= (here["touched"], here["last_offset"]):
            return
        self.states[number] = row
        self.faults.pop(number, None)
        if faults:
            self.faults[number] = dict(faults)
        heap = self._heap
        if row["last_time"] != NEVER and heap.key[number] == UNSET:
            # too early: the deadline is worked out when it is looked at
            set_key(heap.order, heap.place, heap.key, heap.tie, number, row["last_time"])

    def counts(self) -> Counter[str]:
        """Cumulative counts over all series, exact across crashes: readings, late, repeated, episodes.

        Also how many series are `warming`, `watched` and have an `open` episode.
        """
        size = len(self.index)
        states = self.states[:size]
        counts = Counter(
            {name: int(states[name].sum()) for name in ("readings", "late", "repeated", "episodes")}
        )
        watched = int(self._watched(states).sum())
        counts.update(series=size, watched=watched, warming=size - watched)
        counts["open"] = sum(
            int((states[alarm]["opened_at"] != NEVER).sum())
            for alarm in ("value_alarm", "quality_alarm", "gap_alarm")
        )
        return counts

    def view(self, name: SeriesName) -> SeriesView | None:
        """A series for people, None where it was never seen."""
        number = self.index.get(name)
        if number is None:
            return None
        state = self.states[number]
        count, mean, std = self._moments(number)
        seen = state["last_time"] != NEVER
        return SeriesView(
            device_id=name.device_id,
            metric=name.metric,
            state="WATCHED" if self._watched(self.states[number : number + 1], number)[0] else "WARMING",
            readings=int(state["readings"]),
            late=int(state["late"]),
            repeated=int(state["repeated"]),
            episodes=int(state["episodes"]),
            last_time=int(state["last_time"]) if seen else None,
            last_value=float(state["last_value"]) if seen else None,
            window_readings=count,
            mean=mean if count else None,
            std=std if count > 1 else None,
            open_anomalies=self._open_anomalies(number),
        )

    def _moments(self, number: int) -> tuple[int, float, float]:
        """Readings, mean and std of a series' window: the sliding one where that is on, else that of the channel spike."""
        state, profile = self.states[number], self.book.table[self._profile_of[number]]
        sliding, limits = state["window"], profile["window"]
        if limits["on"] == 0:
            learnt = (
                0 if state["is_switch"] == 1 else min(int(state["judged"]), int(profile["spike"]["window"]))
            )
            return learnt, float(state["spike"]["mean"]), float(np.sqrt(state["spike"]["var"]))
        if sliding["head"] == NEVER or sliding["pane_us"] != limits["pane_us"]:
            return 0, 0.0, 0.0
        count, mean, m2 = window.moments(sliding, int(limits["panes"]))
        return int(count), float(mean), float(np.sqrt(m2 / max(count - 1, 1)))

    def _watched(self, states: Table, first: int = 0) -> NDArray[np.bool_]:
        profiles = self.book.table[self._profile_of[first : first + len(states)]]
        in_window = _readings_in_window(states["window"], profiles["window"])
        readings = np.where(profiles["window"]["on"] == 1, in_window, states["readings"])
        return np.asarray(readings >= profiles["alarm"]["warmup"])

    def _reserve(self) -> None:
        """Room for all series of the index in every table."""
        have, need = len(self._heap.tie), len(self.index)
        if need <= have:
            return
        self.states = grown(self.states, need)
        capacity = len(self.states)
        for name, kind in (("_profile_of", np.int64), ("_device_of", np.uint64), ("_changed", np.bool_)):
            column = getattr(self, name)
            wider = np.zeros(capacity, kind)
            wider[: len(column)] = column
            setattr(self, name, wider)
        names = self.index.names[have:need]
        self._profile_of[have:need] = [self.book.number(name) for name in names]
        self.states["origin"][have:need] = [self.book.origin(name) for name in names]
        for device_id in dict.fromkeys(name.device_id for name in names):
            self.storms.know(device_id, self.book.groups(device_id))
        self._device_of[have:need] = [_hash(name.device_id) for name in names]
        self._heap.add(np.array([_hash(name.device_id + "\0" + name.metric) for name in names], np.uint64))

    def _tell_with_storms(self, readings: ReadingColumns, i: int) -> list[Anomaly]:
        """The anomaly of an event, and the storms that are over by then or that it opens."""
        over = self.storms.end(int(self._events.steps[i]["clock"]))
        anomaly = self._tell(readings, i)
        if anomaly.state is AnomalyState.CLEARED:
            return [*over, anomaly]
        storm_id, begun = self.storms.note(anomaly, self.book.groups(anomaly.device_id))
        return [*over, replace(anomaly, storm_id=storm_id), *begun]

    def _tell(self, readings: ReadingColumns, i: int) -> Anomaly:
        """The anomaly of an event."""
        step = self._events.steps[i]
        number, slot = int(step["series"]), int(step["slot"])
        cleared = step["what"] == CLEARED
        record = self._events.episodes[i] if slot == VALUE else self._events.conditions[i]
        if cleared:
            fault = self._forget_fault(number, slot)
        else:
            fault = None if slot == GAP else readings.fault(int(step["row"]))
            if fault is not None:
                self.faults.setdefault(number, {})[slot] = fault
        return self._anomaly(number, slot, record, int(step["time"]) if cleared else None, fault)

    def _forget_fault(self, number: int, slot: int) -> str | None:
        known = self.faults.get(number, {})
        fault = known.pop(slot, None)
        if fault is not None and not known:
            del self.faults[number]
        return fault

    def _open_anomalies(self, number: int) -> tuple[Anomaly, ...]:
        state = self.states[number]
        slots = enumerate(("value_alarm", "quality_alarm", "gap_alarm"))
        return tuple(
            self._anomaly(number, slot, state[alarm], None, self.faults_of(number).get(slot))
            for slot, alarm in slots
            if state[alarm]["opened_at"] != NEVER
        )

    def _anomaly(
        self, number: int, slot: int, record: Any, cleared_at: int | None, fault: str | None
    ) -> Anomaly:
        name = self.index.names[number]
        channel = Channel(int(record["channel"])).name.lower()
        opened_at = int(record["opened_at"])
        if slot == VALUE:
            kind = telling.value_kind(record, cleared_at is not None)
            reason = telling.value_reason(name.metric, record)
            expected: float | None = float(record["expected"])
            mean, std, lower, upper = (float(record[key]) for key in ("mean", "std", "lower", "upper"))
        else:
            kind = telling.quality_kind(record)
            reason = telling.quality_reason(name.metric, record)
            expected = None
            mean = lower = upper = float(record["value"])
            std = 0.0
        return Anomaly(
            anomaly_id=anomaly_id(name, channel, opened_at),
            device_id=name.device_id,
            metric=name.metric,
            kind=telling.named(kind, self.book.kinds(int(self._profile_of[number]))),
            state=AnomalyState.OPENED if cleared_at is None else AnomalyState.CLEARED,
            opened_at=opened_at,
            cleared_at=cleared_at,
            value=float(record["value"]),
            score=telling.score(float(record["q"])),
            mean=mean,
            std=std,
            lower=lower,
            upper=upper,
            readings=int(record["flagged"]),
            fault=fault,
            detected_at=int(record["detected_at"]),
            severity=telling.severity(float(record["q"])),
            channel=channel,
            expected=expected,
            reason=reason,
        )


def _readings_in_window(windows: Table, limits: Table) -> NDArray[np.int64]:
    """(n,) readings in the newest panes; none in windows of other panes, which the next reading begins anew."""
    ages = (windows["head"][:, None] - np.arange(window.PANES)) % window.PANES
    counts = np.where(ages < limits["panes"][:, None], windows["panes"][:, :, 2], 0).sum(axis=1)
    return np.where((windows["pane_us"] == limits["pane_us"]) & (windows["head"] != NEVER), counts, 0)


def _hash(text: str) -> int:
    """FNV-1a, 64 bit: the same everywhere, as Python's own is not."""
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h
