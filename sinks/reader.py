"""The messages of the logs that the group gives to this sink: a thin shell around confluent_kafka's consumer.

Where a sink stands is written in its store, not in Kafka. So a new assignment does not begin to flow: `read`
returns nothing and `unplaced` is true until the sink has looked up its positions and calls `start_at`.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import TopicError
from sinks.kafka import RESET_CODES, TopicIds, log_bounds
from sinks.logs import LogId
from sinks.patience import patiently

if TYPE_CHECKING:
    from concurrent.futures import Future

_LOG = structlog.get_logger(__name__)

_IDLE_SECONDS = 0.2  # how long a quiet sink waits for a first message, and so for a signal
_TOPIC_ID_SECONDS = 5.0  # a topic that is recreated while we read is noticed after this long
_COMPLAINT_SECONDS = 60.0  # how often the same complaint is worth a line

TopicAndPartition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Standing:
    """What Kafka says of logs: ids of their topics, (first offset, offset behind the last), committed offsets if asked."""

    topic_ids: Mapping[str, str]
    bounds: Mapping[TopicAndPartition, tuple[int, int]]
    committed: Mapping[TopicAndPartition, int]

    @property
    def logs(self) -> dict[TopicAndPartition, LogId]:
        """The logs by topic and partition."""
        return {key: LogId(key[0], self.topic_ids[key[0]], key[1]) for key in self.bounds}


class Reader:
    """Reads topics as a member of a group. For one thread; callbacks come from within `read` and `close`.

    Args:
        config: librdkafka's options, `sinks.kafka.consumer_defaults` among them.
        topics: what to read; those missing are waited for.
        release: called before partitions are given away, with True when they are lost already. It should write what it
            has and commit; it must not call this object but for `commit`.
    """

    def __init__(
        self, config: Mapping[str, Any], topics: Sequence[str], release: Callable[[bool], None]
    ) -> None:
        self._release = release
        self._consumer = Consumer({**config, "error_cb": self._complain})
        self._topic_ids = TopicIds(_admin(config), topics)
        self._question: dict[str, Future[Any]] | None = None
        self._asked_at = time.monotonic()
        self._known_ids: dict[str, str] = {}
        self._complaints: dict[object, float] = {}
        self.assigned: list[TopicAndPartition] = []
        """Partitions that the group gave us."""
        self.unplaced = False
        """Whether `start_at` must be called before anything flows."""
        self.out_of_range: set[TopicAndPartition] = set()
        """Logs that do not hold the offset at which they were to be read; cleared by `start_at`."""
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def read(self, limit: int, seconds: float, *, idle: bool) -> list[Message]:
        """Up to `limit` messages; blocks until they are there, `seconds` at most.

        Args:
            limit: how many, at least 1.
            seconds: how long to gather.
            idle: nothing waits to be written, so wait for a first message before gathering.

        Raises:
            TopicError: the broker forbids the topics or the group.
        """
        messages: list[Message] = []
        if idle:
            first = self._consumer.poll(_IDLE_SECONDS)
            messages = [] if first is None else [first]
        if limit > len(messages) and (messages or not idle):
            messages += self._consumer.consume(limit - len(messages), timeout=seconds)
        self._watch_topic_ids()
        good = [message for message in messages if message.error() is None]
        if len(good) < len(messages):
            for message in messages:
                error = message.error()
                if error is not None:
                    self._event(error, message)
        # What was read before the assignment changed, within the same call, is of no assignment of ours.
        return [] if self.unplaced else good

    def topic_ids(self) -> dict[str, str]:
        """Topic -> id, of the topics that are there; blocks.

        Raises:
            KafkaException: the cluster does not answer.
        """
        return self._topic_ids.answer(self._topic_ids.request())

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """(first offset, offset behind the last) of a log; blocks.

        Raises:
            KafkaException: the cluster does not answer.
        """
        return log_bounds(self._consumer, topic, partition)

    def look(
        self,
        stop: Event,
        longest_wait: float,
        *,
        committed: bool = False,
        on_pause: Callable[[], object] = lambda: None,
    ) -> "Standing":
        """What Kafka says of the assigned logs; blocks through outages. Topics that are missing are left out.

        Args:
            stop: ends the waiting.
            longest_wait: longest pause between two attempts, in seconds.
            committed: ask for the group's committed offsets, too.
            on_pause: called before each pause.

        Raises:
            StoppedError: told to stop while waiting.
        """
        assigned = list(self.assigned)

        def ask() -> Standing:
            ids = self.topic_ids() if assigned else {}
            there = [key for key in assigned if key[0] in ids]
            offsets = self.committed(there, ids) if committed and there else {}
            return Standing(ids, {key: self.bounds(*key) for key in there}, offsets)

        return patiently(ask, KafkaException, stop, "Kafka", longest_wait, on_pause)

    def start_at(self, positions: Mapping[TopicAndPartition, int], topic_ids: Mapping[str, str]) -> None:
        """Read the assigned partitions from these positions; those left out are not read."""
        self._known_ids = dict(topic_ids)
        self.out_of_range.clear()
        self.unplaced = False
        if not self.assigned:
            return  # an assignment, even an empty one, would disturb a group that we are just joining
        try:
            self._consumer.assign(
                [TopicPartition(topic, partition, offset) for (topic, partition), offset in positions.items()]
            )
        except KafkaException as error:
            # The group took them back at this very moment; its callback comes with the next read.
            _LOG.debug("assignment not accepted", reason=str(error))

    def lag(self, positions: Mapping[TopicAndPartition, int]) -> dict[TopicAndPartition, int]:
        """Messages behind the newest that the last fetch told of; does not block."""
        lags = {}
        for (topic, partition), position in positions.items():
            try:
                _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            except KafkaException:
                continue
            if high >= 0:
                lags[topic, partition] = max(0, high - position)
        return lags

    def committed(
        self, partitions: Iterable[TopicAndPartition], topic_ids: Mapping[str, str]
    ) -> dict[TopicAndPartition, int]:
        """What the group committed to Kafka in this life of the topics; those without are left out. Blocks.

        Raises:
            KafkaException: the cluster does not answer.
        """
        asked = [TopicPartition(topic, partition) for topic, partition in partitions]
        found = self._consumer.committed(asked, timeout=10.0)
        return {
            (entry.topic, entry.partition): entry.offset
            for entry in found
            if entry.offset >= 0 and entry.metadata in (None, "", topic_ids.get(entry.topic))
        }

    def commit(self, positions: Mapping[TopicAndPartition, int], *, wait: bool) -> None:
        """Tell Kafka where we are, and in which life of the topic; a failure is logged, the store knows it too."""
        if not positions:
            return
        offsets = [
            TopicPartition(topic, partition, offset, self._known_ids.get(topic, ""))
            for (topic, partition), offset in positions.items()
        ]
        try:
            if wait:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            _LOG.debug("offsets not committed", reason=str(error))

    def close(self) -> None:
        """Leave the group; calls `release` for what is still assigned. Blocks for some seconds at most."""
        self._consumer.close()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.assigned = [(entry.topic, entry.partition) for entry in partitions]
        self.unplaced = True
        consumer.assign([])
        _LOG.info("partitions assigned", partitions=_by_topic(self.assigned))

    def _on_revoke(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self._give_up(lost=False)

    def _on_lost(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self._give_up(lost=True)

    def _give_up(self, *, lost: bool) -> None:
        _LOG.info("partitions lost" if lost else "partitions revoked", partitions=_by_topic(self.assigned))
        self._release(lost)
        self.assigned = []
        self.unplaced = True

    def _watch_topic_ids(self) -> None:
        """Ask now and then; a topic under another id than the one we read is another log."""
        now = time.monotonic()
        if self._question is None:
            if self.assigned and now - self._asked_at >= _TOPIC_ID_SECONDS:
                self._asked_at = now
                self._question = self._topic_ids.request()
            return
        if not all(future.done() for future in self._question.values()):
            return
        question, self._question = self._question, None
        try:
            found = self._topic_ids.answer(question)
        except KafkaException as error:
            _LOG.debug("topic ids not told", reason=str(error))
            return
        recreated = [topic for topic, known in self._known_ids.items() if found.get(topic, known) != known]
        if recreated:
            _LOG.warning("topics were recreated, reading them from their start", topics=recreated)
            self.unplaced = True

    def _event(self, error: KafkaError, message: Message) -> None:
        code = error.code()
        topic, partition = message.topic(), message.partition()
        if code in RESET_CODES and topic is not None and partition is not None:
            self.out_of_range.add((topic, partition))
            self.unplaced = True
        elif code in (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError._FATAL,  # noqa: SLF001
        ):
            raise TopicError(f"the broker refuses: {error.str()}", "See the group's and the topics' rights.")
        else:
            self._complain(error)

    def _complain(self, error: KafkaError) -> None:
        now = time.monotonic()
        if now - self._complaints.get(error.code(), -_COMPLAINT_SECONDS) >= _COMPLAINT_SECONDS:
            self._complaints[error.code()] = now
            _LOG.warning("kafka", reason=error.str())


def _admin(config: Mapping[str, Any]) -> AdminClient:
    """An admin client with a consumer's connection options."""
    of_groups = (
        "group.",
        "enable.auto.",
        "auto.",
        "session.",
        "heartbeat.",
        "max.poll.",
        "isolation.",
        "partition.",
    )
    of_fetching = ("fetch.", "queued.", "max.partition.", "enable.partition.eof", "check.crcs", "offset.")
    of_application = ("logger", "stats_cb", "error_cb", "statistics.")
    skipped = of_groups + of_fetching + of_application
    # What it has to say comes as exceptions; its log lines would repeat the consumer's.
    return AdminClient(
        {name: value for name, value in config.items() if not name.startswith(skipped)} | {"log_level": 0}
    )


def _by_topic(partitions: Iterable[TopicAndPartition]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        found.setdefault(topic, []).append(partition)
    return found
