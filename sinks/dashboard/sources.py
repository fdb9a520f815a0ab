"""What the dashboard is told: functions that its host gives it, and the figures that they give."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import psycopg


class Control(Protocol):
    """A running simulation's control API; blocks, in any thread."""

    def __call__(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        """The data of the answer to a request at `path`, as /faults.

        Raises:
            InputError: what was asked for is not there, or makes no sense.
            SigmawatchError: nobody answers, or it refuses.
        """
        ...


@dataclass(frozen=True, slots=True)
class PartitionFigures:
    """What a processor says of one partition of the readings; counts of readings but for `series` ... `open`.

    Attributes:
        partition: number.
        next_offset: up to where it is processed.
        committed_offset: up to where the last checkpoint holds.
        lag: readings behind the newest, None where that is not known.
        series, warming, watched, open: series in all, by state, and with an open anomaly.
        dead_letters: readings that were put aside.
    """

    partition: int
    next_offset: int
    committed_offset: int
    lag: int | None
    series: int
    warming: int
    watched: int
    open: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class PipelineFigures:
    """The processors: how many are ready, and their partitions."""

    workers_ready: int
    partitions: Sequence[PartitionFigures]


@dataclass(frozen=True, slots=True)
class FaultQuality:
    """What became of the events of one kind of fault."""

    fault: str
    events: int
    detected: int
    median_delay_s: float | None


@dataclass(frozen=True, slots=True)
class QualityFigures:
    """Detection against ground truth, of begin <= time < end; a share of nothing is None.

    Attributes:
        begin, end: the stretch, aware.
        devices: with readings in it.
        warming: of them, those that are in their warm-up and do not count.
        events, detected: faults that there were, and those that were found.
        recall, precision: shares.
        false_alarms: episodes about nothing.
        median_delay_s: from a fault's beginning to its first episode, event time.
        faults: by kind.
    """

    begin: datetime
    end: datetime
    devices: int
    warming: int
    events: int
    detected: int
    recall: float | None
    precision: float | None
    false_alarms: int
    median_delay_s: float | None
    faults: Sequence[FaultQuality]


@dataclass(frozen=True, slots=True)
class DashboardSources:
    """Where the dashboard gets what it shows. Functions are called in worker threads, and may raise SigmawatchError.

    Attributes:
        connection: lends a connection that reads, as `sinks.queries.connection.Readers.connection`.
        control: of the simulation, to inject faults; None where there is none.
        control_remedy: what to do to have one.
        quality: detection in the last so long; may take seconds.
        pipeline: the processors now.
        warmup_readings: readings of a series until it is judged.
        readings_topic: whose messages count as readings.
    """

    connection: Callable[[], AbstractContextManager[psycopg.Connection]]
    control: Control | None = None
    control_remedy: str = "Run `sigmawatch up`: its simulated devices take faults."
    quality: Callable[[timedelta], QualityFigures] | None = None
    pipeline: Callable[[], PipelineFigures] | None = None
    warmup_readings: int = 60
    readings_topic: str = "readings"
