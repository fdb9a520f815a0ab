"""Compile every loop once, so that a container's first start does not: `python -m deploy.images.warm`.

The cache fits the kind of processor it was made on; on another the loops are compiled at the first start.
"""

from collections.abc import Iterator

import numpy as np
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from processors.batches.records import parse_fetch
from processors.engine.batch import ReadingBatch
from processors.engine.partition import PartitionEngine
from producers.encode import ReadingEncoder
from producers.options import SimulateOptions
from producers.simulation.assembling import make_fleet
from producers.simulation.choosing import choose
from producers.simulation.commands import InjectFault, Selector
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_reading_spans, decode_readings
from schemas.dead_letters import TimeBounds
from sinks.timescale.copy_format import encode_rows
from sinks.timescale.plan import first_of_each_key

_MINUTE_US = 60_000_000
_NOW_MS = _MINUTE_US // 1000
_NO_READING = bytes(6)  # the head of a message whose schema id is 0, which nobody has


def warm() -> int:
    """Take a minute of a small fleet through every compiled loop; gives the number of readings.

    Twice: numba compiles anew for arrays of another layout, as a fetch of several batches has, and for writable
    ones, as they are where something in a batch is no reading of ours.
    """
    codec = Codec(Catalogue())
    values = _simulated(codec)
    for batches in ([values], [values, [_NO_READING]]):
        _process(batches, codec)
        _store([value for batch in batches for value in batch], codec)
    return len(values)


def _simulated(codec: Codec) -> list[bytes]:
    fleet = make_fleet(choose(SimulateOptions(fleet="energy", anomaly_rate=0.05)))
    values = ReadingEncoder(fleet.table, codec).encode(fleet.between(0, _MINUTE_US))
    fleet.apply(InjectFault(Selector(), random_one=True, readings=1))
    return values


def _process(batches: list[list[bytes]], codec: Codec) -> None:
    """What a processor does with the answer to one fetch."""
    records = parse_fetch(b"".join(_record_batches(batches)), 0).records
    start, end = records.values
    columns = decode_reading_spans(records.data, start, end, records.timestamps_ms, codec, TimeBounds())
    engine = PartitionEngine()
    engine.apply(ReadingBatch(records.offsets, records.timestamps_ms, columns))
    for name in engine.index.names:
        engine.view(name)


def _record_batches(batches: list[list[bytes]]) -> Iterator[bytes]:
    first = 0
    for values in batches:
        # Message format 2, not compressed, no transaction, no producer's id.
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
        for row, value in enumerate(values):
            builder.append(row, _NOW_MS, b"device", value, [])
        batch = builder.build()
        yield first.to_bytes(8, "big") + bytes(batch[8:])
        first += len(values)


def _store(values: list[bytes], codec: Codec) -> None:
    """What the sink does with a batch."""
    columns = decode_readings(values, np.full(len(values), _NOW_MS, np.int64), codec, TimeBounds())
    good = np.flatnonzero(columns.status == 0)
    first_of_each_key(columns, good)
    encode_rows(columns, good)


if __name__ == "__main__":
    warm()
