"""Replaying a recorded topic: every message back into its partition, with its key, value, headers and timestamp."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from rich.console import Console

from producers.clock import MAX_SPEED, Clock, Pace, SystemClock
from producers.progress import progress_bar
from producers.publish import Delivery, Outlet, PartitionCounts
from producers.replay.files import SourceFile
from producers.replay.readings import ReplaySummary
from schemas.errors import InputError, TopicError
from schemas.recording import RecordedMessage, RecordingReader, TimestampType, is_recording

_PROGRESS_MESSAGES = 1_000


def is_recorded_topic(path: Path) -> bool:
    """Whether a file is a recording, packed with gzip or not.

    Raises:
        InputError: it cannot be opened.
    """
    with SourceFile(path) as source:
        return source.head(4).startswith(b"Obj") and is_recording(source.stream)


def replay_recording(
    path: Path,
    publisher: Outlet,
    partition_count: Callable[[str], int | None],
    *,
    topic: str | None = None,
    speed: float = MAX_SPEED,
    clock: Clock | None = None,
    stop: Event | None = None,
    console: Console | None = None,
) -> ReplaySummary:
    """Bring a recorded topic back. Blocks until all is acknowledged; `stop` ends it early, likewise acknowledged.

    Args:
        path: The recording.
        publisher: Where to; only flushed.
        partition_count: Partitions of a topic, None where there is none. Nothing is created.
        topic: Where to, instead of the recorded topic.
        speed: Of the recorded timestamps; max by default.
        clock: Replaced in tests.
        stop: Ends it early.
        console: Where a progress bar goes, if it is a terminal.

    Raises:
        TopicError: the topic is missing, or has fewer partitions than the recorded one; nothing was sent.
        InputError: the recording is damaged; what came before is acknowledged, the message says how much.
        PublishError: the broker refused a message for good.
    """
    clock, stop = clock or SystemClock(), stop or Event()
    began = clock.monotonic()
    with SourceFile(path) as source:
        reader = RecordingReader(source.stream, str(path))
        run = _Run(publisher, partition_count, topic, speed, clock, stop)
        for recorded, partitions in reader.partitions.items():
            run.target(recorded, partitions)
        with progress_bar(console, path.name, source.size or None, in_bytes=True) as bar:
            try:
                for message in reader:
                    if not run.take(message):
                        break
                    if run.summary.rows % _PROGRESS_MESSAGES == 0:
                        bar(source.position(), f"{run.summary.rows:,} messages")
            except InputError as error:
                run.finish()
                count = run.summary.produced
                raise InputError(
                    f"{error.message}; the {count} messages before it are published and acknowledged",
                    error.remedy,
                ) from error
    run.finish()
    run.summary.stopped = stop.is_set()
    run.summary.seconds = clock.monotonic() - began
    return run.summary


@dataclass(frozen=True, slots=True)
class _Target:
    """A topic that is written to."""

    topic: str
    partitions: int
    delivery: Delivery


class _Run:
    """The state of one replay."""

    def __init__(
        self,
        publisher: Outlet,
        partition_count: Callable[[str], int | None],
        topic: str | None,
        speed: float,
        clock: Clock,
        stop: Event,
    ) -> None:
        self.summary = ReplaySummary()
        self._publisher = publisher
        self._partition_count = partition_count
        self._topic = topic
        self._speed = speed
        self._clock = clock
        self._stop = stop
        self._pace: Pace | None = None
        self._targets: dict[str, _Target] = {}
        self._not_exact = dict.fromkeys(_NOTES, 0)

    def target(self, recorded: str, partitions: int) -> _Target:
        """Where messages of a recorded topic go, which must have at least so many partitions."""
        name = self._topic or recorded
        target = self._targets.get(name)
        if target is None:
            found = self._partition_count(name)
            if found is None:
                raise TopicError(
                    f"there is no topic {name!r}", "Create it first, or give another with --topic."
                )
            target = self._targets[name] = _Target(name, found, Delivery(self._publisher, name))
        if target.partitions < partitions:
            raise TopicError(
                f"topic {name!r} has {target.partitions} partitions, the recorded topic {recorded!r} {partitions}",
                "Replay it into a topic with at least as many.",
            )
        return target

    def take(self, message: RecordedMessage) -> bool:
        """Send a message when it is due; False where the replay was stopped instead."""
        target = self.target(message.topic, message.partition + 1)
        time_us = message.timestamp_ms * 1000
        if self._speed != MAX_SPEED:
            self._pace = self._pace or Pace(time_us, self._speed, self._clock)
            delay = self._pace.seconds_until(time_us)
            if delay > 0.0:
                self._clock.wait(delay, self._stop)
        if self._stop.is_set():
            return False
        self._send(target.topic, message)
        summary = self.summary
        summary.rows += 1
        summary.first_us = time_us if summary.first_us is None else min(summary.first_us, time_us)
        summary.last_us = time_us if summary.last_us is None else max(summary.last_us, time_us)
        return True

    def finish(self) -> None:
        """Wait for all acknowledgements, and count them."""
        self._publisher.flush()
        by_partition: PartitionCounts = {}
        for target in self._targets.values():
            for number, count in target.delivery.by_partition().items():
                by_partition[number] = by_partition.get(number, 0) + count
        self.summary.by_partition = by_partition
        self.summary.produced = sum(by_partition.values())
        self.summary.notes = [
            f"{count} messages {_NOTES[kind]}" for kind, count in self._not_exact.items() if count
        ]

    def _send(self, topic: str, message: RecordedMessage) -> None:
        timestamp = message.timestamp_ms
        if message.timestamp_type is TimestampType.NOT_AVAILABLE or timestamp <= 0:
            self._not_exact["no_time"] += 1
            timestamp = 0
        elif message.timestamp_type is TimestampType.LOG_APPEND_TIME:
            self._not_exact["append_time"] += 1
        self._publisher.send(
            topic,
            message.key,
            message.value,
            partition=message.partition,
            headers=message.headers or None,
            timestamp_ms=timestamp,
        )


# What Kafka's producers cannot express.
_NOTES = {
    "no_time": "had no timestamp, or one not after 1970, and got the time of the replay",
    "append_time": "had their timestamps from the broker, and got the same as the producer's "
    "(a topic with message.timestamp.type=LogAppendTime sets its own)",
}
