"""Anomalies from Kafka to an MQTT broker, at least once: an offset is committed when the broker has acknowledged all before it.

One thread has both connections. While the MQTT broker is away, some messages are kept, then none are read; after a crash those that
were not committed are published again, with the same anomaly_id.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import Message as KafkaMessage

from schemas.codec import Codec
from schemas.errors import PublishError
from schemas.failpoints import fail_point
from schemas.mqtt.link import LinkDownError
from schemas.mqtt.pauses import Pauses
from schemas.mqtt.publishing import Message, Publishing
from schemas.readings import Anomaly
from sinks.anomalies import AnomalyReader
from sinks.consuming import GATHER_SECONDS, ConsumingSink
from sinks.dead_letters import DeadLetter
from sinks.logs import Counts
from sinks.metrics import SinkMetrics
from sinks.mqtt.flight import Flight
from sinks.mqtt.topics import AnomalyTopics, messages_of, status_message
from sinks.reader import Reader, Standing, TopicAndPartition

_LOG = structlog.get_logger(__name__)

_MOST_WAITING = 1_000
_GOODBYE_SECONDS = 5.0


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


class MqttSink(ConsumingSink):
    """Publishes anomalies, and says on a topic of its own whether it is there.

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
        super().__init__(SinkMetrics(), options.consumer, [options.topic], options.longest_wait, clock)
        self._options = options
        self._link = new_link(status_message(options.topics, options.client_id, online=False))
        self._send_dead_letters = send_dead_letters
        self._anomalies = AnomalyReader(
            codec, options.group, self._stop, options.longest_wait, self._still_alive
        )
        self._flight = Flight()
        self._greeting: int | None = None
        self._pauses = Pauses()
        self._connected_at: float | None = None
        self._connect_at = 0.0

    @property
    def ready(self) -> bool:
        """Whether partitions are being read and the MQTT broker is there."""
        return super().ready and self._link.up

    def _turn(self, reader: Reader) -> None:
        room = _MOST_WAITING - len(self._flight.waiting)
        if room > 0:
            idle = not len(self._flight)
            messages = reader.read(min(room, self._options.max_in_flight), GATHER_SECONDS, idle=idle)
            if reader.unplaced:
                self._place(reader)
                return
            if messages:
                self._take(messages)
        else:
            self._stop.wait(GATHER_SECONDS)
        self._publish(GATHER_SECONDS if self._flight.in_flight else 0.0)
        self._commit_when_due(reader)

    def _take(self, messages: Sequence[KafkaMessage]) -> None:
        """Put what messages say on its way; those that say nothing are dead letters."""
        found = list(self._anomalies.read(messages, self._positions))
        letters = [each.letter for each in found if each.letter is not None]
        # The letters first: what is in flight without a message counts as arrived, and may be committed.
        self._send_dead_letters(letters)
        for each in found:
            self._positions[each.key] = each.offset + 1
            self._flight.add(each.key, each.offset, self._messages(each.anomaly))
        good = sum(each.anomaly is not None for each in found)
        self.metrics.count(self._options.topic, Counts(stored=good, dead_letters=len(letters)))

    def _messages(self, anomaly: Anomaly | None) -> list[Message]:
        """What is published of an anomaly; nothing where there is none."""
        if anomaly is None:
            return []
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

    def _standing(self, found: Standing) -> dict[TopicAndPartition, int]:
        return {key: found.committed.get(key, low) for key, (low, _) in found.bounds.items()}

    def _release(self, lost: bool) -> None:
        """Before partitions go: wait a little for what is under way, and commit, unless they are somebody else's."""
        if not lost and self._reader is not None and not self._reader.unplaced:
            deadline = self._clock() + _GOODBYE_SECONDS
            while len(self._flight) and self._link.up and self._clock() < deadline:
                self._publish(GATHER_SECONDS)
            self._uncommitted |= self._flight.arrived()
        super()._release(lost)

    def _forget(self) -> None:
        super()._forget()
        self._flight.clear()

    def _close(self) -> None:
        try:
            if self._link.up:
                self._link.publish(
                    status_message(self._options.topics, self._options.client_id, online=False)
                )
                self._link.turn(GATHER_SECONDS)
        except LinkDownError as error:
            _LOG.debug("no goodbye to the MQTT broker", reason=str(error))
        finally:
            self._link.close()
