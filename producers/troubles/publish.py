"""Troubled readings to Kafka."""

import numpy as np

from producers.batches import SeriesTable
from producers.encode import ReadingCodec, ReadingEncoder
from producers.publish import Delivery, Outlet
from producers.troubles.malform import malform
from producers.troubles.sends import Sends
from producers.troubles.settings import MalformedKind
from schemas.columns_kernel import LATEST_TIMESTAMP_MS
from schemas.dead_letters import TimeBounds
from schemas.readings import Reading

_KINDS = tuple(MalformedKind)


class SendPublisher:
    """Publishes messages to one topic: key the device id, timestamp the time of producing.

    Args:
        publisher: Where to; only flushed, not closed.
        codec: Encodes.
        topic: Which topic.
        table: Names of the series and faults.
        bounds: Which event times the processor believes.

    Attributes:
        delivery: what the topic acknowledged.
        stored: well-formed readings with a time within bounds, each counted once: those that the sink must have.
        out_of_bounds: messages that a wrong clock puts out of bounds: dead letters, beside the malformed ones.

    Raises:
        RegistryUnavailableError: the schema id could not be looked up.
    """

    def __init__(
        self, publisher: Outlet, codec: ReadingCodec, topic: str, table: SeriesTable, bounds: TimeBounds
    ) -> None:
        self._publisher = publisher
        self._encoder = ReadingEncoder(table, codec)
        self._topic = topic
        self._table = table
        self._bounds = bounds
        self.delivery = Delivery(publisher, topic)
        self.stored = 0
        self.out_of_bounds = 0

    def publish(self, sends: Sends, now_us: int) -> None:
        """Send messages in their order; waits while the publisher's queue is full.

        Raises:
            PublishError: the broker refused a message for good.
        """
        timestamp_ms = now_us // 1000
        keys = self._table.keys
        self._publisher.send_many(
            self._topic,
            [keys[series] for series in sends.batch.series.tolist()],
            self.values(sends),
            timestamps_ms=[timestamp_ms] * len(sends),
        )
        self._judge(sends, timestamp_ms)

    def values(self, sends: Sends) -> list[bytes | None]:
        """The message values of `sends`, in their order."""
        values: list[bytes | None] = list(self._encoder.encode(sends.batch))
        for row in np.flatnonzero(sends.malformed).tolist():
            value = values[row]
            assert value is not None
            values[row] = malform(_KINDS[sends.malformed[row] - 1], value, self._reading(sends, row))
        return values

    def flush(self) -> None:
        """Wait until everything sent is acknowledged.

        Raises:
            PublishError: the broker refused a message for good.
        """
        self._publisher.flush()

    def _reading(self, sends: Sends, row: int) -> Reading:
        series = int(sends.batch.series[row])
        names = self._table.device_ids[series], self._table.metrics[series]
        return Reading(*names, int(sends.batch.time[row]), float(sends.batch.value[row]))

    def _judge(self, sends: Sends, timestamp_ms: int) -> None:
        """Count what the processor and the sink make of well-formed messages."""
        time = sends.batch.time
        latest = min(timestamp_ms, LATEST_TIMESTAMP_MS) * 1000 + self._bounds.max_ahead_us
        formed = sends.malformed == 0
        within = (time >= self._bounds.earliest_us) & (time <= latest)
        self.out_of_bounds += int(np.count_nonzero(formed & ~within))
        self.stored += int(np.count_nonzero(formed & within & (sends.copy == 0)))
