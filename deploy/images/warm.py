"""Compile every loop once, so that a container's first start does not: `python -m deploy.images.warm`.

The cache fits the processor it was made on; on another kind the loops are compiled at the first start.
"""

import numpy as np

from processors.engine.batch import ReadingBatch
from processors.engine.partition import PartitionEngine
from processors.engine.settings import DeviationSettings
from producers.encode import ReadingEncoder
from producers.options import SimulateOptions
from producers.simulate import make_fleet
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import TimeBounds
from sinks.timescale.copy_format import encode_rows
from sinks.timescale.plan import first_of_each_key

_MINUTE_US = 60_000_000


def warm() -> int:
    """Take a minute of a small fleet through every compiled loop; gives the number of readings."""
    codec = Codec(Catalogue())
    fleet = make_fleet(SimulateOptions(devices=2, anomaly_probability=0.05))
    simulated = fleet.between(0, _MINUTE_US)
    values = ReadingEncoder(fleet.table, codec).encode(simulated)
    count = len(values)
    timestamps = np.full(count, _MINUTE_US // 1000, np.int64)
    columns = decode_readings(values, timestamps, codec, TimeBounds())
    PartitionEngine(DeviationSettings()).apply(ReadingBatch(np.arange(count), timestamps, columns))
    rows = np.arange(count)
    first_of_each_key(columns, rows)
    encode_rows(columns, rows)
    return count


if __name__ == "__main__":
    warm()
