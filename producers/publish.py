"""From columns to messages: what simulation and replay share."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from producers.batches import ReadingBatch, SeriesTable
from producers.encode import ReadingCodec, ReadingEncoder

PartitionCounts = dict[int, int]
Headers = Sequence[tuple[str, bytes | None]]


class Outlet(Protocol):
    """The part of `schemas.kafka.Publisher` that producers use."""

    @property
    def delivered(self) -> Mapping[tuple[str, int], tuple[int, int]]:
        """(topic, partition) -> (messages acknowledged, last offset)."""

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
        """Hand a message over; waits while the local queue is full."""

    def send_many(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        *,
        timestamps_ms: Sequence[int] | None = None,
    ) -> None:
        """Hand n messages over, in their order."""

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all is acknowledged."""


class Delivery:
    """Counts what a topic acknowledged since this was made, whatever went through the publisher before."""

    def __init__(self, publisher: Outlet, topic: str) -> None:
        self._publisher = publisher
        self._topic = topic
        self._before = self._counts()

    def by_partition(self) -> PartitionCounts:
        """Messages acknowledged, by partition; partitions without any are left out."""
        counts = {
            partition: count - self._before.get(partition, 0) for partition, count in self._counts().items()
        }
        return {partition: count for partition, count in sorted(counts.items()) if count}

    def total(self) -> int:
        """Messages acknowledged."""
        return sum(self.by_partition().values())

    def _counts(self) -> PartitionCounts:
        delivered = dict(self._publisher.delivered)
        return {
            partition: count for (topic, partition), (count, _) in delivered.items() if topic == self._topic
        }


class ReadingPublisher:
    """Publishes batches of readings to one topic: key the device id, timestamp the time of producing.

    Raises:
        RegistryUnavailableError: the schema id could not be looked up.
    """

    def __init__(self, publisher: Outlet, codec: ReadingCodec, topic: str, table: SeriesTable) -> None:
        self._publisher = publisher
        self._encoder = ReadingEncoder(table, codec)
        self._topic = topic
        self._table = table
        self._keys = np.empty(0, object)
        self.delivery = Delivery(publisher, topic)

    def publish(self, batch: ReadingBatch, now_us: int) -> None:
        """Send a batch in its order; waits while the publisher's queue is full.

        Raises:
            PublishError: the broker refused a message for good.
        """
        if len(self._keys) < len(self._table):
            self._keys = np.array(self._table.keys, object)
        self._publisher.send_many(
            self._topic,
            self._keys[batch.series].tolist(),
            self._encoder.encode(batch),
            timestamps_ms=[now_us // 1000] * len(batch),
        )

    def flush(self) -> None:
        """Wait until everything sent is acknowledged.

        Raises:
            PublishError: the broker refused a message for good.
        """
        self._publisher.flush()
