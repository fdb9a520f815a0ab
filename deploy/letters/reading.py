"""Dead letters and what was put back, read from Kafka without a group."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING

from deploy.clients import admin_client, require_broker
from deploy.letters.history import Ledger
from deploy.letters.letter import Letter, Place, as_bytes, letter_of
from deploy.reading import ends_of, offset_of, place_of, plain_consumer, read_range, watermarks
from schemas.dead_letters import DeadLetterReason, TimeBounds, dlq_topic, redriven_topic
from schemas.errors import CodecError, SigmawatchError, TopicError

if TYPE_CHECKING:
    from schemas.codec import Codec
    from schemas.settings import Settings

_DLQ = dlq_topic("")
_FAR = 1 << 62

Ranges = dict[tuple[str, int], tuple[int, int]]
"""(topic, partition) -> offsets from, up to before."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """A dead-letter topic and the topic that it belongs to."""

    topic: str
    """Of the originals."""

    @property
    def letters(self) -> str:
        """The dead-letter topic."""
        return dlq_topic(self.topic)

    @property
    def ledger(self) -> str:
        """The topic of what was put back."""
        return redriven_topic(self.topic)


def existing_topics(settings: "Settings") -> dict[str, int]:
    """Topic -> number of its partitions.

    Raises:
        UnreachableError: the broker does not answer.
    """
    found = require_broker(settings, admin_client(settings)).topics
    return {name: len(topic.partitions) for name, topic in found.items() if topic.partitions}


def letterboxes(settings: "Settings", named: Iterable[str], existing: Mapping[str, int]) -> list[Letterbox]:
    """The dead-letter topics that are meant: those named, with `.dlq` or without, else all three of ours that there are.

    Raises:
        TopicError: one that is named is not there, or none is.
    """
    topics = settings.topics
    ours = [Letterbox(name) for name in (topics.readings, topics.anomalies, topics.devices)]
    chosen = [Letterbox(name.removesuffix(_DLQ)) for name in dict.fromkeys(named)]
    for box in chosen:
        if box.letters not in existing:
            there = ", ".join(sorted(name for name in existing if name.endswith(_DLQ))) or "none"
            raise TopicError(f"there is no topic {box.letters!r}", f"Dead-letter topics are: {there}.")
    found = chosen or [box for box in ours if box.letters in existing]
    if not found:
        raise TopicError("there are no dead-letter topics", "Make them with `sigmawatch topics create`.")
    return found


def ranges_of(settings: "Settings", topics: Iterable[str]) -> Ranges:
    """What topics hold now.

    Raises:
        TopicError: one is missing.
        UnreachableError: the broker does not answer.
    """
    ends = ends_of(settings, topics)
    consumer = plain_consumer(settings)
    try:
        bounds = watermarks(settings, consumer, ends)
    finally:
        consumer.close()
    return {place: (bounds[place][0], end) for place, end in ends.items()}


def whole(topics: Iterable[str], existing: Mapping[str, int]) -> Ranges:
    """All that topics hold, up to whatever is their end when it is reached; those that are not there are left out."""
    return {
        (topic, number): (OFFSET_BEGINNING, _FAR)
        for topic in topics
        for number in range(existing.get(topic, 0))
    }


def read_letters(
    settings: "Settings", ranges: Ranges, tell: Callable[[int], None] = lambda _done: None
) -> Iterator[Letter]:
    """The letters in some ranges of dead-letter topics; `tell` hears how many so far."""
    done = 0
    for messages in read_range(settings, ranges):
        for message in messages:
            yield letter_of(message)
        done += len(messages)
        tell(done)


def read_ledger(settings: "Settings", boxes: Iterable[Letterbox], existing: Mapping[str, int]) -> Ledger:
    """What was put back, of these topics; transactions that did not come to their end do not count."""
    ledger = Ledger()
    for messages in read_range(settings, whole([box.ledger for box in boxes], existing)):
        for message in messages:
            ledger.take(as_bytes(message.key()), as_bytes(message.value()))
    return ledger


def newest_offsets(
    settings: "Settings", wanted: set[tuple[str, int, bytes]], existing: Mapping[str, int]
) -> Mapping[tuple[str, int, bytes], int]:
    """(topic, partition, key) -> offset of the key's newest message, of those wanted that have any; reads the topics."""
    newest: dict[tuple[str, int, bytes], int] = {}
    for messages in read_range(settings, whole({topic for topic, _, _ in wanted}, existing)):
        for message in messages:
            key = (*place_of(message), as_bytes(message.key()) or b"")
            if key in wanted:
                newest[key] = max(offset_of(message), newest.get(key, 0))
    return newest


class Verdicts:
    """Says what this version of the program makes of a letter's bytes now.

    Args:
        settings: name the topics, and which times are believed.
        codec: the messages'.
    """

    def __init__(self, settings: "Settings", codec: "Codec") -> None:
        self._topics = settings.topics
        self._codec = codec
        self.bounds = TimeBounds(max_ahead_us=round(settings.processor.max_ahead * 1e6))

    def __call__(self, letter: Letter) -> DeadLetterReason:
        """OK, or the reason for which it would be given up again. Of topics that are not ours it is taken for good.

        Raises:
            RegistryUnavailableError: the schema registry does not answer.
        """
        topic = letter.place.topic.removesuffix(_DLQ)
        try:
            if topic == self._topics.readings:
                return self._reading(letter)
            if topic == self._topics.anomalies:
                self._codec.decode_anomaly(letter.value)
            elif topic == self._topics.devices and letter.value is not None:
                known = bool(self._codec.decode_device(letter.value).device_id)
                return DeadLetterReason.OK if known else DeadLetterReason.BAD_DEVICE_ID
        except CodecError as error:
            return error.reason
        return DeadLetterReason.OK

    def _reading(self, letter: Letter) -> DeadLetterReason:
        import numpy as np  # noqa: PLC0415 - with the compiler behind `columns`, for readings only

        from schemas.columns import decode_readings  # noqa: PLC0415

        timestamps = np.array([letter.timestamp_ms or 0], np.int64)
        columns = decode_readings([letter.value], timestamps, self._codec, self.bounds)
        return DeadLetterReason(int(columns.status[0]))


def letters_about(settings: "Settings", place: Place, existing: Mapping[str, int]) -> list[Letter]:
    """The letters that a place names: the one that stands there, or all those whose message stood there.

    Raises:
        SigmawatchError: there is none.
        TopicError: there is no such topic.
    """
    box = letterboxes(settings, [place.topic], existing)[0]
    every = whole([box.letters], existing)
    if place.topic == box.letters:
        span = (box.letters, place.partition)
        every = {span: (place.offset, place.offset + 1)} if span in every else {}
    found = [one for one in read_letters(settings, every) if place in (one.place, one.origin)]
    if not found:
        raise SigmawatchError(
            f"there is no dead letter {place}",
            "`sigmawatch dlq list` names the newest; older ones may have gone by retention.",
        )
    return found
