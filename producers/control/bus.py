"""The two topics by which the workers of a fleet reach each other: every worker reads all of both, from their ends."""

from collections.abc import Callable, Iterable, Sequence
from threading import Event, Lock, Thread
from typing import Any, Self

import structlog
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import PublishError, TopicError
from schemas.kafka import Publisher, client_config, new_client
from schemas.settings import KafkaSettings, Settings

_log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 10.0
# Beyond it nobody waits for a command any more; the broker need not have it after an outage.
_MESSAGE_TIMEOUT_MS = 60_000

OnMessage = Callable[[bytes | None], None]
_Place = tuple[str, int]


class Bus:
    """Reads both topics on a thread of its own, between `start` and `close`; sends from any thread.

    Args:
        kafka: the cluster.
        commands, replies: the topics.

    Raises:
        ConfigError: the cluster's options are not usable.
    """

    def __init__(self, kafka: KafkaSettings, commands: str, replies: str) -> None:
        self._kafka = kafka
        self._commands, self._replies = commands, replies
        self._handlers: dict[str, OnMessage] = {}
        config = client_config(kafka, **{"linger.ms": 0, "message.timeout.ms": _MESSAGE_TIMEOUT_MS})
        self._publisher = Publisher(config)
        self._lock = Lock()  # a Publisher is for one thread at a time
        self._ends: dict[_Place, int] = {}
        self._ready = Event()
        self._stop = Event()
        self._thread: Thread | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The bus that the settings describe: `kafka`, `topics.commands` and `topics.replies`."""
        return cls(settings.kafka, settings.topics.commands, settings.topics.replies)

    def start(self, on_command: OnMessage, on_reply: OnMessage) -> None:
        """Begin to read; blocks until the broker has told which topics there are.

        Args:
            on_command, on_reply: called with each message's value, on the bus's thread; must not raise, nor block.

        Raises:
            TopicError: a topic is missing, or the broker does not answer.
            ConfigError: the cluster's options are not usable.
        """
        consumer = new_client(Consumer, _consumer_config(self._kafka))
        try:
            places = _places(consumer, (self._commands, self._replies))
        except TopicError:
            consumer.close()
            raise
        self._handlers = {self._commands: on_command, self._replies: on_reply}
        consumer.assign([TopicPartition(topic, number, OFFSET_END) for topic, number in places])
        self._thread = Thread(
            target=self._run, args=(consumer, frozenset(places)), name="control-bus", daemon=True
        )
        self._thread.start()

    def wait_until_ready(self, timeout: float) -> bool:
        """Whether both topics are being read, within `timeout` seconds."""
        return self._ready.wait(timeout)

    def close(self) -> None:
        """End; blocks for some tenths of a second, while what was sent is on its way for two seconds at most."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            try:
                self._publisher.close(2.0)
            except PublishError as error:
                _log.info("not all messages to other workers have reached the broker", error=str(error))

    def send_command(self, value: bytes) -> None:
        """Put a request where every worker reads it.

        Raises:
            PublishError: it cannot be sent.
        """
        # One partition, so that all workers carry out commands in one order.
        self._send(self._commands, (value,), partition=0)

    def send_replies(self, values: Sequence[bytes]) -> None:
        """Put a reply's parts where every worker reads them.

        Raises:
            PublishError: they cannot be sent.
        """
        self._send(self._replies, values, partition=0)

    def _send(self, topic: str, values: Iterable[bytes], *, partition: int) -> None:
        with self._lock:
            self._note_refused()
            for value in values:
                self._publisher.send(topic, None, value, partition=partition)

    def _note_refused(self) -> None:
        try:
            self._publisher.poll()
        except PublishError as error:  # of an earlier message, whose sender has waited in vain
            _log.warning("a message to other workers was lost", error=str(error))

    def _run(self, consumer: Any, places: frozenset[_Place]) -> None:
        try:
            while not self._stop.is_set():
                message = consumer.poll(_POLL_SECONDS)
                if message is not None:
                    self._take(consumer, message, places)
                else:
                    with self._lock:
                        self._note_refused()
        finally:
            consumer.close()

    def _take(self, consumer: Any, message: Message, places: frozenset[_Place]) -> None:
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
            _log.debug(
                "the topics of control cannot be read now", error=error.str()
            )  # it gets over it by itself
            return
        place, offset = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
        if place not in self._ends:
            self._ends[place] = _end_of(consumer, place, offset)
            if self._ends.keys() >= places:
                self._ready.set()
        if error is None and offset >= self._ends[place]:
            self._handlers[place[0]](message.value())


def _end_of(consumer: Any, place: _Place, offset: int) -> int:
    """The end of a partition as the first fetch told it: what is before is older than this process.

    Some brokers (Tansu) answer the question for the end with the beginning of the last batch.
    """
    _, high = consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
    return max(int(high), offset)


def _consumer_config(kafka: KafkaSettings) -> dict[str, Any]:
    return {
        **client_config(kafka, **{"group.id": "sigmawatch-control", "fetch.wait.max.ms": 100}),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "latest",
        "enable.partition.eof": True,
    }


def _places(consumer: Any, topics: Iterable[str]) -> list[_Place]:
    try:
        # Without a topic's name: a broker that creates topics on demand would create it.
        found = consumer.list_topics(timeout=_ANSWER_SECONDS).topics
    except KafkaException as error:
        raise TopicError(
            f"topics cannot be listed: {error.args[0].str()}", "Is the broker reachable?"
        ) from error
    if missing := [topic for topic in topics if topic not in found or not found[topic].partitions]:
        raise TopicError(
            f"there is no topic {' and no topic '.join(missing)}",
            "Make them with `sigmawatch topics create`.",
        )
    return [(topic, number) for topic in topics for number in found[topic].partitions]
