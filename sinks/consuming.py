"""What all sinks do alike: read logs turn by turn until told to stop, know where they stand, tell Kafka of it."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import structlog

from sinks.logs import LogId
from sinks.metrics import SinkMetrics
from sinks.patience import StoppedError
from sinks.reader import Reader, Standing, TopicAndPartition

_LOG = structlog.get_logger(__name__)

GATHER_SECONDS = 0.02
"""A turn of the loop; how long an anomaly may wait for company."""
_COMMIT_SECONDS = 1.0
_STUCK_SECONDS = 300.0  # a loop that has not turned for so long, and does not wait for anybody, is stuck


class ConsumingSink(ABC):
    """Consumes until told to stop. `run` blocks; the other members may be used from other threads.

    A sink takes messages in `_turn`, moves `_positions` and `_uncommitted` once it has dealt with them, and calls
    `_commit_when_due`.

    Args:
        metrics: where it counts.
        consumer: librdkafka's options.
        topics: what is read.
        longest_wait: longest pause between two attempts after an outage, in seconds.
        clock: monotonic seconds.
    """

    _ASKS_KAFKA: ClassVar[bool] = True
    """Whether the offsets committed to Kafka count when positions are looked up."""

    def __init__(
        self,
        metrics: SinkMetrics,
        consumer: Mapping[str, Any],
        topics: Sequence[str],
        longest_wait: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics = metrics
        self._consumer = consumer
        self._topics = topics
        self._longest_wait = longest_wait
        self._clock = clock
        self._stop = threading.Event()
        self._reader: Reader | None = None
        self._logs: dict[TopicAndPartition, LogId] = {}
        self._positions: dict[TopicAndPartition, int] = {}
        self._uncommitted: dict[TopicAndPartition, int] = {}
        self._lag = 0
        self._committed_at = self._beat = clock()
        self._running = False

    def run(self) -> None:
        """Work until `stop`; then deal with what was read, commit and leave the group.

        Raises:
            SigmawatchError: the store, or Kafka, refuses for good.
        """
        self._running = True
        try:
            self._prepare()
            self._beat = self._clock()
            self._reader = Reader(self._consumer, self._topics, self._release)
            while not self._stop.is_set():
                self._beat = self._clock()
                self._turn(self._reader)
            self._finish()
        except StoppedError:
            _LOG.info("stopped while waiting; what was not dealt with is read again next time")
        finally:
            try:
                if self._reader is not None:
                    self._reader.close()  # gives the partitions away: see `_release`
            finally:
                self._running = False
                self._close()

    def stop(self) -> None:
        """Make `run` come to its end; may be called from a signal handler, returns at once."""
        self._stop.set()

    @property
    def ready(self) -> bool:
        """Whether partitions are being read and the store takes what they bring."""
        return self._running and bool(self._positions) and not self._waiting

    @property
    def alive(self) -> bool:
        """Whether a restart would not help."""
        return self._running and (self._waiting or self._clock() - self._beat < _STUCK_SECONDS)

    def _still_alive(self) -> None:
        """The loop does not turn, for it waits for Kafka or a registry."""
        self._beat = self._clock()

    @property
    def _waiting(self) -> bool:
        """Whether the store is out of reach, or being prepared."""
        return False

    def _prepare(self) -> None:  # noqa: B027 - not every sink has something to prepare
        """Make the store ready, before anything is read; blocks through outages."""

    @abstractmethod
    def _turn(self, reader: Reader) -> None:
        """Read a little; deal with what is due."""

    def _finish(self) -> None:  # noqa: B027 - not every sink has something under way
        """Come to an end when told to stop, before the partitions are given away."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of the store; after an error, too."""

    def _place(self, reader: Reader) -> None:
        """Look up where the assigned logs stand, and read from there; blocks through outages."""
        self._forget()
        found = reader.look(
            self._stop, self._longest_wait, committed=self._ASKS_KAFKA, on_pause=self._still_alive
        )
        self._logs = found.logs
        self._positions = self._standing(found)
        for key in sorted(reader.out_of_range & set(self._positions)):
            low, high = found.bounds[key]
            if not low <= self._positions[key] <= high:
                self.metrics.log_resets.labels(key[0]).inc()
                self._tell_of_reset(self._logs[key], self._positions[key], low, high)
                self._positions[key] = self._reset(self._logs[key], self._positions[key], low)
        self.metrics.partitions.set(len(self._positions))
        reader.start_at(self._positions, found.topic_ids)

    @abstractmethod
    def _standing(self, found: Standing) -> dict[TopicAndPartition, int]:
        """Where each log that was found goes on, by what the store says."""

    def _reset(self, _log: LogId, _position: int, low: int) -> int:
        """Where to read on in a log that does not hold `position`: at its start, so that nothing it has is left out."""
        return low

    def _tell_of_reset(self, log: LogId, position: int, low: int, high: int) -> None:
        """Say that a log holds `low` to `high` and not `position`."""
        _LOG.error(
            "Kafka does not hold what comes next; reading the log from its start",
            log=log._asdict(),
            position=position,
            starts_at=low,
            ends_at=high,
        )

    def _commit_when_due(self, reader: Reader) -> None:
        if self._clock() - self._committed_at >= _COMMIT_SECONDS:
            self._commit(reader, wait=False)

    def _commit(self, reader: Reader, *, wait: bool) -> None:
        """Tell Kafka where we are, and the metrics how far that is from the end."""
        reader.commit(self._uncommitted, wait=wait)
        self._uncommitted.clear()
        self._committed_at = self._clock()
        lags = reader.lag(self._positions)
        self._lag = sum(lags.values())
        self.metrics.show_lags(lags)

    def _release(self, lost: bool) -> None:
        """Before partitions go: commit, unless they are somebody else's already."""
        try:
            if not lost and self._reader is not None:
                self._commit(self._reader, wait=True)
        finally:
            self._forget()
            self._positions = {}

    def _forget(self) -> None:
        """Drop what was read and not dealt with; it is read again."""
        self._uncommitted.clear()
