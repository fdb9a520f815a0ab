"""`sink timescale`: readings, anomalies and devices from Kafka into the database, each once.

One consumer, one database connection, one thread. Readings are gathered by number and by time; anomalies and
devices are few and people wait for them, so they leave at once. Where a log stands is asked of the database at
each assignment; Kafka's own committed offsets are kept for the tools that show lag, a second late.
"""

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
from sinks.consuming import GATHER_SECONDS
from sinks.dead_letters import DeadLetter
from sinks.logs import Counts, LogId
from sinks.metrics import SinkMetrics
from sinks.patience import StoppedError, patiently
from sinks.reader import Reader, TopicAndPartition
from sinks.timescale.batches import batch_makers
from sinks.timescale.consuming import DatabaseSink
from sinks.timescale.database import OutageError
from sinks.timescale.writer import Fate, LogBatch, Outcome, Writer

_LOG = structlog.get_logger(__name__)


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


class Worker(DatabaseSink):
    """Gathers, and writes what was gathered in one transaction.

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
        self._makers = batch_makers(
            codec,
            options.bounds,
            readings=options.readings,
            anomalies=options.anomalies,
            devices=options.devices,
        )
        super().__init__(
            options.group,
            connect,
            build_tables=options.migrate,
            purpose="to store",
            metrics=metrics or SinkMetrics(),
            consumer=options.consumer,
            topics=list(self._makers),
            longest_wait=options.longest_wait,
            clock=clock,
        )
        self._options = options
        self._writer = Writer(self._database, options.group, send_dead_letters)
        self._gathered: defaultdict[TopicAndPartition, list[Message]] = defaultdict(list)
        self._oldest_at = 0.0
        self._counts: dict[str, Counts] = {}
        self._transactions = 0
        self._transaction_seconds = 0.0

    def stats(self) -> SinkStats:
        """What was done so far."""
        return SinkStats(
            dict(self._counts),
            self._transactions,
            self._transaction_seconds,
            self._lag,
            len(self._positions),
            self._database.waiting,
        )

    def _turn(self, reader: Reader) -> None:
        try:
            self._gather(reader)
            self._commit_when_due(reader)
        except BaseException:
            self._forget()  # closing is not to fail a second time over it
            raise

    def _gather(self, reader: Reader) -> None:
        """Read a little; write what is due."""
        options = self._options
        gathered = sum(map(len, self._gathered.values()))
        room = max(1, options.batch_readings - gathered)
        messages = reader.read(room, GATHER_SECONDS, idle=gathered == 0)
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
        for batch in batches:
            self._take_note(batch, outcomes[batch.log])
        fail_point("sink.after_commit")

    def _take_note(self, batch: LogBatch, outcome: Outcome) -> None:
        if outcome.fate is Fate.LOST:
            self._fence_lost(batch.log)
            return
        topic = batch.log.topic
        self._moved_on(batch.log, batch.next_offset)
        self._counts[topic] = self._counts.get(topic, Counts()) + outcome.counts
        self.metrics.count(topic, outcome.counts)

    def _decode(self, key: TopicAndPartition, messages: Sequence[Message]) -> LogBatch | None:
        make, log, position = self._makers[key[0]], self._logs[key], self._positions[key]
        return patiently(
            lambda: make(log, position, messages),  # type: ignore[arg-type]  # keys and values are bytes here
            RegistryUnavailableError,
            self._stop,
            "the schema registry",
            self._options.longest_wait,
            self._still_alive,
        )

    def _place(self, reader: Reader) -> None:
        super()._place(reader)
        _LOG.info(
            "reading",
            positions={f"{topic}/{partition}": at for (topic, partition), at in self._positions.items()},
        )

    def _tell_of_reset(self, log: LogId, position: int, low: int, high: int) -> None:
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

    def _release(self, lost: bool) -> None:
        """Before partitions go: write and commit what was gathered, unless it is somebody else's already."""
        try:
            if not lost and self._reader is not None and not self._reader.unplaced:
                self._write(list(self._gathered), patient=False)
        except (OutageError, StoppedError) as error:
            _LOG.info("what was gathered is left to the next owner", reason=str(error))
        finally:
            super()._release(lost)

    def _forget(self) -> None:
        super()._forget()
        self._gathered.clear()
