"""`sink timescale`: readings, anomalies and devices from Kafka into the database, each once.

One consumer, one database connection, one thread. Readings are gathered by number and by time; anomalies and
devices are few and people wait for them, so they leave at once. Where a log stands is asked of the database at
each assignment; Kafka's own committed offsets are kept for the tools that show lag, a second late.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import structlog
from confluent_kafka import Message

from schemas.codec import Codec
from schemas.dead_letters import TimeBounds
from schemas.errors import RegistryUnavailableError
from schemas.failpoints import fail_point
from sinks.dead_letters import DeadLetter
from sinks.logs import Counts, LogId
from sinks.metrics import SinkMetrics
from sinks.patience import StoppedError, patiently
from sinks.reader import Reader, TopicAndPartition
from sinks.timescale.batches import batch_makers
from sinks.timescale.migrate import migrate, require_current
from sinks.timescale.writer import Fate, LogBatch, OutageError, Writer

_LOG = structlog.get_logger(__name__)

_GATHER_SECONDS = 0.02  # a turn of the loop; how long an anomaly may wait for company
_COMMIT_SECONDS = 1.0
_STUCK_SECONDS = 300.0  # a loop that has not turned for so long, and does not wait for anybody, is stuck


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a worker is told.

    Attributes:
        group: name of the sink in the database, and of the consumer group.
        consumer: librdkafka's options.
        readings: name of the topic.
        anomalies: name of the topic.
        devices: name of the topic.
        batch_readings: write when so many are gathered,
        batch_seconds: or when the oldest has waited so long.
        bounds: which event times are believed.
        migrate: build the tables at the start; otherwise they must be there.
        longest_wait: longest pause between two attempts to reach the database, in seconds.
    """

    group: str
    consumer: Mapping[str, Any]
    readings: str = "readings"
    anomalies: str = "anomalies"
    devices: str = "devices"
    batch_readings: int = 50_000
    batch_seconds: float = 0.5
    bounds: TimeBounds = field(default_factory=TimeBounds)
    migrate: bool = True
    longest_wait: float = 10.0


@dataclass(frozen=True, slots=True)
class SinkStats:
    """What a sink has done since it started, for a live display.

    Attributes:
        counts: topic -> what became of its messages.
        transactions: how many.
        transaction_seconds: how long the last one took.
        lag: messages read late, over all assigned logs, as far as the broker told.
        assigned: partitions that this sink reads.
        waiting: the database is out of reach.
    """

    counts: Mapping[str, Counts]
    transactions: int
    transaction_seconds: float
    lag: int
    assigned: int
    waiting: bool


class Worker:
    """Consumes until told to stop. `run` blocks; the other members may be used from other threads.

    Args:
        options: what to read and how.
        codec: knows the schemas.
        connect: makes database connections (`connection.connector`).
        send_dead_letters: sends them and waits for the broker (`dead_letters.dead_letter_office`).
        metrics: where it counts.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        options: WorkerOptions,
        codec: Codec,
        connect: Callable[[], psycopg.Connection],
        send_dead_letters: Callable[[Sequence[DeadLetter]], None],
        metrics: SinkMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics = metrics or SinkMetrics()
        self._options = options
        self._connect = connect
        self._clock = clock
        self._stop = threading.Event()
        self._writer = Writer(connect, options.group, send_dead_letters, self._stop, options.longest_wait)
        self._makers = batch_makers(
            codec,
            options.bounds,
            readings=options.readings,
            anomalies=options.anomalies,
            devices=options.devices,
        )
        self._reader: Reader | None = None
        self._logs: dict[TopicAndPartition, LogId] = {}
        self._positions: dict[TopicAndPartition, int] = {}
        self._gathered: defaultdict[TopicAndPartition, list[Message]] = defaultdict(list)
        self._oldest_at = 0.0
        self._uncommitted: dict[TopicAndPartition, int] = {}
        self._committed_at = clock()
        self._outages_counted = 0
        self._running = False
        self._preparing = False
        self._beat = clock()
        self._counts: dict[str, Counts] = {}
        self._transactions = 0
        self._transaction_seconds = 0.0
        self._lag = 0

    def run(self) -> None:
        """Read and write until `stop`; then write what was read, commit and leave the group.

        Raises:
            DatabaseError: the database refuses for good.
            PublishError: the broker refuses a dead letter for good.
            TopicError: the broker forbids the topics or the group.
        """
        self._running = True
        try:
            self._prepare_database()
            self._reader = Reader(self._options.consumer, list(self._makers), self._release)
            while not self._stop.is_set():
                self._turn(self._reader)
        except StoppedError:
            _LOG.info("stopped while waiting; what was not written is read again next time")
            self._forget()
        except BaseException:
            self._forget()  # closing is not to fail a second time over it
            raise
        finally:
            try:
                if self._reader is not None:
                    self._reader.close()  # gives the partitions away, which writes and commits what is left
            finally:
                self._running = False
                self._writer.close()

    def stop(self) -> None:
        """Make `run` come to its end; may be called from a signal handler, returns at once."""
        self._stop.set()

    @property
    def ready(self) -> bool:
        """Whether partitions are being read and the database takes rows."""
        return self._running and bool(self._positions) and not self._writer.waiting

    @property
    def alive(self) -> bool:
        """Whether a restart would not help."""
        turning = self._clock() - self._beat < _STUCK_SECONDS
        # A database that is away at the start, or big tables that move into chunks, take as long as they take.
        return self._running and (turning or self._preparing or self._writer.waiting)

    def stats(self) -> SinkStats:
        """What was done so far."""
        return SinkStats(
            dict(self._counts),
            self._transactions,
            self._transaction_seconds,
            self._lag,
            len(self._positions),
            self._writer.waiting,
        )

    def _prepare_database(self) -> None:
        def once() -> None:
            with self._connect() as connection:
                if self._options.migrate:
                    migrate(connection)
                else:
                    _LOG.info("database", is_=require_current(connection).text)

        self._preparing = True
        try:
            patiently(once, psycopg.OperationalError, self._stop, "the database", self._options.longest_wait)
        finally:
            self._preparing = False
            self._beat = self._clock()

    def _turn(self, reader: Reader) -> None:
        """Read a little; write what is due."""
        options = self._options
        self._beat = self._clock()
        gathered = sum(map(len, self._gathered.values()))
        room = max(1, options.batch_readings - gathered)
        messages = reader.read(room, _GATHER_SECONDS, idle=gathered == 0)
        if reader.unplaced:
            self._place(reader)
            return
        if messages and not gathered:
            self._oldest_at = self._clock()
        prompt = False
        for message in messages:
            key = message.topic(), message.partition()
            self._gathered[key].append(message)  # type: ignore[index]  # only errors have no topic
            prompt = prompt or key[0] != options.readings
        gathered += len(messages)
        if prompt:
            self._write([key for key in self._gathered if key[0] != options.readings])
        if gathered >= options.batch_readings or (
            gathered and self._clock() - self._oldest_at >= options.batch_seconds
        ):
            self._write(list(self._gathered))
        if self._clock() - self._committed_at >= _COMMIT_SECONDS:
            self._commit(reader, wait=False)

    def _write(self, keys: Sequence[TopicAndPartition], *, patient: bool = True) -> None:
        """Write what was gathered of some logs, in one transaction."""
        batches = []
        for key in keys:
            messages = self._gathered.pop(key)
            batch = self._decode(key, messages)
            if batch is not None:
                batches.append(batch)
        if not batches:
            return
        began = self._clock()
        outcomes = self._writer.write(batches, patient=patient)
        self._transaction_seconds = self._clock() - began
        self._transactions += 1
        self.metrics.transaction.observe(self._transaction_seconds)
        self.metrics.batch.observe(sum(len(batch.messages) for batch in batches))
        self.metrics.outages.inc(self._writer.outages - self._outages_counted)
        self._outages_counted = self._writer.outages
        for batch in batches:
            outcome = outcomes[batch.log]
            topic, key = batch.log.topic, (batch.log.topic, batch.log.partition)
            if outcome.fate is Fate.LOST:
                _LOG.warning("somebody else moved the log on, batch dropped", log=batch.log._asdict())
                self.metrics.fences_lost.labels(topic).inc()
                if self._reader is not None:
                    self._reader.unplaced = True
                continue
            self._positions[key] = self._uncommitted[key] = batch.next_offset
            self._counts[topic] = self._counts.get(topic, Counts()) + outcome.counts
            self.metrics.count(topic, outcome.counts)
        fail_point("sink.after_commit")

    def _decode(self, key: TopicAndPartition, messages: Sequence[Message]) -> LogBatch | None:
        make, log, position = self._makers[key[0]], self._logs[key], self._positions[key]
        return patiently(
            lambda: make(log, position, messages),  # type: ignore[arg-type]  # keys and values are bytes here
            RegistryUnavailableError,
            self._stop,
            "the schema registry",
            self._options.longest_wait,
        )

    def _commit(self, reader: Reader, *, wait: bool) -> None:
        reader.commit(self._uncommitted, wait=wait)
        self._uncommitted.clear()
        self._committed_at = self._clock()
        lags = reader.lag(self._positions)
        self._lag = sum(lags.values())
        self.metrics.show_lags(lags)

    def _place(self, reader: Reader) -> None:
        """Look up where the assigned logs stand, and read from there; blocks through outages."""
        self._forget()
        out_of_range = set(reader.out_of_range)
        found = reader.look(self._stop, self._options.longest_wait)
        logs, bounds = found.logs, found.bounds
        standing = self._writer.positions(list(logs.values()))
        new = {log: bounds[key][0] for key, log in logs.items() if log not in standing}
        if new:
            standing |= self._writer.enter(new)
        for key in sorted(out_of_range & set(logs)):
            standing[logs[key]] = self._reset(logs[key], standing[logs[key]], bounds[key])
        self._logs = logs
        self._positions = {key: standing[log] for key, log in logs.items()}
        self.metrics.partitions.set(len(self._positions))
        _LOG.info(
            "reading",
            positions={f"{topic}/{partition}": at for (topic, partition), at in self._positions.items()},
        )
        reader.start_at(self._positions, found.topic_ids)

    def _reset(self, log: LogId, position: int, bounds: tuple[int, int]) -> int:
        """Where to read on in a log that does not hold `position`: at its start, so that nothing it has is left out."""
        low, high = bounds
        if low <= position <= high:
            return position
        self.metrics.log_resets.labels(log.topic).inc()
        if position < low:
            _LOG.error(
                "Kafka deleted messages before they were stored: raise the topic's retention",
                log=log._asdict(),
                lost=low - position,
            )
        else:
            _LOG.error(
                "Kafka lost the end of a log that is stored already; reading it anew, rows repeated change nothing",
                log=log._asdict(),
                stored_up_to=position,
                log_ends_at=high,
            )
        return self._writer.reset(log, position, low)

    def _release(self, lost: bool) -> None:
        """Before partitions go: write and commit what was gathered, unless it is somebody else's already."""
        try:
            if not lost and self._reader is not None and not self._reader.unplaced:
                self._write(list(self._gathered), patient=False)
        except (OutageError, StoppedError) as error:
            _LOG.info("what was gathered is left to the next owner", reason=str(error))
        finally:
            if not lost and self._reader is not None:
                self._commit(self._reader, wait=True)
            self._forget()
            self._positions = {}

    def _forget(self) -> None:
        """Drop what was read and not written; it is read again."""
        self._gathered.clear()
        self._uncommitted.clear()
