"""The compacted topic of devices, read to its end at first, and on when something is missing.

Where does a topic end? ListOffsets is wrong on the embedded broker (it answers the last batch's base offset + 1), but the
end-of-partition events that librdkafka makes of a fetch's high watermark are right. So reading to the end is: assign
the partitions anew, where reading had come to, and read until each has said that it ends.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processors.detection.facts import DeviceFacts, Directory
from schemas.codec import Codec
from schemas.errors import CodecError, RegistryUnavailableError
from schemas.kafka import client_config, new_client
from schemas.readings import Device
from schemas.settings import Settings

log = structlog.get_logger(__name__)

READ_ON_SECONDS = 5.0
"""How long readings wait for what is known of a new device."""

_ANSWER_SECONDS = 5.0
_POLL_SECONDS = 0.2
_POLL_MESSAGES = 10_000
_SAY_EVERY_SECONDS = 10.0
_MESSAGES_SHOWN = 5  # bad records that are named one by one

_REFUSED = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
_GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}  # noqa: SLF001 - librdkafka's names


class DirectoryReader:
    """Fills a `Directory` from the topic; its methods block, and may be called from any thread.

    A topic that is not there, or may not be read, is like an empty one. Nothing is connected before the first call.

    Args:
        settings: the cluster's, and the topic's name.
        codec: the messages', for this reader alone.
        directory: filled.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        directory: Directory,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.topic = settings.topics.devices
        self._config = {
            **client_config(settings.kafka, **{"fetch.wait.max.ms": 100}),
            "group.id": f"{settings.processor.group}-devices",  # never joined, nothing is committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_uncommitted",
        }
        self._codec = codec
        self._directory = directory
        self._clock = clock
        self._consumer: Any = None
        self._positions: dict[int, int] = {}
        self._bad = 0
        self._loaded = False
        self._given_up = False
        self._refused = False
        self._astray = False
        """Whether the consumer may be ahead of what was taken."""
        self._lock = threading.Lock()

    def read_on(self) -> None:
        """Read to the topic's present end; the first time for as long as it takes, later for 5 s at most."""
        with self._lock:
            began = self._clock()
            seconds = READ_ON_SECONDS if self._loaded else None
            if not self._read_to_end(seconds):
                if not self._given_up:
                    log.warning(
                        "devices were not read to their end in time: new ones are judged as of no type",
                        topic=self.topic,
                        seconds=READ_ON_SECONDS,
                    )
                return
            if not self._loaded:
                log.info(
                    "devices read", devices=len(self._directory), seconds=round(self._clock() - began, 1)
                )
            self._loaded = True

    def follow(self) -> None:
        """Take what came since, without looking for the end; nothing before the first `read_on`."""
        with self._lock:
            if not self._loaded or self._given_up:
                return
            if not self._positions or self._astray:  # the topic may be there by now
                self._astray = not self._read_to_end(READ_ON_SECONDS)
                return
            try:
                while self._take(self._consumer.consume(_POLL_MESSAGES, 0.0), set()):
                    pass
            except (KafkaException, RegistryUnavailableError):
                self._astray = True

    def give_up(self) -> None:
        """Wait no longer: the process ends."""
        self._given_up = True

    def close(self) -> None:
        """Let go of the broker; waits for a call that is under way."""
        self.give_up()
        with self._lock:
            if self._consumer is not None:
                self._consumer.close()
                self._consumer = None

    def _read_to_end(self, seconds: float | None) -> bool:
        """Whether the end was reached."""
        began = said = self._clock()
        while not self._given_up:
            try:
                if self._read_once(None if seconds is None else began + seconds):
                    return True
            except KafkaException as error:
                problem = error.args[0]
                if problem.code() in _REFUSED:
                    self._say_refused(problem.str())
                    return True
                reason = problem.str()
            except RegistryUnavailableError as error:
                reason = str(error)
            else:
                reason = "no answer"
            now = self._clock()
            if seconds is not None and now >= began + seconds:
                return False
            if now - said >= _SAY_EVERY_SECONDS:
                log.warning("waiting for the devices", topic=self.topic, reason=reason)
                said = now
            time.sleep(_POLL_SECONDS)
        return False

    def _read_once(self, deadline: float | None) -> bool:
        """Assign, and read until every partition has ended; False at the deadline.

        Raises:
            KafkaException: the broker does not answer, or refuses.
            RegistryUnavailableError: a schema cannot be had now.
        """
        if self._consumer is None:
            self._consumer = new_client(Consumer, self._config)
        # Without the topic's name: a broker that creates topics on demand would create it.
        found = self._consumer.list_topics(timeout=_ANSWER_SECONDS).topics.get(self.topic)
        if found is None or not found.partitions:
            self._positions.clear()
            return True
        self._positions = {number: self._positions.get(number, 0) for number in found.partitions}
        self._consumer.assign(
            [TopicPartition(self.topic, number, offset) for number, offset in self._positions.items()]
        )
        waiting = set(self._positions)
        while waiting and not self._given_up:
            # the first alone: asked for many, it would wait for as many, however soon the first is there
            first = self._consumer.consume(1, _POLL_SECONDS)
            self._take(first + self._consumer.consume(_POLL_MESSAGES, 0.0), waiting)
            if deadline is not None and self._clock() >= deadline:
                break
        return not waiting

    def _take(self, messages: list[Message], waiting: set[int]) -> int:
        """Take messages over; partitions that ended are taken out of `waiting`. Gives how many records there were."""
        records = 0
        for message in messages:
            error, partition = message.error(), message.partition()
            if error is None and partition is not None:
                self._take_record(message)
                self._positions[partition] = (message.offset() or 0) + 1
                records += 1
            elif error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                waiting.discard(-1 if partition is None else partition)
            elif error is not None and error.code() in _GONE:
                waiting.clear()
            elif error is not None and (error.fatal() or error.code() in _REFUSED):
                raise KafkaException(error)
        return records

    def _take_record(self, message: Message) -> None:
        key, value = message.key() or b"", message.value()
        try:
            if value is None:
                self._directory.take(key.decode(), None)
                return
            device = self._codec.decode_device(value)
        except (CodecError, UnicodeDecodeError) as error:
            self._bad += 1
            if self._bad <= _MESSAGES_SHOWN:
                log.warning(
                    "no device record, passed over",
                    topic=self.topic,
                    partition=message.partition(),
                    offset=message.offset(),
                    reason=str(error),
                )
            return
        self._directory.take(device.device_id, facts_of(device))

    def _say_refused(self, reason: str) -> None:
        if not self._refused:
            log.warning(
                "devices may not be read: all are judged as of no type", topic=self.topic, reason=reason
            )
        self._refused = True


def facts_of(device: Device) -> DeviceFacts:
    """What detection needs of a device's record."""
    return DeviceFacts(
        type=device.type,
        place="" if device.location is None else device.location.name,
        manufacturer=device.manufacturer,
        firmware=device.firmware,
    )
