"""Gathering the evidence of a run from Kafka and the database, for `deploy.reconcile` to judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from deploy.clients import codec_of
from deploy.reading import Place, ends_of, offset_of, place_of, read_range
from deploy.reconcile import Evidence, Ledger
from deploy.stack.database import Database
from deploy.stack.watching import PartitionState
from schemas.columns import decode_readings
from schemas.dead_letters import ERROR_HEADERS, TimeBounds, dlq_topic
from schemas.errors import CodecError
from schemas.readings import AnomalyState

if TYPE_CHECKING:
    from confluent_kafka import Message

    from schemas.codec import Codec
    from schemas.settings import Settings

_WHERE = ("topic", "partition", "offset")


@dataclass(frozen=True, slots=True)
class Baseline:
    """Where everything stood before the first reading of a run.

    Attributes:
        ends: (topic, partition) -> where the topics that are read for counting ended.
        partitions: what the processors had counted.
        since: the database's time.
    """

    ends: Mapping[Place, int]
    partitions: Mapping[int, PartitionState]
    since: datetime


def counted_topics(settings: "Settings") -> list[str]:
    """Topics, beside the readings', whose messages are counted."""
    topics = settings.topics
    return [topics.anomalies, *map(dlq_topic, (topics.readings, topics.anomalies, topics.devices))]


def gather(
    settings: "Settings",
    baseline: Baseline,
    ends: Mapping[int, int],
    partitions: Mapping[int, PartitionState],
    acknowledged: int,
    database: Database,
    problems: Sequence[str],
) -> Evidence:
    """Read all that is known of a run; blocks while its readings are read again.

    Args:
        settings: of the run's parts.
        baseline: before it.
        ends: partition of the readings -> offset behind its last reading.
        partitions: what the processors say at its end.
        acknowledged: readings that the producer saw acknowledged.
        database: where all should be stored.
        problems: what was noticed on the way.
    """
    readings, anomalies = settings.topics.readings, settings.topics.anomalies
    codec = codec_of(settings)
    ranges: dict[Place, tuple[int, int]] = {}
    processed: dict[int, int | None] = {}
    for number, end in ends.items():
        before, now = baseline.partitions.get(number), partitions.get(number)
        start = before.next_offset if before is not None else 0
        # What others sent meanwhile was processed too, and is counted with the run's own.
        ranges[readings, number] = start, end if now is None else max(end, now.next_offset)
        processed[number] = None if now is None else now.processed - (before.processed if before else 0)
    after = between(baseline.ends, ends_of(settings, counted_topics(settings)))
    opened = read_opened(settings, codec, {place: r for place, r in after.items() if place[0] == anomalies})
    letters = {place: r for place, r in after.items() if place[0] != anomalies}
    episodes = sum(
        now.episodes - (baseline.partitions[number].episodes if number in baseline.partitions else 0)
        for number, now in partitions.items()
    )
    noticed = list(problems)
    if episodes > len(opened):
        noticed.append(f"the processor opened {episodes} anomalies, their topic has {len(opened)}")
    return Evidence(
        ledger=read_ledger(settings, codec, ranges),
        acknowledged=acknowledged,
        processed=processed,
        stored=database,
        dead_letters=read_dead_letters(settings, letters),
        readings_topic=readings,
        opened=opened,
        anomalies=database.anomalies(sorted(opened, key=str), baseline.since),
        problems=noticed,
    )


def read_ledger(settings: "Settings", codec: "Codec", ranges: Mapping[Place, tuple[int, int]]) -> Ledger:
    """What the readings' topic holds in these ranges of offsets, decoded as the processor decodes it.

    Blocks while it is read, at some 200,000 readings a second.
    """
    ledger = Ledger()
    bounds = TimeBounds(max_ahead_us=round(settings.processor.max_ahead * 1e6))
    for messages in read_range(settings, ranges):
        for (_, partition), group in groupby(sorted(messages, key=_place_and_offset), key=place_of):
            some = list(group)
            values = [_bytes(message) for message in some]
            timestamps = np.fromiter((message.timestamp()[1] for message in some), np.int64, len(some))
            offsets = np.fromiter((offset_of(message) for message in some), np.int64, len(some))
            ledger.add(partition, offsets, decode_readings(values, timestamps, codec, bounds))
    return ledger


def read_opened(settings: "Settings", codec: "Codec", ranges: Mapping[Place, tuple[int, int]]) -> set[UUID]:
    """Ids of the anomalies opened in these ranges of their topic."""
    opened = set()
    for messages in read_range(settings, ranges):
        for message in messages:
            try:
                anomaly = codec.decode_anomaly(_bytes(message))
            except CodecError:
                continue  # the sink makes a dead letter of it
            if anomaly.state is AnomalyState.OPENED:
                opened.add(anomaly.anomaly_id)
    return opened


def read_dead_letters(
    settings: "Settings", ranges: Mapping[Place, tuple[int, int]]
) -> set[tuple[str, int, int]]:
    """(topic, partition, offset) of the messages given up: processor and sink may both have done so."""
    letters = set()
    for messages in read_range(settings, ranges):
        for message in messages:
            origin = _origin(message.headers() or [])
            if origin is not None:
                letters.add(origin)
    return letters


def _origin(headers: Any) -> tuple[str, int, int] | None:
    said = {name.removeprefix(ERROR_HEADERS): value for name, value in headers}
    values = [said.get(name) for name in _WHERE]
    topic, partition, offset = (
        value.decode() if isinstance(value, bytes) else str(value) for value in values
    )
    return (topic, int(partition), int(offset)) if partition.isdecimal() and offset.isdecimal() else None


def _place_and_offset(message: "Message") -> tuple[Place, int]:
    return place_of(message), offset_of(message)


def _bytes(message: "Message") -> bytes | None:
    value = message.value()
    return value.encode() if isinstance(value, str) else value


def between(starts: Mapping[Place, int], ends: Mapping[Place, int]) -> dict[Place, tuple[int, int]]:
    """Ranges of offsets; a place without a start begins at 0."""
    return {place: (starts.get(place, 0), end) for place, end in ends.items()}
