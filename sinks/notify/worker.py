"""`sink notify`: anomalies from Kafka, decisions into the database, notifications out.

One thread has the consumer and the database; a pool hands over (`deliveries`). Where a log stands is asked of the database, as the
database sink does; Kafka's committed offsets are for the tools that show lag.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import structlog
from confluent_kafka import Message

from schemas.clock import Clock, SystemClock
from schemas.codec import Codec
from sinks.anomalies import AnomalyReader
from sinks.consuming import GATHER_SECONDS
from sinks.dead_letters import DeadLetter
from sinks.logs import Counts
from sinks.notify.decide import Decider
from sinks.notify.deliveries import Deliveries, Patience
from sinks.notify.metrics import NotifyMetrics
from sinks.notify.outbox import Outbox
from sinks.notify.store import Store, Taken
from sinks.notify.targets import Target
from sinks.reader import Reader, TopicAndPartition
from sinks.timescale.consuming import DatabaseSink
from sinks.timescale.database import OutageError

_LOG = structlog.get_logger(__name__)

_BATCH = 1_000
_LOOK_SECONDS = 5.0
"""How often the state is looked at without anything being due here: another worker may have died with something due."""
_GOODBYE_SECONDS = 20.0


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


class NotifyWorker(DatabaseSink):
    """Decides who is told, and has it handed over.

    Args:
        options: what to read and how.
        codec: knows the schemas.
        connect: makes database connections.
        decider: decides who is told.
        targets: name -> target.
        send_dead_letters: sends them and waits for the broker.
        clock: the time.
    """

    metrics: NotifyMetrics

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
        self._time = clock or SystemClock()
        super().__init__(
            options.group,
            connect,
            build_tables=options.migrate,
            purpose="notifications",
            metrics=NotifyMetrics(),
            consumer=options.consumer,
            topics=[options.topic],
            longest_wait=options.longest_wait,
            clock=self._time.monotonic,
        )
        self._options = options
        self._decider = decider
        self._send_dead_letters = send_dead_letters
        self._anomalies = AnomalyReader(
            codec, options.group, self._stop, options.longest_wait, self._still_alive
        )
        self._store = Store(self._database, options.group, decider)
        self._deliveries = Deliveries(
            Outbox(options.group, options.lease_seconds),
            targets,
            options.patience,
            self.metrics,
            self._clock,
            options.lease_seconds,
        )
        self._looked_at = self._clock()
        self._next_due: int | None = 0
        self._counted = dict.fromkeys(("too_old", "no_route", "too_short", "in_storm"), 0)

    def _finish(self) -> None:
        try:
            self._database.once(lambda connection: self._deliveries.finish(connection, _GOODBYE_SECONDS))
        except OutageError as error:
            _LOG.info("what is under way is left to the next start", reason=str(error))

    def _close(self) -> None:
        self._deliveries.close()
        super()._close()

    def _turn(self, reader: Reader) -> None:
        """Read a little, decide what came and what is due, hand over."""
        messages = reader.read(_BATCH, GATHER_SECONDS, idle=not self._deliveries.busy)
        if reader.unplaced:
            self._place(reader)
            return
        due = self._next_due is not None and self._next_due <= self._time.now_us()
        if messages or due or self._clock() - self._looked_at >= _LOOK_SECONDS:
            self._decide(messages)
        self._database.patiently(self._deliveries.turn)
        self._commit_when_due(reader)

    def _decide(self, messages: Sequence[Message]) -> None:
        taken = self._take(messages)
        decided = self._store.decide(taken, self._time.now_us())
        self._looked_at = self._clock()
        self._next_due = decided.next_due
        if decided.notifications:
            self._deliveries.wake()
        self._count(decided.notifications)
        for one in taken:
            if one.log in decided.lost:
                self._fence_lost(one.log)
                continue
            self._moved_on(one.log, one.next_offset)
            counts = Counts(stored=len(one.anomalies), dead_letters=one.dead_letters)
            self.metrics.count(one.log.topic, counts)

    def _count(self, notifications: int) -> None:
        self.metrics.notifications.inc(notifications)
        for reason, before in self._counted.items():
            total = getattr(self._decider.skipped, reason)
            self.metrics.skipped.labels(reason).inc(total - before)
            self._counted[reason] = total
        if self._next_due is not None:
            self.metrics.next_due.set((self._next_due - self._time.now_us()) / 1e6)

    def _take(self, messages: Sequence[Message]) -> list[Taken]:
        """What messages say, by log; those that say nothing are dead letters."""
        found: dict[TopicAndPartition, Taken] = {}
        letters = []
        for key, offset, anomaly, letter in self._anomalies.read(messages, self._positions):
            first = self._positions[key]
            taken = found.setdefault(key, Taken(self._logs[key], first, first))
            taken.next_offset = offset + 1
            if anomaly is not None:
                taken.anomalies.append(anomaly)
            if letter is not None:
                taken.dead_letters += 1
                letters.append(letter)
        self._send_dead_letters(letters)
        return list(found.values())
