"""Reading topics without a group: where they end, and what is in them.

A topic's end is taken from the fetch itself (librdkafka's end-of-partition events), not from ListOffsets: the
embedded broker Tansu answers the latter with the last batch's base offset + 1.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from deploy.clients import ANSWER_SECONDS, UnreachableError, unreachable
from schemas.errors import SigmawatchError, TopicError
from schemas.kafka import client_config, new_client, settled

if TYPE_CHECKING:
    from schemas.settings import Settings

POLL_SECONDS = 0.2
_BATCH = 10_000
_SILENCE_SECONDS = 30.0

Place = tuple[str, int]
"""A topic's name and a partition's number."""


def plain_consumer(settings: "Settings") -> Any:
    """A consumer that belongs to no group in effect: it commits nothing, and partitions are assigned by hand.

    Raises:
        ConfigError: librdkafka refuses its options.
    """
    config = client_config(settings.kafka, **{"group.id": "sigmawatch-look", "fetch.wait.max.ms": 100})
    return new_client(
        Consumer,
        {
            **config,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        },
    )


def partitions_of(settings: "Settings", consumer: Any, topic: str) -> list[int]:
    """A topic's partitions.

    Raises:
        TopicError: there is no such topic.
        UnreachableError: the broker does not answer.
    """
    try:
        # Without the topic's name: a broker that creates topics on demand would create it.
        found = consumer.list_topics(timeout=ANSWER_SECONDS).topics
    except KafkaException as error:
        raise unreachable(settings, error) from error
    if topic not in found or not found[topic].partitions:
        ours = ", ".join(sorted(name for name in found if not name.startswith("__"))) or "none"
        raise TopicError(f"there is no topic {topic!r}", f"There are: {ours}.")
    return sorted(found[topic].partitions)


def watermarks(settings: "Settings", consumer: Any, places: Iterable[Place]) -> dict[Place, tuple[int, int]]:
    """First offset and what the broker says of the end, which may be too low but never too high.

    Raises:
        UnreachableError: the broker does not answer.
    """
    try:
        return {
            place: settled(
                partial(consumer.get_watermark_offsets, TopicPartition(*place), timeout=ANSWER_SECONDS)
            )
            for place in places
        }
    except KafkaException as error:
        raise unreachable(settings, error) from error


def ends_of(settings: "Settings", topics: Iterable[str]) -> dict[Place, int]:
    """The true end of each partition of `topics`: the offset that its next message gets.

    Blocks until every partition has answered a fetch.

    Raises:
        TopicError: a topic is missing.
        UnreachableError: the broker does not answer.
    """
    consumer = plain_consumer(settings)
    try:
        places = [(topic, number) for topic in topics for number in partitions_of(settings, consumer, topic)]
        starts = {place: high for place, (_, high) in watermarks(settings, consumer, places).items()}
        ends: dict[Place, int] = {}
        if places:
            for batch in _read(settings, consumer, starts, lambda: False):
                ends |= batch.first_seen
                if len(ends) == len(places):
                    break
        return ends
    finally:
        consumer.close()


def read_range(settings: "Settings", ranges: Mapping[Place, tuple[int, int]]) -> Iterator[list[Message]]:
    """Messages from a first offset up to before a second, in batches; stops where a log ends earlier.

    Raises:
        UnreachableError: the broker sends nothing for half a minute.
    """
    left = {place: end for place, (start, end) in ranges.items() if start < end}
    if not left:
        return
    consumer = plain_consumer(settings)
    try:
        for batch in _read(settings, consumer, {place: ranges[place][0] for place in left}, lambda: not left):
            wanted = [
                message for message in batch.messages if offset_of(message) < ranges[place_of(message)][1]
            ]
            if wanted:
                yield wanted
            for message in batch.messages:
                if offset_of(message) >= left.get(place_of(message), offset_of(message) + 1) - 1:
                    left.pop(place_of(message), None)
            for place in batch.at_end:
                left.pop(place, None)
    finally:
        consumer.close()


def messages_of(
    settings: "Settings", topic: str, *, from_beginning: bool, follow: bool, stop: threading.Event
) -> Iterator[Message]:
    """A topic's messages as they come, until `stop` or, unless `follow`, its end.

    Raises:
        TopicError: there is no such topic.
        UnreachableError: the broker does not answer.
    """
    consumer = plain_consumer(settings)
    try:
        places = [(topic, number) for number in partitions_of(settings, consumer, topic)]
        bounds = watermarks(settings, consumer, places)
        starts = {place: low if from_beginning else high for place, (low, high) in bounds.items()}
        firsts: dict[Place, int] = dict(starts) if from_beginning else {}
        ended: set[Place] = set()

        def done() -> bool:
            return stop.is_set() or (not follow and len(ended) == len(places))

        for batch in _read(settings, consumer, starts, done, patient=follow):
            for place, end in batch.first_seen.items():
                firsts.setdefault(place, end)
            for message in batch.messages:
                if offset_of(message) >= firsts[place_of(message)]:
                    yield message
            ended |= batch.at_end
    finally:
        consumer.close()


def place_of(message: Message) -> Place:
    """Topic and partition of a message that was read."""
    return str(message.topic()), int(message.partition() or 0)


def offset_of(message: Message) -> int:
    """Offset of a message that was read."""
    return int(message.offset() or 0)


@dataclass(slots=True)
class _Batch:
    """What one look at the consumer gave.

    Attributes:
        messages: in the order of each partition.
        first_seen: partitions that answered for the first time, with their true end at that moment.
        at_end: partitions that were read to their end.
    """

    messages: list[Message] = field(default_factory=list)
    first_seen: dict[Place, int] = field(default_factory=dict)
    at_end: set[Place] = field(default_factory=set)


def _read(
    settings: "Settings",
    consumer: Any,
    starts: Mapping[Place, int],
    done: Callable[[], bool],
    *,
    patient: bool = False,
) -> Iterator[_Batch]:
    consumer.assign([TopicPartition(*place, offset) for place, offset in starts.items()])
    heard = time.monotonic()
    answered: set[Place] = set()
    while not done():
        batch = _Batch()
        for message in consumer.consume(_BATCH, POLL_SECONDS):
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
                place = place_of(message)
                if place not in answered:
                    answered.add(place)
                    _, high = consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
                    batch.first_seen[place] = max(high, offset_of(message))
                if error is None:
                    batch.messages.append(message)
                else:
                    batch.at_end.add(place)
            elif not error.retriable() and error.code() not in _PASSING:
                raise SigmawatchError(f"the broker refuses to be read: {error.str()}")
        if batch.messages or batch.at_end:
            heard = time.monotonic()
            yield batch
        elif not patient and time.monotonic() - heard > _SILENCE_SECONDS:
            raise UnreachableError(
                f"the broker at {settings.kafka.bootstrap_servers} sent nothing for {_SILENCE_SECONDS:.0f} s",
                "Is it running?",
            )


_PASSING = {
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    KafkaError._RESOLVE,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
}
"""Errors that librdkafka gets over by itself."""
