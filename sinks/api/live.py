"""Readings and anomalies as they come: one consumer for all clients, each with a bounded queue of its own.

A client that is too slow loses the oldest of what waits for it, and is told how much. The consumer belongs to no group
in effect: it reads every partition from its end, and looks again and again for new ones.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import structlog
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import TimeBounds
from schemas.errors import CodecError, RegistryUnavailableError, SigmawatchError
from schemas.kafka import client_config, new_client
from schemas.readings import Anomaly, Reading
from schemas.settings import KafkaSettings

_LOG = structlog.get_logger(__name__)

_BATCH = 10_000
_POLL_SECONDS = 0.2
_LOOK_SECONDS = 5.0  # for new partitions, and for topics that are made later
_ANSWER_SECONDS = 3.0
_PAUSE_SECONDS = 2.0
_REMEMBERED = 5_000
"""Anomaly events that can be sent again to who comes back."""

_RECALLED = 500
"""Of each partition of anomalies, how many of before are read at the start: so a client comes back after a restart of ours too."""

QUEUE = 2_000
"""Events that wait for one client."""

_BOUNDS = TimeBounds()


@dataclass(frozen=True, slots=True)
class Mark:
    """Up to where a client has the anomalies: partition -> the next offset."""

    offsets: Mapping[int, int]

    def __str__(self) -> str:
        count = max(self.offsets, default=-1) + 1
        return ".".join(str(self.offsets.get(number, 0)) for number in range(count))

    def at_least(self, other: "Mark") -> "Mark":
        """Of each partition the greater offset."""
        numbers = {**self.offsets, **other.offsets}
        return Mark({one: max(self.offsets.get(one, 0), other.offsets.get(one, 0)) for one in numbers})

    @staticmethod
    def parse(text: str) -> "Mark | None":
        """The mark of an event's id; None where it is none."""
        parts = text.split(".")
        if len(text) > 20_000 or not all(part.isascii() and part.isdecimal() for part in parts):
            return None
        if any(len(part) > 19 for part in parts):
            return None
        return Mark({number: int(part) for number, part in enumerate(parts)})


@dataclass(frozen=True, slots=True)
class AnomalyEvent:
    """A step of an episode, where it lies, and the mark of who has seen it and all before it."""

    anomaly: Anomaly
    partition: int
    offset: int
    mark: Mark


Event = Reading | AnomalyEvent


class Subscription:
    """What one client waits for. Filled from the consumer's thread, emptied in the client's event loop.

    Args:
        wants: whether an event is for this client.
        loop: the client's.
        room: events that may wait.
    """

    def __init__(
        self, wants: Callable[[Any], bool], loop: asyncio.AbstractEventLoop, room: int = QUEUE
    ) -> None:
        self._wants = wants
        self._loop = loop
        self._news = asyncio.Event()
        self._waiting: deque[Any] = deque()
        self._room = room
        self._missed = 0
        self._lock = threading.Lock()

    def offer(self, events: Iterable[Event]) -> None:
        """Put those wanted into the queue; the oldest fall out where there is no room."""
        self._put([event for event in events if self._wants(event)])

    async def take(self, seconds: float) -> tuple[list[Any], int]:
        """(events that wait, how many were lost since); waits `seconds` at most for a first one."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return [], 0
        self._news.clear()
        with self._lock:
            events, self._waiting = list(self._waiting), deque()
            missed, self._missed = self._missed, 0
        return events, missed

    def _put(self, wanted: Sequence[Event]) -> None:
        with self._lock:
            self._queue(wanted)
        if wanted:
            self._wake()

    def _queue(self, wanted: Sequence[Event]) -> None:
        self._waiting.extend(wanted)
        while len(self._waiting) > self._room:
            self._waiting.popleft()
            self._missed += 1

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the loop has ended, and so has the client
            return


class AnomalySubscription(Subscription):
    """The same of anomalies: it knows what its client has, so that the client can come back.

    Args:
        wants, loop: as above.
        after: what the client had when it came; None if it is new.
    """

    def __init__(
        self, wants: Callable[[Any], bool], loop: asyncio.AbstractEventLoop, after: Mark | None
    ) -> None:
        super().__init__(wants, loop)
        self.after = after
        self._begin = Mark({})
        self._passed = Mark({})

    @property
    def beginning(self) -> Mark:
        """From where on all is for the client, as far as partitions are known."""
        return self._begin

    def begin(self, offsets: Mapping[int, int]) -> None:
        """Begin partitions at these offsets."""
        with self._lock:
            self._begin = Mark({**self._begin.offsets, **offsets})

    def mark(self) -> Mark | None:
        """What a client has that was given all that was taken; None while something waits for it."""
        with self._lock:
            return None if self._waiting else self._passed.at_least(self._begin)

    def owed(self, event: AnomalyEvent) -> AnomalyEvent | None:
        """The event, with a mark of what this client has; None if it has it already, or does not want it."""
        if event.offset < self._begin.offsets.get(event.partition, 0) or not self._wants(event):
            return None
        return replace(event, mark=event.mark.at_least(self._begin))

    def pass_by(self, mark: Mark, event: AnomalyEvent | None) -> None:
        """The next message, which is an event or, where it cannot be read, none; `mark` is behind it."""
        owed = None if event is None else self.owed(event)
        wanted = [] if owed is None else [owed]
        with self._lock:
            self._passed = mark
            self._queue(wanted)
        if wanted:
            self._wake()

    def miss(self, count: int) -> None:
        """So many events behind what the client had are no more at hand."""
        with self._lock:
            self._missed += count
        if count:
            self._wake()


@dataclass(slots=True)
class _Memory:
    """The newest anomaly events.

    Attributes:
        events: in the order that they were read in.
        since: partition -> from which offset on all are there.
        ends: partition -> the next offset to read.
        news: partition -> from which offset on they came after this server began; those before are recalled.
    """

    events: deque[AnomalyEvent] = field(default_factory=deque)
    since: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    news: dict[int, int] = field(default_factory=dict)

    def begins(self, after: Mark | None) -> dict[int, int]:
        """Where each partition begins for a client: behind what it has and what is lost; for a new one with the news.

        A mark beyond the end is of another log, as of a topic that was made anew.
        """
        ends = {
            number: max(self.ends.get(number, 0), self.news.get(number, 0), self.since.get(number, 0))
            for number in {**self.ends, **self.since}
        }
        if after is None:
            return ends
        return {
            number: min(max(after.offsets.get(number, 0), self.since.get(number, 0)), end)
            for number, end in ends.items()
        }

    def gone(self, after: Mark, numbers: Iterable[int]) -> int:
        """How many events of these partitions a client misses that comes back: they are remembered no more."""
        return sum(
            max(0, self.since[number] - after.offsets.get(number, self.since[number])) for number in numbers
        )


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages a second, lately."""

    readings: float = 0.0
    anomalies: float = 0.0


class LiveTail:
    """Reads from a thread of its own, between `start` and `stop`.

    Args:
        kafka: the cluster.
        readings, anomalies: the topics.
        codec: knows the schemas; used by this thread alone.
        on_readings: called with each batch's readings, on this thread.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        readings: str,
        anomalies: str,
        codec: Codec,
        on_readings: Callable[[Sequence[Reading]], None] = lambda _: None,
    ) -> None:
        self._kafka = kafka
        self._readings, self._anomalies = readings, anomalies
        self._codec = codec
        self._on_readings = on_readings
        self._lock = threading.Lock()
        self._of_readings: set[Subscription] = set()
        self._of_anomalies: set[AnomalySubscription] = set()
        self._memory = _Memory()
        self._assigned: set[tuple[str, int]] = set()
        self._looked_at = 0.0
        self._rates = _Rates()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.trouble: str | None = "not started"
        """Why nothing is read now."""

    def start(self) -> None:
        """Begin to read.

        Raises:
            ConfigError: the cluster's options are not usable.
        """
        consumer = new_client(Consumer, _consumer_config(self._kafka))
        self._thread = threading.Thread(target=self._run, args=(consumer,), name="live-tail", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; blocks for some tenths of a second."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def subscribe_readings(
        self, wants: Callable[[Reading], bool], loop: asyncio.AbstractEventLoop
    ) -> Subscription:
        """The readings that come from now on; give it back with `unsubscribe`."""
        subscription = Subscription(wants, loop)
        with self._lock:
            self._of_readings.add(subscription)
        return subscription

    def subscribe_anomalies(
        self, wants: Callable[[AnomalyEvent], bool], loop: asyncio.AbstractEventLoop, after: Mark | None
    ) -> tuple[AnomalySubscription, list[AnomalyEvent], int]:
        """(what comes from now on, what came behind a mark, how many in between are no more at hand)."""
        subscription = AnomalySubscription(wants, loop, after)
        with self._lock:
            subscription.begin(self._memory.begins(after))
            self._of_anomalies.add(subscription)
            if after is None:
                return subscription, [], 0
            again = [owed for event in self._memory.events if (owed := subscription.owed(event)) is not None]
            lost = self._memory.gone(after, self._memory.since)
        return subscription, again, lost

    def unsubscribe(self, subscription: Subscription) -> None:
        """Nothing more for this one."""
        with self._lock:
            self._of_readings.discard(subscription)
            if isinstance(subscription, AnomalySubscription):
                self._of_anomalies.discard(subscription)

    @property
    def clients(self) -> int:
        """How many are subscribed."""
        with self._lock:
            return len(self._of_readings) + len(self._of_anomalies)

    def rate(self) -> Rate:
        """Messages a second of the last ten seconds."""
        return self._rates.now(time.monotonic())

    def _run(self, consumer: Any) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self._turn(consumer)
                except (KafkaException, SigmawatchError) as error:
                    self._complain(_said(error))
                    self._stop.wait(_PAUSE_SECONDS)
                except Exception:  # noqa: BLE001 - the thread must outlive what it meets
                    _LOG.exception("live readings cannot be read")
                    self._complain("a fault of ours; the log has the particulars")
                    self._stop.wait(_PAUSE_SECONDS)
        finally:
            consumer.close()

    def _turn(self, consumer: Any) -> None:
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._assign_new(consumer)
            self._looked_at = time.monotonic()
        if not self._assigned:
            self._stop.wait(_POLL_SECONDS)
            return
        good = [message for message in consumer.consume(_BATCH, _POLL_SECONDS) if _is_good(message)]
        # First the ones of which none may be left out.
        self._take_anomalies(consumer, [message for message in good if message.topic() == self._anomalies])
        self._take_readings([message for message in good if message.topic() == self._readings])

    def _assign_new(self, consumer: Any) -> None:
        """Read the partitions that are there and not read yet."""
        # Without the topic's name: a broker that creates topics on demand would create it.
        found = consumer.list_topics(timeout=_ANSWER_SECONDS).topics
        there = {
            (topic, number)
            for topic in (self._readings, self._anomalies)
            if topic in found
            for number in found[topic].partitions
        }
        new = sorted(there - self._assigned)
        if new:
            self._remember_starts(consumer, [number for topic, number in new if topic == self._anomalies])
            consumer.incremental_assign([TopicPartition(*place, self._start_of(place)) for place in new])
            self._assigned.update(new)
        missing = {self._readings, self._anomalies} - {topic for topic, _ in there}
        self.trouble = f"there is no topic {', '.join(sorted(missing))}" if missing else None

    def _start_of(self, place: tuple[str, int]) -> int:
        topic, number = place
        return OFFSET_END if topic == self._readings else self._memory.since[number]

    def _remember_starts(self, consumer: Any, numbers: Iterable[int]) -> None:
        """Where new partitions of anomalies begin: for the memory, and for those who are there already."""
        bounds = {
            number: consumer.get_watermark_offsets(
                TopicPartition(self._anomalies, number), timeout=_ANSWER_SECONDS
            )
            for number in numbers
            if number
            not in self._memory.since  # it stays where it was, if it could not be assigned the last time
        }
        starts = {number: max(int(low), int(high) - _RECALLED) for number, (low, high) in bounds.items()}
        # What comes to the others later is new from its beginning on.
        news = starts if self._assigned else {number: int(high) for number, (_, high) in bounds.items()}
        with self._lock:
            self._memory.since |= starts
            self._memory.ends |= starts
            self._memory.news |= news
            for subscription in self._of_anomalies:
                begins = self._memory.begins(subscription.after)
                subscription.begin({number: begins[number] for number in starts})
                if subscription.after is not None:
                    subscription.miss(self._memory.gone(subscription.after, starts))

    def _take_readings(self, messages: Sequence[Any]) -> None:
        if not messages:
            return
        timestamps = np.fromiter((message.timestamp()[1] for message in messages), np.int64, len(messages))
        columns = decode_readings([message.value() for message in messages], timestamps, self._codec, _BOUNDS)
        readings = [columns.reading(row) for row in np.flatnonzero(columns.status == 0).tolist()]
        self._rates.count(time.monotonic(), readings=len(readings))
        self._on_readings(readings)
        with self._lock:
            subscriptions = list(self._of_readings)
        for subscription in subscriptions:
            subscription.offer(readings)

    def _take_anomalies(self, consumer: Any, messages: Sequence[Any]) -> None:
        for taken, message in enumerate(messages):
            partition, offset = int(message.partition()), int(message.offset())
            try:
                anomaly = self._anomaly_in(message)
            except RegistryUnavailableError:
                _read_again(consumer, messages[taken:])
                raise
            # Together: who comes in between has it behind its beginning, or gets it.
            with self._lock:
                if offset < self._memory.ends.get(partition, 0):  # the topic was made anew
                    self._begin_anew(partition, offset)
                self._memory.ends[partition] = offset + 1
                mark = Mark(dict(self._memory.ends))
                event = None if anomaly is None else AnomalyEvent(anomaly, partition, offset, mark)
                if event is not None:
                    self._remember(event)
                subscriptions = list(self._of_anomalies)
            for subscription in subscriptions:
                subscription.pass_by(mark, event)

    def _anomaly_in(self, message: Any) -> Anomaly | None:
        """None where it is none: that is the processors' and sinks' business, whose dead letters tell."""
        try:
            anomaly = self._codec.decode_anomaly(message.value())
        except CodecError:
            return None
        self._rates.count(time.monotonic(), anomalies=1)
        return anomaly

    def _begin_anew(self, partition: int, offset: int) -> None:
        """Forget a partition; the lock is held."""
        memory = self._memory
        memory.events = deque(event for event in memory.events if event.partition != partition)
        memory.since[partition] = memory.news[partition] = offset
        for subscription in self._of_anomalies:
            subscription.begin({partition: offset})

    def _remember(self, event: AnomalyEvent) -> None:
        self._memory.events.append(event)
        while len(self._memory.events) > _REMEMBERED:
            oldest = self._memory.events.popleft()
            self._memory.since[oldest.partition] = oldest.offset + 1

    def _complain(self, reason: str) -> None:
        if self.trouble is None:
            _LOG.warning("Kafka cannot be read now", reason=reason)
        self.trouble = reason


class _Rates:
    """Counts by second, of the last ten."""

    _SECONDS = 10

    def __init__(self) -> None:
        self._counts: deque[tuple[int, int, int]] = deque(maxlen=self._SECONDS + 1)
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def count(self, now: float, *, readings: int = 0, anomalies: int = 0) -> None:
        second = int(now)
        with self._lock:
            if self._counts and self._counts[-1][0] == second:
                _, before, before_anomalies = self._counts.pop()
                readings, anomalies = readings + before, anomalies + before_anomalies
            self._counts.append((second, readings, anomalies))

    def now(self, now: float) -> Rate:
        length = min(float(self._SECONDS), max(1.0, now - self._began))
        with self._lock:
            recent = [entry for entry in self._counts if entry[0] > now - self._SECONDS]
        return Rate(sum(entry[1] for entry in recent) / length, sum(entry[2] for entry in recent) / length)


def _read_again(consumer: Any, messages: Sequence[Any]) -> None:
    """Go back to the first of these messages in each of their partitions."""
    first = {(message.topic(), message.partition()): message.offset() for message in reversed(messages)}
    for (topic, partition), offset in first.items():
        consumer.seek(TopicPartition(topic, partition, offset))


def _is_good(message: Any) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        raise KafkaException(error)
    return False  # librdkafka gets over it by itself


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else error
    return said.str() if hasattr(said, "str") else str(error)


def _consumer_config(kafka: KafkaSettings) -> dict[str, Any]:
    return {
        **client_config(kafka, **{"group.id": "sigmawatch-live", "fetch.wait.max.ms": 100}),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "latest",
        # What clients get is to be fresh: no megabytes of readings wait here.
        "queued.max.messages.kbytes": 8192,
    }
