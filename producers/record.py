"""Recording a topic into a file: every message with all that came with it.

Where does a topic end? On Apache Kafka ListOffsets says it. Tansu answers the last batch's base offset + 1
there, which may lie before the end; but the high watermark in its answers to a fetch is right, as are the
end-of-partition events that librdkafka makes of it. So a partition's end is the larger of the two, both taken
at the start: exact on both brokers, and a topic that is being written to does not keep a recording busy.
"""

import heapq
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import IO, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from rich.console import Console

from producers.clock import Clock, SystemClock
from producers.options import RecordOptions
from producers.progress import Bar, progress_bar
from producers.publish import PartitionCounts
from producers.times import TimeParser
from schemas.errors import ConfigError, InputError, SigmawatchError, TopicError
from schemas.kafka import new_client, settled
from schemas.recording import RecordedMessage, RecordingWriter, TimestampType

_POLL_S = 0.2
_POLL_MESSAGES = 1000
_ANSWER_S = 15.0
# Messages of a partition that waits for others to catch up in time; beyond it the partition is paused.
_BUFFER_BYTES = 8 << 20
_GROUP = "sigmawatch-record"
_TYPES = tuple(TimestampType)


@dataclass(slots=True)
class RecordSummary:
    """What was recorded: messages, by partition, and the size of the file."""

    messages: int = 0
    by_partition: PartitionCounts = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0
    stopped: bool = False


@dataclass(slots=True)
class _Partition:
    """One partition on its way: messages wait in `buffer` until no other partition can have an earlier one."""

    number: int
    position: int
    """Offset to read from: before `start` where that may lie behind the end, for an answer from there may not come."""
    start: int
    end: int | None
    """Offset behind the last message to record; None to follow."""
    earliest_ms: int | None
    """Skip messages before this time until the first one at or after it."""
    buffer: deque[RecordedMessage] = field(default_factory=deque)
    buffered_bytes: int = 0
    end_is_sure: bool = False
    finished: bool = False
    at_end: bool = False
    paused: bool = False

    @property
    def silent(self) -> bool:
        """Whether others need not wait for a message of this partition."""
        return not self.buffer and (self.finished or self.at_end)


def record_topic(
    config: dict[str, Any],
    topic: str,
    path: Path,
    options: RecordOptions | None = None,
    *,
    stop: Event | None = None,
    clock: Clock | None = None,
    console: Console | None = None,
) -> RecordSummary:
    """Record `topic` into `path`.

    Messages come in the order of their timestamps as far as the order within each partition, which is kept, allows.
    The file has its name only when it is complete; until then, and after an error, it is `path` with `.part` behind.

    Args:
        config: librdkafka's settings for a consumer; the group, offsets and end-of-partition events are set here.
        topic: What to record.
        path: Where to.
        options: Which part of the topic.
        stop: Ends it early, with what there is so far recorded.
        clock: Replaced in tests.
        console: Where a progress bar goes, if it is a terminal.

    Raises:
        TopicError: there is no such topic.
        ConfigError: an option makes no sense, or the file exists.
        InputError: the file cannot be written.
        SigmawatchError: the broker refuses or does not answer.
    """
    options, stop, clock = options or RecordOptions(), stop or Event(), clock or SystemClock()
    if options.start == "end" and not options.follow:
        raise ConfigError("there is nothing between the end of a topic and its end", "Give --follow as well.")
    if path.exists() and not options.overwrite:
        raise ConfigError(f"{path} exists", "Give another name, or --overwrite.")
    consumer = new_client(
        Consumer,
        {
            "group.id": _GROUP,
            **config,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
        },
    )
    began = clock.monotonic()
    unfinished = path.with_name(path.name + ".part")
    summary = RecordSummary()
    try:
        partitions = _partitions(consumer, topic, options)
        with unfinished.open("wb") as file:
            messages = _messages(consumer, topic, partitions, options, stop, clock)
            total = None if options.follow else sum((part.end or 0) - part.start for part in partitions)
            with progress_bar(console, f"record {topic}", total) as bar:
                _write(file, {topic: len(partitions)}, messages, options.max_messages, summary, bar)
        summary.bytes = unfinished.stat().st_size
        unfinished.replace(path)
    except KafkaException as error:
        raise SigmawatchError(
            f"topic {topic!r} cannot be recorded: {error.args[0]}", _what_is_left(unfinished, summary)
        ) from error
    except SigmawatchError as error:
        error.remedy = f"{error.remedy} {_what_is_left(unfinished, summary)}".strip()
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        consumer.close()
        if not summary.messages:
            unfinished.unlink(missing_ok=True)
    summary.by_partition = dict(sorted(summary.by_partition.items()))
    summary.stopped = stop.is_set()
    summary.seconds = clock.monotonic() - began
    return summary


def _write(
    file: IO[bytes],
    partitions: dict[str, int],
    messages: Iterator[RecordedMessage],
    maximum: int | None,
    summary: RecordSummary,
    bar: Bar,
) -> None:
    """Write and count messages; what came before an error is written as well."""
    writer = RecordingWriter(file, partitions)
    try:
        for message in messages:
            writer.write(message)
            summary.messages += 1
            summary.by_partition[message.partition] = summary.by_partition.get(message.partition, 0) + 1
            if summary.messages % _POLL_MESSAGES == 0:
                bar(summary.messages)
            if summary.messages == maximum:
                break
    finally:
        writer.flush()
        file.flush()
        os.fsync(file.fileno())


def _what_is_left(unfinished: Path, summary: RecordSummary) -> str:
    return f"The {summary.messages} messages before are in {unfinished}." if summary.messages else ""


def _partitions(consumer: Consumer, topic: str, options: RecordOptions) -> list[_Partition]:
    """The topic's partitions, and where to start and end in each."""
    # Without a topic's name, so that a broker with automatic creation does not create it.
    found = consumer.list_topics(timeout=_ANSWER_S).topics.get(topic)
    if found is None or not found.partitions:
        raise TopicError(f"there is no topic {topic!r}", "`sigmawatch topics check` says which there are.")
    partitions = []
    by_time = _start_time_ms(options.start)
    for number in sorted(found.partitions):
        asked = TopicPartition(topic, number, by_time or 0)
        low, high = settled(partial(consumer.get_watermark_offsets, asked, timeout=_ANSWER_S))
        start = low
        if options.start == "end":
            start = high
        elif by_time is not None:
            answer = settled(partial(consumer.offsets_for_times, [asked], timeout=_ANSWER_S))[0].offset
            start = high if answer < 0 else max(low, answer)
        elif options.start != "beginning":
            start = max(low, int(options.start))
        position = min(start, max(low, high - 1))
        end = None if options.follow else max(start, high)
        partitions.append(_Partition(number, position, start, end, by_time))
    return partitions


def _start_time_ms(start: str) -> int | None:
    """The time that --from gives, None if it is something else.

    Raises:
        ConfigError: it is nothing.
    """
    if start in ("beginning", "end") or start.isdecimal():
        return None
    try:
        return TimeParser("iso").parse(start) // 1000
    except ValueError as error:
        raise ConfigError(
            f"--from: {error}", "Give beginning, end, an offset, or a time in ISO-8601."
        ) from error


def _messages(
    consumer: Consumer,
    topic: str,
    partitions: list[_Partition],
    options: RecordOptions,
    stop: Event,
    clock: Clock,
) -> Iterator[RecordedMessage]:
    """The messages to record, merged by time; ends at the topic's end, or when `stop` is set."""
    by_number = {part.number: part for part in partitions}
    from_end = options.start == "end"
    consumer.assign([TopicPartition(topic, part.number, part.position) for part in partitions])
    last_answer = clock.monotonic()
    while not stop.is_set() and not all(part.finished for part in partitions):
        for message in consumer.consume(_POLL_MESSAGES, _POLL_S):
            number = message.partition()
            if number is not None and number in by_number:
                last_answer = clock.monotonic()
                _take(consumer, by_number[number], message, from_end=from_end)
            elif (error := message.error()) is not None and not _passes(error):
                raise KafkaException(error)
        yield from _in_order(partitions)
        _hold_back(consumer, topic, partitions)
        if not options.follow and clock.monotonic() - last_answer > options.idle_timeout:
            raise SigmawatchError(
                f"the broker sent nothing of topic {topic!r} for {options.idle_timeout:g} s, and not all was read",
                "Is it running?",
            )
    for part in partitions:
        part.finished = True
    yield from _in_order(partitions)


def _take(consumer: Consumer, part: _Partition, message: Message, *, from_end: bool) -> None:
    """Put what the consumer gave for a partition into its buffer, or learn that it has ended."""
    error = message.error()
    at_end = error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's name
    if error is not None and not at_end:
        _judge(error, part)
        return
    if not part.end_is_sure:
        part.end_is_sure = True
        asked = TopicPartition(message.topic() or "", part.number)
        _, high = consumer.get_watermark_offsets(asked, cached=True)
        part.end = None if part.end is None else max(part.end, high)
        part.start = max(part.start, high) if from_end else part.start
    part.at_end = at_end
    if at_end:
        part.finished = part.end is not None
    elif not part.finished:
        _keep(part, _recorded(message))


def _judge(error: KafkaError, part: _Partition) -> None:
    """Raise for an error that librdkafka does not get over."""
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
        raise TopicError(
            f"messages of partition {part.number} were deleted while it was recorded",
            "Record it again.",
        )
    if not _passes(error):
        raise KafkaException(error)


def _keep(part: _Partition, message: RecordedMessage) -> None:
    """Put a message into the buffer if it lies between start and end."""
    if part.end is not None:
        part.finished = message.offset >= part.end - 1
        if message.offset >= part.end:
            return
    if message.offset < part.start or message.timestamp_ms < (part.earliest_ms or message.timestamp_ms):
        return
    part.earliest_ms = None
    part.buffer.append(message)
    part.buffered_bytes += _size(message)


def _in_order(partitions: list[_Partition]) -> Iterator[RecordedMessage]:
    """Take out of the buffers, by time, as long as no partition can still bring something earlier."""
    heads = [(part.buffer[0].timestamp_ms, part.number, part) for part in partitions if part.buffer]
    if any(not part.buffer and not part.silent for part in partitions):
        return
    heapq.heapify(heads)
    while heads:
        _, _, part = heads[0]
        message = part.buffer.popleft()
        part.buffered_bytes -= _size(message)
        yield message
        if part.buffer:
            heapq.heapreplace(heads, (part.buffer[0].timestamp_ms, part.number, part))
        elif part.silent:
            heapq.heappop(heads)
        else:
            return


def _hold_back(consumer: Consumer, topic: str, partitions: list[_Partition]) -> None:
    """Pause the partitions that are far ahead or done; resume those that were caught up with."""
    for part in partitions:
        wanted = part.finished or part.buffered_bytes > (_BUFFER_BYTES // 2 if part.paused else _BUFFER_BYTES)
        if wanted != part.paused:
            part.paused = wanted
            change = consumer.pause if wanted else consumer.resume
            change([TopicPartition(topic, part.number)])


def _recorded(message: Message) -> RecordedMessage:
    kind, timestamp = message.timestamp()
    headers: Any = message.headers() or []
    return RecordedMessage(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=timestamp,
        timestamp_type=_TYPES[kind],
        key=message.key(),
        value=message.value(),
        headers=[(name, value.encode() if isinstance(value, str) else value) for name, value in headers],
    )


def _size(message: RecordedMessage) -> int:
    return 200 + len(message.key or b"") + len(message.value or b"")


def _passes(error: KafkaError) -> bool:
    """Whether librdkafka gets over an error by itself."""
    return error.retriable() or error.code() in (
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
    )
