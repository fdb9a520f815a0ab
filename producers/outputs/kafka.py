"""Readings and device records onto Kafka."""

from collections.abc import Sequence

from producers.batches import ReadingBatch, SeriesTable
from producers.publish import Outlet, PartitionCounts, ReadingPublisher
from schemas.codec import Codec
from schemas.readings import Device
from schemas.settings import TopicSettings


class KafkaOutput:
    """A `producers.simulation.simulator.Output` on Kafka.

    Args:
        publisher: only flushed, not closed.
        codec: encodes.
        topics: where to.
        table: names of the series and faults that the batches number; it may grow.

    Raises:
        RegistryUnavailableError: a schema id could not be looked up.
    """

    def __init__(self, publisher: Outlet, codec: Codec, topics: TopicSettings, table: SeriesTable) -> None:
        self._publisher = publisher
        self._codec = codec
        self._topics = topics
        self._readings = ReadingPublisher(publisher, codec, topics.readings, table)

    @property
    def acknowledged(self) -> int:
        """Readings that the broker has."""
        return self._readings.delivery.total()

    @property
    def by_partition(self) -> PartitionCounts:
        """The same, by partition."""
        return self._readings.delivery.by_partition()

    def announce(self, devices: Sequence[Device], now_us: int) -> None:
        """Publish device records; they are acknowledged when this returns, so before the readings that follow.

        Raises:
            PublishError: the broker refused one for good.
        """
        for device in devices:
            self._publisher.send(
                self._topics.devices,
                device.device_id.encode(),
                self._codec.encode_device(device),
                timestamp_ms=now_us // 1000,
            )
        self._publisher.flush()

    def publish(self, batch: ReadingBatch, _until_us: int, now_us: int) -> None:
        """Send a batch in its order; waits while the publisher's queue is full.

        Raises:
            PublishError: the broker refused a message for good.
        """
        if len(batch):
            self._readings.publish(batch, now_us)

    def finish(self, now_us: int) -> None:
        """Nothing is held back."""

    def flush(self) -> None:
        """Wait until everything sent is acknowledged.

        Raises:
            PublishError: the broker refused a message for good.
        """
        self._readings.flush()
