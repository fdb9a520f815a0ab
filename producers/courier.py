"""Readings as objects to Kafka: what bridge and ingest share, whose readings come from anywhere in any order."""

from collections.abc import Sequence
from functools import partial

from producers.batches import ReadingBatch, SeriesTable
from producers.encode import ReadingCodec
from producers.publish import Outlet, ReadingPublisher
from schemas.readings import Reading

_SERIES_KEPT = 100_000
"""Series after which the table is begun anew: whoever invents ids must not fill the memory (some 50 MB at most)."""


class Courier:
    """Sends readings to one topic; use it from one thread at a time.

    Args:
        publisher: counts what is acknowledged.
        codec: knows the schema.
        topic: where to.

    Raises:
        RegistryUnavailableError: the schema id could not be looked up.
    """

    def __init__(self, publisher: Outlet, codec: ReadingCodec, topic: str) -> None:
        self._new_publisher = partial(ReadingPublisher, publisher, codec, topic)
        self._begin()

    def _begin(self) -> None:
        self._table = SeriesTable()
        self._publisher = self._new_publisher(self._table)

    def send(self, readings: Sequence[Reading], now_us: int) -> None:
        """Hand readings over in their order; waits while the local queue is full.

        Args:
            readings: checked ones (`producers.checks`).
            now_us: becomes the Kafka timestamp.

        Raises:
            PublishError: the broker refused a message for good.
        """
        if len(self._table) + len(self._table.faults) > _SERIES_KEPT:
            self._begin()
        series, fault = self._table.series, self._table.fault
        batch = ReadingBatch.of(
            [series(reading.device_id, reading.metric) for reading in readings],
            [reading.time for reading in readings],
            [reading.value for reading in readings],
            [fault(reading.fault) for reading in readings],
        )
        self._publisher.publish(batch, now_us)
