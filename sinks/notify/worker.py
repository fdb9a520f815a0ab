"""`sink notify`: anomalies from Kafka, decisions into the database, notifications out.

One thread has the consumer and the database; a pool hands over (`deliveries`). Where a log stands is asked of the database, as the
database sink does; Kafka's committed offsets are for the tools that show lag.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import structlog
from confluent_kafka import Message

from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from schemas.dead_letters import is_meant_for
from schemas.errors import CodecError
from sinks.anomalies import anomaly_of
from sinks.dead_letters import DeadLetter
from sinks.logs import Counts, LogId
from sinks.notify.decide import Decider
from sinks.notify.deliveries import Deliveries, Patience
from sinks.notify.metrics import NotifyMetrics
from sinks.notify.outbox import Outbox
from sinks.notify.store import OutageError, Store, Taken
from sinks.notify.targets import Target
from sinks.patience import StoppedError, patiently
from sinks.reader import Reader, TopicAndPartition
from sinks.timescale.migrate import migrate, require_current

_LOG = structlog.get_logger(__name__)

_BATCH = 1_000
_GATHER_SECONDS = 0.02
_COMMIT_SECONDS = 1.0
_LOOK_SECONDS = 5.0
"""How often the state is looked at without anything being due here: another worker may have died with something due."""
_GOODBYE_SECONDS = 20.0
_STUCK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class NotifyOptions:
    """What a worker is told.

    Attributes:
        group: name of the sink in the database, and of the consumer group.
        consumer: librdkafka's options.
        topic: the topic of anomalies.
        patience: with targets that do not take a notification.
        lease_seconds: how long a worker may be silent before another hands over what it has in hand.
        migrate: build the tables at the start; otherwise they must be there.
        longest_wait: longest pause between two attempts to reach the database, in seconds.
    """

    group: str
    consumer: Mapping[str, Any]
    topic: str = "anomalies"
    patience: Patience = field(default_factory=Patience)
    lease_seconds: float = 60.0
    migrate: bool = True
    longest_wait: float = 10.0


class NotifyWorker:
    """Consumes until told to stop. `run` blocks; the other members may be used from other threads.

    Args:
        options: what to read and how.
        codec: knows the schemas.
        connect: makes database connections.
        decider: decides who is told.
        targets: name -> target.
        send_dead_letters: sends them and waits for the broker.
        clock: the time.
    """

    def __init__(
        self,
        options: NotifyOptions,
        codec: Codec,
        connect: Callable[[], psycopg.Connection],
        decider: Decider,
        targets: Mapping[str, Target],
        send_dead_letters: Callable[[Sequence[DeadLetter]], None],
        clock: Clock | None = None,
    ) -> None:
        self.metrics = NotifyMetrics()
        self._options = options
        self._codec = codec
        self._connect = connect
        self._decider = decider
        self._send_dead_letters = send_dead_letters
        self._clock = clock or SystemClock()
        self._stop = threading.Event()
        self._store = Store(connect, options.group, decider, self._stop, options.longest_wait)
        self._deliveries = Deliveries(
            Outbox(options.group, options.lease_seconds),
            targets,
            options.patience,
            self.metrics,
            self._clock.monotonic,
            options.lease_seconds,
        )
        self._reader: Reader | None = None
        self._logs: dict[TopicAndPartition, LogId] = {}
        self._positions: dict[TopicAndPartition, int] = {}
        self._uncommitted: dict[TopicAndPartition, int] = {}
        self._committed_at = self._looked_at = self._beat = self._clock.monotonic()
        self._next_due: int | None = 0
        self._running = False
        self._counted = dict.fromkeys(("too_old", "no_route", "too_short", "in_storm"), 0)
        self._outages_counted = 0

    def run(self) -> None:
        """Decide and hand over until `stop`; then wait for what is under way, commit and leave the group.

        Raises:
            DatabaseError: the database refuses for good.
            PublishError: the broker refuses a dead letter for good.
            TopicError: the broker forbids the topic or the group.
        """
        self._running = True
        try:
            self._prepare_database()
            self._reader = Reader(self._options.consumer, [self._options.topic], self._release)
            while not self._stop.is_set():
                self._turn(self._reader)
            self._store.try_once(lambda connection: self._deliveries.finish(connection, _GOODBYE_SECONDS))
        except (StoppedError, OutageError):
            _LOG.info("stopped while waiting; what was not decided is read again next time")
        finally:
            try:
                if self._reader is not None:
                    self._reader.close()
            finally:
                self._running = False
                self._deliveries.close()
                self._store.close()

    def stop(self) -> None:
        """Make `run` come to its end; may be called from a signal handler, returns at once."""
        self._stop.set()

    @property
    def ready(self) -> bool:
        """Whether partitions are being read and the database answers."""
        return self._running and bool(self._positions) and not self._store.waiting

    @property
    def alive(self) -> bool:
        """Whether a restart would not help."""
        turning = self._clock.monotonic() - self._beat < _STUCK_SECONDS
        return self._running and (turning or self._store.waiting)

    def _prepare_database(self) -> None:
        def once() -> None:
            with self._connect() as connection:
                if self._options.migrate:
                    migrate(connection)
                else:
                    require_current(connection)

        patiently(once, psycopg.OperationalError, self._stop, "the database", self._options.longest_wait)
        self._beat = self._clock.monotonic()

    def _turn(self, reader: Reader) -> None:
        """Read a little, decide what came and what is due, hand over."""
        self._beat = now = self._clock.monotonic()
        messages = reader.read(_BATCH, _GATHER_SECONDS, idle=not self._deliveries.busy)
        if reader.unplaced:
            self._place(reader)
            return
        due = self._next_due is not None and self._next_due <= self._clock.now_us()
        if messages or due or now - self._looked_at >= _LOOK_SECONDS:
            self._decide(messages)
        self._store.run(self._deliveries.turn)
        if now - self._committed_at >= _COMMIT_SECONDS:
            self._commit(reader, wait=False)

    def _decide(self, messages: Sequence[Message]) -> None:
        taken = self._take(messages)
        decided = self._store.decide(taken, self._clock.now_us())
        self._looked_at = self._clock.monotonic()
        self._next_due = decided.next_due
        if decided.notifications:
            self._deliveries.wake()
        self._count(decided.notifications)
        for one in taken:
            if one.log in decided.lost:
                _LOG.warning("somebody else moved the log on, batch dropped", log=one.log._asdict())
                self.metrics.fences_lost.labels(one.log.topic).inc()
                if self._reader is not None:
                    self._reader.unplaced = True
                continue
            key = one.log.topic, one.log.partition
            self._positions[key] = self._uncommitted[key] = one.next_offset
            counts = Counts(stored=len(one.anomalies), dead_letters=one.dead_letters)
            self.metrics.count(one.log.topic, counts)

    def _count(self, notifications: int) -> None:
        self.metrics.notifications.inc(notifications)
        self.metrics.outages.inc(self._store.outages - self._outages_counted)
        self._outages_counted = self._store.outages
        for reason, before in self._counted.items():
            total = getattr(self._decider.skipped, reason)
            self.metrics.skipped.labels(reason).inc(total - before)
            self._counted[reason] = total
        if self._next_due is not None:
            self.metrics.next_due.set((self._next_due - self._clock.now_us()) / 1e6)

    def _take(self, messages: Sequence[Message]) -> list[Taken]:
        """What messages say, by log; those that say nothing are dead letters."""
        found: dict[TopicAndPartition, Taken] = {}
        letters = []
        for message in messages:
            key = (message.topic() or "", message.partition() or 0)
            offset = message.offset() or 0
            first = self._positions[key]
            taken = found.setdefault(key, Taken(self._logs[key], first, first))
            if offset < taken.next_offset:
                continue
            taken.next_offset = offset + 1
            if not is_meant_for(message.headers(), self._options.group):
                continue
            try:
                taken.anomalies.append(
                    anomaly_of(message, self._codec, self._stop, self._options.longest_wait)
                )
            except CodecError as error:
                taken.dead_letters += 1
                letters.append(DeadLetter(*key, message, error.reason, error.message))  # type: ignore[arg-type]
        self._send_dead_letters(letters)
        return [taken for taken in found.values() if taken.next_offset > taken.first]

    def _commit(self, reader: Reader, *, wait: bool) -> None:
        reader.commit(self._uncommitted, wait=wait)
        self._uncommitted.clear()
        self._committed_at = self._clock.monotonic()
        self.metrics.show_lags(reader.lag(self._positions))

    def _place(self, reader: Reader) -> None:
        """Look up where the assigned logs stand, and read from there; blocks through outages."""
        self._uncommitted.clear()
        out_of_range = set(reader.out_of_range)
        found = reader.look(self._stop, self._options.longest_wait)
        logs, bounds = found.logs, found.bounds
        standing = self._store.positions({log: bounds[key][0] for key, log in logs.items()}) if logs else {}
        for key in sorted(out_of_range & set(logs)):
            low, high = bounds[key]
            position = standing[logs[key]]
            if not low <= position <= high:
                _LOG.error("Kafka does not hold what comes next", log=logs[key]._asdict(), position=position)
                self.metrics.log_resets.labels(key[0]).inc()
                standing[logs[key]] = self._store.reset(logs[key], position, low)
        self._logs = logs
        self._positions = {key: standing[log] for key, log in logs.items()}
        self.metrics.partitions.set(len(self._positions))
        reader.start_at(self._positions, found.topic_ids)

    def _release(self, lost: bool) -> None:
        """Before partitions go: all that was read is decided, so there is nothing but to commit."""
        if not lost and self._reader is not None:
            self._commit(self._reader, wait=True)
        self._uncommitted.clear()
        self._positions = {}
