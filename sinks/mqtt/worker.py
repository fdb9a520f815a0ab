"""Anomalies from Kafka to an MQTT broker, at least once: an offset is committed when the broker has acknowledged all before it.

One thread has both connections. While the MQTT broker is away, some messages are kept, then none are read; after a crash those that
were not committed are published again, with the same anomaly_id.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import Message as KafkaMessage

from schemas.codec import Codec
from schemas.dead_letters import is_meant_for
from schemas.errors import CodecError, PublishError
from schemas.failpoints import fail_point
from schemas.mqtt.link import LinkDownError
from schemas.mqtt.pauses import Pauses
from schemas.mqtt.publishing import Message, Publishing
from sinks.anomalies import anomaly_of
from sinks.dead_letters import DeadLetter
from sinks.logs import Counts
from sinks.metrics import SinkMetrics
from sinks.mqtt.flight import Flight
from sinks.mqtt.topics import AnomalyTopics, messages_of, status_message
from sinks.patience import StoppedError
from sinks.reader import Reader, TopicAndPartition

_LOG = structlog.get_logger(__name__)

_GATHER_SECONDS = 0.02
_COMMIT_SECONDS = 1.0
_MOST_WAITING = 1_000
_GOODBYE_SECONDS = 5.0
_STUCK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class MqttSinkOptions:
    """What the sink is told.

    Attributes:
        group: consumer group.
        consumer: librdkafka's options.
        client_id: at the MQTT broker.
        topics: where to.
        topic: Kafka's topic of anomalies.
        retain_open: whether open anomalies are retained, too.
        max_in_flight: messages that are sent and not acknowledged, at most.
        longest_wait: longest pause between two attempts after an outage, in seconds.
    """

    group: str
    consumer: Mapping[str, Any]
    client_id: str
    topics: AnomalyTopics
    topic: str = "anomalies"
    retain_open: bool = False
    max_in_flight: int = 100
    longest_wait: float = 10.0


class MqttSink:
    """Consumes until told to stop. `run` blocks; the other members may be used from other threads.

    Args:
        options: what to read and where to publish.
        codec: knows the schemas.
        new_link: makes the connection to the MQTT broker, of its last will.
        send_dead_letters: sends them and waits for the broker.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        options: MqttSinkOptions,
        codec: Codec,
        new_link: Callable[[Message], Publishing],
        send_dead_letters: Callable[[Sequence[DeadLetter]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics = SinkMetrics()
        self._options = options
        self._codec = codec
        self._link = new_link(status_message(options.topics, options.client_id, online=False))
        self._send_dead_letters = send_dead_letters
        self._clock = clock
        self._stop = threading.Event()
        self._flight = Flight()
        self._greeting: int | None = None
        self._pauses = Pauses()
        self._connected_at: float | None = None
        self._connect_at = 0.0
        self._reader: Reader | None = None
        self._positions: dict[TopicAndPartition, int] = {}
        self._uncommitted: dict[TopicAndPartition, int] = {}
        self._committed_at = self._beat = clock()
        self._running = False

    def run(self) -> None:
        """Publish until `stop`; then wait a little for what is under way, commit and leave the group.

        Raises:
            SigmawatchError: the MQTT broker refuses us, or a message, for good; or Kafka does.
        """
        self._running = True
        try:
            self._reader = Reader(self._options.consumer, [self._options.topic], self._release)
            while not self._stop.is_set():
                self._turn(self._reader)
        except StoppedError:
            _LOG.info("stopped while waiting; what was not published is read again next time")
        finally:
            try:
                if self._reader is not None:
                    self._reader.close()
            finally:
                self._running = False
                self._say_goodbye()

    def stop(self) -> None:
        """Make `run` come to its end; may be called from a signal handler, returns at once."""
        self._stop.set()

    @property
    def ready(self) -> bool:
        """Whether partitions are being read and the MQTT broker is there."""
        return self._running and bool(self._positions) and self._link.up

    @property
    def alive(self) -> bool:
        """Whether a restart would not help."""
        return self._running and self._clock() - self._beat < _STUCK_SECONDS

    def _turn(self, reader: Reader) -> None:
        self._beat = self._clock()
        room = _MOST_WAITING - len(self._flight.waiting)
        if room > 0:
            idle = not len(self._flight)
            messages = reader.read(min(room, self._options.max_in_flight), _GATHER_SECONDS, idle=idle)
            if reader.unplaced:
                self._place(reader)
                return
            self._take(messages)
        else:
            self._stop.wait(_GATHER_SECONDS)
        self._publish(_GATHER_SECONDS if self._flight.in_flight else 0.0)
        if self._clock() - self._committed_at >= _COMMIT_SECONDS:
            self._commit(reader, wait=False)

    def _take(self, messages: Sequence[KafkaMessage]) -> None:
        """Put what messages say on its way; those that say nothing are dead letters."""
        letters = []
        taken: list[tuple[tuple[str, int], int, list[Message]]] = []
        good = 0
        for message in messages:
            key = (message.topic() or "", message.partition() or 0)
            offset = message.offset() or 0
            if offset < self._positions[key]:
                continue
            self._positions[key] = offset + 1
            found: list[Message] = []
            if is_meant_for(message.headers(), self._options.group):
                try:
                    found = self._messages(message)
                    good += 1
                except CodecError as error:
                    letters.append(DeadLetter(*key, message, error.reason, error.message))  # type: ignore[arg-type]
            taken.append((key, offset, found))
        # The letters first: what is in flight without a message counts as arrived, and may be committed.
        self._send_dead_letters(letters)
        for one in taken:
            self._flight.add(*one)
        if messages:
            self.metrics.count(self._options.topic, Counts(stored=good, dead_letters=len(letters)))

    def _messages(self, message: KafkaMessage) -> list[Message]:
        anomaly = anomaly_of(message, self._codec, self._stop, self._options.longest_wait)
        return messages_of(anomaly, self._options.topics, retain_open=self._options.retain_open)

    def _publish(self, seconds: float) -> None:
        """Send what waits, hear what has arrived; connect where there is no connection, when it is time."""
        try:
            if not self._link.up:
                self._connect()
            if self._link.up:
                self._send()
                self._link.turn(seconds)
                self._settle()
        except LinkDownError as error:
            self._settle()
            self._lost(str(error))

    def _connect(self) -> None:
        if self._clock() < self._connect_at:
            return
        self._link.connect(self._stop)
        self._connected_at = self._clock()
        self._greeting = self._link.publish(
            status_message(self._options.topics, self._options.client_id, online=True)
        )
        _LOG.info("connected to the MQTT broker")

    def _lost(self, reason: str) -> None:
        lived = None if self._connected_at is None else self._clock() - self._connected_at
        self._connected_at = self._greeting = None
        self._flight.put_back()
        pause = self._pauses.after(lived) * random.uniform(0.5, 1.0)  # noqa: S311 - not for secrets
        self._connect_at = self._clock() + pause
        if not self._stop.is_set():
            _LOG.warning("no connection to the MQTT broker, trying again", reason=reason)

    def _send(self) -> None:
        most = min(self._options.max_in_flight, self._link.receive_maximum) - (self._greeting is not None)
        while self._flight.waiting and self._flight.in_flight < most:
            self._flight.sent(self._link.publish(self._flight.waiting[0][0]))
            fail_point("mqtt.after_publish")

    def _settle(self) -> None:
        """Take note of what the broker has.

        Raises:
            PublishError: it refuses a message.
        """
        for answer in self._link.take_acknowledgements():
            if answer.refused:
                raise PublishError(
                    f"the MQTT broker refuses a message to {self._flight.topic_of(answer.packet) or 'the status topic'}:"
                    f" {answer.refused}",
                    "May this user write to this topic?",
                )
            if answer.packet == self._greeting:
                self._greeting = None
            else:
                self._flight.acknowledged(answer.packet)
                fail_point("mqtt.after_acknowledgement")
        self._uncommitted |= self._flight.arrived()

    def _commit(self, reader: Reader, *, wait: bool) -> None:
        reader.commit(self._uncommitted, wait=wait)
        self._uncommitted.clear()
        self._committed_at = self._clock()
        self.metrics.show_lags(reader.lag(self._positions))

    def _place(self, reader: Reader) -> None:
        """Ask Kafka where to go on; blocks through outages."""
        self._forget()
        found = reader.look(self._stop, self._options.longest_wait, committed=True)
        for key, (low, high) in found.bounds.items():
            position = found.committed.get(key, low)
            if key in reader.out_of_range and not low <= position <= high:
                _LOG.error("Kafka does not hold what comes next", partition=key, position=position)
                self.metrics.log_resets.labels(key[0]).inc()
                position = low
            self._positions[key] = position
        self.metrics.partitions.set(len(self._positions))
        reader.start_at(self._positions, found.topic_ids)

    def _release(self, lost: bool) -> None:
        """Before partitions go: wait a little for what is under way, and commit, unless they are somebody else's."""
        if not lost and self._reader is not None and not self._reader.unplaced:
            deadline = self._clock() + _GOODBYE_SECONDS
            while len(self._flight) and self._link.up and self._clock() < deadline:
                self._publish(_GATHER_SECONDS)
            self._uncommitted |= self._flight.arrived()
            self._commit(self._reader, wait=True)
        self._forget()

    def _forget(self) -> None:
        self._flight.clear()
        self._uncommitted.clear()
        self._positions = {}

    def _say_goodbye(self) -> None:
        try:
            if self._link.up:
                self._link.publish(
                    status_message(self._options.topics, self._options.client_id, online=False)
                )
                self._link.turn(_GATHER_SECONDS)
        except LinkDownError as error:
            _LOG.debug("no goodbye to the MQTT broker", reason=str(error))
        finally:
            self._link.close()
