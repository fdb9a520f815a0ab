"""The real engine, fed outside Kafka: message values in, episodes out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deploy.quality.model import Episode
from processors.engine.batch import ReadingBatch
from processors.engine.book import ProfileBook
from processors.engine.partition import PartitionEngine
from schemas.columns import decode_readings
from schemas.dead_letters import TimeBounds
from schemas.readings import Anomaly, AnomalyState

if TYPE_CHECKING:
    from uuid import UUID

    from schemas.codec import Codec

_EVERY_TIME = TimeBounds(earliest_us=-(2**62))


class MeasuredEngine:
    """An engine with all series in one partition, and what came out of it. Not thread-safe; does no I/O.

    Args:
        book: what each series is judged by.
        codec: reads the message values.
    """

    def __init__(self, book: ProfileBook, codec: "Codec") -> None:
        self._engine = PartitionEngine(book)
        self._codec = codec
        self._next_offset = 0
        self._episodes: dict[UUID, Episode] = {}

    def apply(self, values: Sequence[bytes], time_us: NDArray[np.int64]) -> list[Anomaly]:
        """Let the engine have the next readings; gives the anomalies that they cause.

        Args:
            values: n message values.
            time_us: (n,) their event times, which are the Kafka timestamps, too: nothing is late on its way.
        """
        timestamps_ms = time_us // 1000
        columns = decode_readings(values, timestamps_ms, self._codec, _EVERY_TIME)
        offsets = np.arange(self._next_offset, self._next_offset + len(values), dtype=np.int64)
        self._next_offset += len(values)
        anomalies = self._engine.apply(ReadingBatch(offsets, timestamps_ms, columns)).anomalies
        for anomaly in anomalies:
            self._note(anomaly)
        return anomalies

    @property
    def episodes(self) -> list[Episode]:
        """All episodes so far, in the order in which they were raised."""
        return list(self._episodes.values())

    def _note(self, anomaly: Anomaly) -> None:
        known = self._episodes.get(anomaly.anomaly_id)
        if known is None:
            self._episodes[anomaly.anomaly_id] = Episode(
                anomaly.device_id, anomaly.metric, anomaly.kind, anomaly.opened_at, anomaly.cleared_at
            )
        elif anomaly.state is AnomalyState.CLEARED:
            self._episodes[anomaly.anomaly_id] = replace(
                known, kind=anomaly.kind, cleared_at_us=anomaly.cleared_at
            )
