"""A run of records of one partition, as the engine takes it: where each reading stands in the log, and what it says."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.columns import ReadingColumns


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """n consecutive records of one partition.

    Attributes:
        offsets: (n,) Kafka offsets, ascending; a log may have holes.
        timestamps_ms: (n,) Kafka timestamps.
        readings: the decoded values, row by row.
    """

    offsets: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    readings: ReadingColumns
