"""Messages that a sink gives up, on their way to the dead-letter topic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.dead_letters import DeadLetterReason, Headers, dead_letter_headers, dlq_topic
from schemas.kafka import Publisher, client_config
from schemas.settings import Settings

_DETAIL_LENGTH = 500  # what a database says about a row can be long; a header should not be


class Message(Protocol):
    """What is used of confluent_kafka's Message."""

    def key(self) -> bytes | None:
        """The key's bytes."""
        ...

    def value(self) -> bytes | None:
        """The value's bytes; None is a tombstone."""
        ...

    def offset(self) -> int:
        """Where it stands in its partition."""
        ...

    def timestamp(self) -> tuple[int, int]:
        """Kind of timestamp, and ms since 1970."""
        ...

    def headers(self) -> Headers | None:
        """Names and values, in order."""
        ...


@dataclass(slots=True)
class DeadLetter:
    """One message that was given up: where it was, and why. `sent` says that the broker acknowledged it."""

    topic: str
    partition: int
    message: Message
    reason: DeadLetterReason
    detail: str = ""
    sent: bool = field(default=False, compare=False)


class Sender(Protocol):
    """What is used of `schemas.kafka.Publisher`."""

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        partition: int = -1,
        headers: Headers | None = None,
        timestamp_ms: int = 0,
    ) -> None:
        """Hand a message over; blocks while the local queue is full."""
        ...

    def flush(self, timeout: float | None = None) -> None:
        """Block until all is acknowledged."""
        ...


def dead_letter_office_of(settings: Settings, group: str) -> Callable[[Sequence[DeadLetter]], None]:
    """`dead_letter_office` of a consumer group on the broker that the settings name."""
    return dead_letter_office(lambda: Publisher(client_config(settings.kafka)), group)


def dead_letter_office(
    publisher: Callable[[], Sender], consumer: str, stage: str = "VALUE_CONVERTER"
) -> Callable[[Sequence[DeadLetter]], None]:
    """A function that sends dead letters and returns when the broker has acknowledged them.

    It blocks through the broker's outages and raises PublishError when the broker refuses for good. A letter
    that was acknowledged once is not sent again.

    Args:
        publisher: makes the publisher; asked at the first dead letter, as most sinks never see one.
        consumer: the group that gives the messages up.
        stage: what was being done, in Kafka Connect's words.
    """
    sender: Sender | None = None

    def send(letters: Sequence[DeadLetter]) -> None:
        nonlocal sender
        waiting = [letter for letter in letters if not letter.sent]
        if not waiting:
            return
        sender = sender or publisher()
        for letter in waiting:
            message = letter.message
            headers = dead_letter_headers(
                letter.topic,
                letter.partition,
                message.offset(),
                letter.reason,
                stage="TASK_PUT" if letter.reason is DeadLetterReason.REFUSED_BY_DATABASE else stage,
                consumer=consumer,
                detail=letter.detail[:_DETAIL_LENGTH],
            )
            sender.send(
                dlq_topic(letter.topic),
                message.key(),
                message.value(),
                headers=[*(message.headers() or []), *headers],
                timestamp_ms=max(0, message.timestamp()[1]),
            )
        sender.flush()
        for letter in waiting:
            letter.sent = True

    return send
