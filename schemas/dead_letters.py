"""Dead letters: why a message could not be processed, and the headers that say so.

The headers are Kafka Connect's (KIP-298), so that the tools that read Connect's dead letters read ours.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

Headers = list[tuple[str, bytes]]

ERROR_HEADERS = "__connect.errors."
"""What the names of Kafka Connect's headers begin with."""

REDRIVE_HEADERS = "sigmawatch.redrive."
"""What the names of our headers begin with, on a message that was put back from the dead letters."""

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


def redriven_topic(topic: str) -> str:
    """Name of the topic that keeps which dead letters of `topic` were put back."""
    return f"{dlq_topic(topic)}.redriven"


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
    return [(f"{ERROR_HEADERS}{name}", value.encode()) for name, value in values.items()]


def redrive_headers(letter_id: str, times: int, consumers: Iterable[str]) -> Headers:
    """Headers of a message that is put back onto its topic.

    Args:
        letter_id: the original, as `sigmawatch dlq` names it.
        times: how often it was put back, this time counted.
        consumers: the groups that gave it up, for which it is put back.
    """
    groups = sorted(consumers)
    values = {"letter": letter_id, "times": str(times), "for": ",".join(groups)}
    if "" in groups:  # one of them did not give its name: it is for all
        del values["for"]
    return [(f"{REDRIVE_HEADERS}{name}", value.encode()) for name, value in values.items()]


def is_meant_for(headers: Any, consumer: str) -> bool:
    """Whether a message concerns a consumer: False for one that was put back for others, as it took the original.

    Whose effects do not double by a repeated message (a key in a database) need not ask.

    Args:
        headers: a message's, pairs of name and value as Kafka's clients give them; None where it has none.
        consumer: the group.
    """
    for name, value in headers or ():
        if name == f"{REDRIVE_HEADERS}for" and value is not None:
            return consumer.encode() in value.split(b",")
    return True


def without_our_headers(headers: Iterable[tuple[str, bytes]]) -> Headers:
    """The headers that the original had."""
    return [(name, value) for name, value in headers if not name.startswith((ERROR_HEADERS, REDRIVE_HEADERS))]
