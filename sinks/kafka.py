"""What both sinks ask Kafka about the logs they read: which life of a topic it is, and what it still holds."""

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

NO_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""The all-zero UUID as Kafka writes it: the broker is older than topic ids (Kafka 2.8)."""

_TIMEOUT_SECONDS = 10.0

RESET_CODES = frozenset(
    {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION}  # noqa: SLF001
)
"""Errors by which a consumer says that the offset it should read is not in the log."""


def consumer_defaults(group: str) -> dict[str, Any]:
    """Options of librdkafka for a sink; the user's own win over them.

    Offsets are the sink's business, so nothing is stored, committed or reset by itself. The session is short, as
    a partition without owner is lag, and Tansu lets a group wait half a session at each rebalance.
    """
    return {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 1000,
        # A topic that is made after the sink started is found after this long.
        "topic.metadata.refresh.interval.ms": 10_000,
        # Waiting for the database must not cost the partitions: the fence protects from whoever has them then.
        "max.poll.interval.ms": 900_000,
        "isolation.level": "read_committed",
    }


class TopicIds:
    """Asks which life of each topic the cluster has. `request` does not block, `answer` does.

    Args:
        admin: confluent_kafka's AdminClient.
        topics: of which.
    """

    def __init__(self, admin: Any, topics: Iterable[str]) -> None:
        self._admin = admin
        self._topics = list(topics)

    def request(self) -> dict[str, Future[Any]]:
        """Ask."""
        collection = confluent_kafka.TopicCollection(self._topics)
        futures: dict[str, Future[Any]] = self._admin.describe_topics(
            collection, request_timeout=_TIMEOUT_SECONDS
        )
        return futures

    @staticmethod
    def answer(futures: dict[str, Future[Any]]) -> dict[str, str]:
        """Topic -> id, without topics that are not there; blocks until the answer has come.

        Raises:
            KafkaException: the cluster does not answer.
        """
        found = {}
        for topic, future in futures.items():
            try:
                description = future.result(timeout=2 * _TIMEOUT_SECONDS)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue
                if error.args[0].code() == KafkaError._UNSUPPORTED_FEATURE:  # noqa: SLF001
                    found[topic] = NO_TOPIC_ID
                    continue
                raise
            found[topic] = str(description.topic_id) if description.topic_id is not None else NO_TOPIC_ID
        return found


def log_bounds(consumer: Any, topic: str, partition: int) -> tuple[int, int]:
    """(first offset, offset behind the last) that the log holds; Tansu's second is too low.

    Raises:
        KafkaException: the cluster does not answer.
    """
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_SECONDS)
    return int(low), int(high)
