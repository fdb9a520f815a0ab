"""Dead letters: why a message could not be processed, and the headers that say so.

The headers are Kafka Connect's (KIP-298), so that the tools that read Connect's dead letters read ours.
"""

from dataclasses import dataclass
from enum import IntEnum

Headers = list[tuple[str, bytes]]

_DAY_US = 86_400_000_000


class DeadLetterReason(IntEnum):
    """The closed set of reasons; the number is what the compiled decoders return."""

    OK = 0
    NULL_VALUE = 1
    TOO_SHORT = 2
    BAD_MAGIC = 3
    UNKNOWN_SCHEMA = 4
    UNDECODABLE = 5
    TRAILING_BYTES = 6
    NON_FINITE_VALUE = 7
    TIME_OUT_OF_BOUNDS = 8
    BAD_DEVICE_ID = 9
    BAD_METRIC = 10
    REFUSED_BY_DATABASE = 11

    @property
    def text(self) -> str:
        """The reason as a sentence for people."""
        return _TEXTS[self]


_TEXTS = {
    DeadLetterReason.OK: "nothing is wrong",
    DeadLetterReason.NULL_VALUE: "the message has no value",
    DeadLetterReason.TOO_SHORT: "the message is shorter than the five bytes of the wire format's header",
    DeadLetterReason.BAD_MAGIC: "the first byte is not 0, so this is not the Confluent wire format",
    DeadLetterReason.UNKNOWN_SCHEMA: "the schema id is not known",
    DeadLetterReason.UNDECODABLE: "the body is not what its schema says",
    DeadLetterReason.TRAILING_BYTES: "bytes are left over behind the body",
    DeadLetterReason.NON_FINITE_VALUE: "the value is not a finite number of at most 1e150 in size",
    DeadLetterReason.TIME_OUT_OF_BOUNDS: "the reading's time is out of bounds",
    DeadLetterReason.BAD_DEVICE_ID: "the device id is empty, longer than 255 bytes, or has a NUL in it",
    DeadLetterReason.BAD_METRIC: "the metric is empty, longer than 255 bytes, or has a NUL in it",
    DeadLetterReason.REFUSED_BY_DATABASE: "the database refused the row",
}


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """Which event times are believed; judged against the record's Kafka timestamp, so a replay judges alike.

    A single reading from the far future would make all that follow late, hence `max_ahead_us`.
    """

    earliest_us: int = 0
    max_ahead_us: int = _DAY_US


def dlq_topic(topic: str) -> str:
    """Name of the dead-letter topic of `topic`."""
    return f"{topic}.dlq"


def dead_letter_headers(
    topic: str,
    partition: int,
    offset: int,
    reason: DeadLetterReason,
    *,
    stage: str,
    consumer: str,
    detail: str = "",
) -> Headers:
    """Headers of a dead letter: where it came from, who gave it up and why.

    Args:
        topic: where the message was read.
        partition: likewise.
        offset: likewise; (topic, partition, offset, consumer) tells repeated dead letters apart from new ones.
        reason: why.
        stage: what was being done, in Connect's words (`VALUE_CONVERTER`, `TASK_PUT`).
        consumer: the group that gave the message up.
        detail: what the decoder or the database said, if anything.
    """
    message = f"{reason.text}: {detail}" if detail else reason.text
    values = {
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "connector.name": consumer,
        "task.id": "0",
        "stage": stage,
        "class.name": "sigmawatch",
        "exception.class.name": reason.name,
        "exception.message": message,
        "exception.stacktrace": "",
    }
    return [(f"__connect.errors.{name}", value.encode()) for name, value in values.items()]
