"""Many readings as columns: Avro bodies taken apart in one compiled loop, no Python object per reading.

A Reading's body begins with device_id, metric, time, value in this order (see `schemas/avro/reading`), so the
columns of many messages can be read straight out of the bytes that Kafka delivered. Messages of another
schema version take the slow path through `Codec`, row by row; both give the same columns, which a property
test holds equal to fastavro's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.codec import Codec
from schemas.columns_kernel import SLOW_PATH, decode, judge
from schemas.dead_letters import DeadLetterReason, TimeBounds
from schemas.errors import CodecError
from schemas.readings import Reading

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReadingColumns:
    """n readings over one byte buffer.

    Attributes:
        data: the bytes that the spans below point into.
        device_start, device_end, metric_start, metric_end: (n,) spans of UTF-8 text in `data`.
        time: (n,) event times, µs since 1970 UTC.
        value: (n,) values.
        fault_start, fault_end: (n,) spans of the fault's name; start is -1 where there is none.
        status: (n,) 0 where the reading is fine, else the `DeadLetterReason`; the other columns of such a
            row mean nothing.
    """

    data: Bytes
    device_start: Ints
    device_end: Ints
    metric_start: Ints
    metric_end: Ints
    time: Ints
    value: Floats
    fault_start: Ints
    fault_end: Ints
    status: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.time)

    def device_id(self, row: int) -> str:
        """Device id of a row."""
        return self._text(self.device_start[row], self.device_end[row])

    def metric(self, row: int) -> str:
        """Metric of a row."""
        return self._text(self.metric_start[row], self.metric_end[row])

    def fault(self, row: int) -> str | None:
        """Injected fault of a row, if any."""
        start = self.fault_start[row]
        return None if start < 0 else self._text(start, self.fault_end[row])

    def reading(self, row: int) -> Reading:
        """A row as an object."""
        return Reading(
            self.device_id(row),
            self.metric(row),
            int(self.time[row]),
            float(self.value[row]),
            self.fault(row),
        )

    def _text(self, start: int, end: int) -> str:
        return self.data[start:end].tobytes().decode()


def decode_readings(
    values: Sequence[bytes | None], timestamps_ms: Ints, codec: Codec, bounds: TimeBounds
) -> ReadingColumns:
    """Decode message values (wire format) to columns.

    Args:
        values: n message values; None (a tombstone) gets the status NULL_VALUE.
        timestamps_ms: (n,) Kafka timestamps of the messages.
        codec: knows the schemas; asked only for messages of other schema versions.
        bounds: which event times are believed.

    Raises:
        RegistryUnavailableError: a foreign schema id could not be looked up; nothing is wrong with the bytes.
    """
    lengths = np.fromiter((-1 if value is None else len(value) for value in values), np.int64, len(values))
    data = np.frombuffer(b"".join(value for value in values if value is not None), np.uint8)
    end = np.cumsum(np.maximum(lengths, 0))
    start = end - lengths
    start[lengths < 0] = -1
    return decode_reading_spans(data, start, end, timestamps_ms, codec, bounds)


def decode_reading_spans(
    data: Bytes, start: Ints, end: Ints, timestamps_ms: Ints, codec: Codec, bounds: TimeBounds
) -> ReadingColumns:
    """As `decode_readings`, for values that lie in one buffer already: `data[start[i]:end[i]]`; start -1: no value."""
    n = len(start)
    spans = np.empty((6, n), np.int64)
    time, value, status = np.empty(n, np.int64), np.empty(n, np.float64), np.empty(n, np.uint8)
    own_ids = np.fromiter(sorted(codec.reading_prefix_ids()), np.int64)
    decode(
        data,
        start,
        end,
        timestamps_ms,
        own_ids,
        bounds.earliest_us,
        bounds.max_ahead_us,
        spans,
        time,
        value,
        status,
    )
    slow = np.flatnonzero(status == SLOW_PATH)
    if len(slow):
        data = _decode_slowly(
            data, start, end, timestamps_ms, codec, bounds, slow, spans, time, value, status
        )
    return ReadingColumns(
        data, spans[0], spans[1], spans[2], spans[3], time, value, spans[4], spans[5], status
    )


def _decode_slowly(
    data: Bytes,
    start: Ints,
    end: Ints,
    timestamps_ms: Ints,
    codec: Codec,
    bounds: TimeBounds,
    rows: Ints,
    spans: Ints,
    time: Ints,
    value: Floats,
    status: NDArray[np.uint8],
) -> Bytes:
    """Fill `rows` through the codec; returns the buffer with their texts behind it."""
    extra = bytearray()

    def keep(text: str) -> tuple[int, int]:
        begin = len(data) + len(extra)
        extra.extend(text.encode())
        return begin, len(data) + len(extra)

    for row in rows:
        try:
            reading = codec.decode_reading(data[start[row] : end[row]].tobytes())
        except CodecError as error:
            status[row] = error.reason
            continue
        time[row], value[row] = reading.time, reading.value
        spans[0, row], spans[1, row] = keep(reading.device_id)
        spans[2, row], spans[3, row] = keep(reading.metric)
        spans[4, row], spans[5, row] = (-1, -1) if reading.fault is None else keep(reading.fault)
        status[row] = DeadLetterReason.OK
    data = np.concatenate([data, np.frombuffer(bytes(extra), np.uint8)])
    for row in rows:
        if status[row] == DeadLetterReason.OK:
            status[row] = judge(
                data,
                spans[0, row],
                spans[1, row],
                spans[2, row],
                spans[3, row],
                time[row],
                value[row],
                timestamps_ms[row],
                bounds.earliest_us,
                bounds.max_ahead_us,
            )
    return data
