"""Counting a run: every reading produced must be processed once and stored once, or it is named.

The core is pure: what was in the topic (`Ledger`), what the processor counted, what the database has, what lies
in the dead-letter topics, and out of these a `Verdict`. The shell that reads Kafka and the database is
`deploy.stack.counting`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from deploy.showing import iso
from processors.engine.series_index import SeriesIndex
from schemas.columns import ReadingColumns
from schemas.dead_letters import DeadLetterReason

NAMED = 20
"""How many problems a summary names."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Series:
    """A series' readings in a run: (m,) distinct times in ascending order, and where each first came.

    Attributes:
        times: µs since 1970 UTC.
        partitions, offsets: of the first message with that time.
    """

    device_id: str
    metric: str
    times: Ints
    partitions: Ints
    offsets: Ints

    @property
    def digest(self) -> tuple[int, int]:
        """How many distinct times, and their sum: equal digests of two sets mean equal sets, for our purpose."""
        return len(self.times), sum(self.times.tolist())

    def missing_from(self, stored: Ints) -> list[str]:
        """The readings that are not among the (k,) stored times, each as a sentence."""
        gone = np.flatnonzero(~np.isin(self.times, stored))
        return [
            f"{self.device_id} {self.metric} at {iso(int(self.times[row]))} "
            f"(partition {self.partitions[row]}, offset {self.offsets[row]}) is not stored"
            for row in gone
        ]


class Ledger:
    """What the readings' topic held between a run's start and end. Takes 28 bytes a reading."""

    def __init__(self) -> None:
        self.valid: dict[int, int] = {}
        """Partition -> readings."""
        self.invalid: dict[int, int] = {}
        """Partition -> messages that are no readings."""
        self.invalid_places: set[tuple[int, int]] = set()
        """(partition, offset) of those."""
        self._index = SeriesIndex()
        self._chunks: list[tuple[Ints, Ints, Ints, Ints]] = []

    def add(self, partition: int, offsets: Ints, columns: ReadingColumns) -> None:
        """Take n messages of one partition, decoded."""
        good = np.flatnonzero(columns.status == DeadLetterReason.OK)
        bad = np.flatnonzero(columns.status != DeadLetterReason.OK)
        self.valid[partition] = self.valid.get(partition, 0) + len(good)
        self.invalid[partition] = self.invalid.get(partition, 0) + len(bad)
        self.invalid_places.update((partition, int(offset)) for offset in offsets[bad])
        if len(good):
            series = self._index.numbers(columns, good)[good]
            place = np.full(len(good), partition, np.int64)
            self._chunks.append((series.astype(np.int64), columns.time[good], place, offsets[good]))

    @property
    def messages(self) -> int:
        """All of them."""
        return sum(self.valid.values()) + sum(self.invalid.values())

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and the last reading's event time, µs; None where there is no reading."""
        if not self._chunks:
            return None
        times = [time for _, time, _, _ in self._chunks]
        return min(int(time.min()) for time in times), max(int(time.max()) for time in times)

    def series(self) -> list[Series]:
        """The readings by series."""
        if not self._chunks:
            return []
        number, time, partition, offset = (
            np.concatenate(column) for column in zip(*self._chunks, strict=True)
        )
        order = np.lexsort((offset, time, number))
        number, time, partition, offset = number[order], time[order], partition[order], offset[order]
        first = np.ones(len(number), np.bool_)
        first[1:] = (number[1:] != number[:-1]) | (time[1:] != time[:-1])
        number, time, partition, offset = number[first], time[first], partition[first], offset[first]
        cuts = np.flatnonzero(np.diff(number)) + 1
        groups = zip(*(np.split(column, cuts) for column in (number, time, partition, offset)), strict=True)
        names = self._index.names
        return [Series(*names[int(n[0])], t, p, o) for n, t, p, o in groups]


class StoredReadings(Protocol):
    """What the database is asked about readings."""

    def digests(self, series: Sequence[Series]) -> list[tuple[int, int]]:
        """Of each series' rows between its first and last time of the run: how many, and the sum of their times."""

    def times(self, series: Series) -> Ints:
        """Times of those rows."""


@dataclass(frozen=True, slots=True)
class StoredAnomaly:
    """An episode's row: how long after its opening reading's message it came into being, None for one of before."""

    anomaly_id: UUID
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a run's readings. `problems` is empty where all is well, and names at most `NAMED`."""

    produced: int
    processed: int
    stored: int
    opened: int
    anomalies_stored: int
    dead_letters: int
    lost: int
    duplicated: int
    p50_ms: float | None = None
    p99_ms: float | None = None
    problems: tuple[str, ...] = ()
    unnamed: int = 0
    """Problems beyond those named."""
    quality: Mapping[str, Any] | None = None
    """How well the faults of a simulated fleet were found; None where there was none, or it could not be said."""

    @property
    def good(self) -> bool:
        """Whether every reading is accounted for."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The object that `sigmawatch up --json` ends with."""
        return {
            "readings": {"produced": self.produced, "processed": self.processed, "stored": self.stored},
            "anomalies": {"opened": self.opened, "stored": self.anomalies_stored},
            "dead_letters": self.dead_letters,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "latency_ms": {"p50": self.p50_ms, "p99": self.p99_ms},
            **({} if self.quality is None else {"quality": self.quality}),
        }


@dataclass(slots=True)
class Evidence:
    """All that is known of a run.

    Attributes:
        ledger: what the readings' topic held.
        acknowledged: messages that the producer saw acknowledged.
        processed: partition -> readings that the processor counted during the run; None where it was not seen.
        stored: the database.
        dead_letters: (topic, partition, offset) of what the dead-letter topics got during the run.
        readings_topic: name of the readings' topic.
        opened: anomalies opened during the run, from their topic.
        anomalies: those that the database has.
    """

    ledger: Ledger
    acknowledged: int
    processed: Mapping[int, int | None]
    stored: StoredReadings
    dead_letters: set[tuple[str, int, int]]
    readings_topic: str
    opened: set[UUID]
    anomalies: Sequence[StoredAnomaly]
    problems: list[str] = field(default_factory=list)


def judge(evidence: Evidence) -> Verdict:
    """Compare what should be with what is."""
    ledger, problems = evidence.ledger, list(evidence.problems)
    absent = max(0, evidence.acknowledged - ledger.messages)
    if absent:
        problems.append(f"{absent} readings that the broker acknowledged are not in its topic")
    unprocessed, doubled = _judge_processor(ledger.valid, evidence.processed, problems)
    stored, missing = _judge_database(ledger.series(), evidence.stored)
    problems += missing
    letters = {
        (partition, offset)
        for topic, partition, offset in evidence.dead_letters
        if topic == evidence.readings_topic
    }
    unsent = sorted(ledger.invalid_places - letters)
    problems += [
        f"the message at partition {partition}, offset {offset} is no reading and not in the dead-letter topic"
        for partition, offset in unsent
    ]
    known = {anomaly.anomaly_id for anomaly in evidence.anomalies}
    problems += [
        f"anomaly {anomaly_id} is not stored" for anomaly_id in sorted(evidence.opened - known, key=str)
    ]
    latencies = [row.latency_ms for row in evidence.anomalies if row.latency_ms is not None]
    p50, p99 = (_percentile(latencies, share) for share in (50, 99))
    return Verdict(
        produced=max(ledger.messages, evidence.acknowledged),
        processed=sum(count or 0 for count in evidence.processed.values()),
        stored=stored,
        opened=len(evidence.opened),
        anomalies_stored=len(evidence.opened & known),
        dead_letters=len(evidence.dead_letters),
        # A reading that was neither processed nor stored is one lost reading.
        lost=absent + max(unprocessed, len(missing)) + len(unsent),
        duplicated=doubled,
        p50_ms=p50,
        p99_ms=p99,
        problems=tuple(problems[:NAMED]),
        unnamed=max(0, len(problems) - NAMED),
    )


def _judge_processor(
    expected: Mapping[int, int], processed: Mapping[int, int | None], problems: list[str]
) -> tuple[int, int]:
    """(readings not processed, readings processed more than once)."""
    unprocessed = doubled = 0
    for partition in sorted(set(expected) | set(processed)):
        wanted, counted = expected.get(partition, 0), processed.get(partition, 0)
        if counted is None:
            if wanted:
                problems.append(f"partition {partition}: no processor told its counts, of {wanted} readings")
            continue
        if counted < wanted:
            unprocessed += wanted - counted
            problems.append(f"partition {partition}: {wanted} readings, the processor counted {counted}")
        elif counted > wanted:
            doubled += counted - wanted
            problems.append(
                f"partition {partition}: {wanted} readings, the processor counted {counted}: some twice"
            )
    return unprocessed, doubled


def _judge_database(series: Sequence[Series], stored: StoredReadings) -> tuple[int, list[str]]:
    """(distinct readings stored, the missing ones as sentences)."""
    count, missing = 0, []
    for one, digest in zip(series, stored.digests(series), strict=True):
        count += len(one.times)
        if digest != one.digest:
            # Rows of other runs may lie between; only what is missing matters.
            gone = one.missing_from(stored.times(one))
            count -= len(gone)
            missing += gone
    return count, missing


def _percentile(values: Iterable[float], share: float) -> float | None:
    listed = list(values)
    return round(float(np.percentile(listed, share)), 1) if listed else None
