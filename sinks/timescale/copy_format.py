"""PostgreSQL's binary COPY, written from columns in one compiled loop: no Python object per row.

The format is in PostgreSQL's manual under COPY, "Binary Format": big-endian throughout; a row is the number of
fields (int16), then for each its length (int32, -1 for NULL) and its bytes. `timestamptz` is µs since 2000-01-01,
`text` its bytes without a terminator, `float8` its IEEE bits.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.columns import ReadingColumns
from schemas.compiled import compiled

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

COPY_COLUMNS = ("device_id", "metric", "time", "value", "fault")
"""The columns of `readings`, in the order in which `encode_rows` writes them."""

_HEADER = np.frombuffer(b"PGCOPY\n\xff\r\n\0" + bytes(8), np.uint8)  # signature, flags, length of extension
_TRAILER = np.frombuffer(b"\xff\xff", np.uint8)
_FIXED_BYTES = 2 + 5 * 4 + 2 * 8  # field count, five lengths, time and value
_EPOCH_2000_US = 946_684_800_000_000


def encode_rows(columns: ReadingColumns, rows: Ints) -> Bytes:
    """The given rows of `columns`, in the given order, as one complete binary COPY stream.

    Args:
        columns: decoded readings; the status of every row in `rows` must be 0.
        rows: (m,) indexes into `columns`.

    Returns:
        (bytes,) what goes to `COPY readings (device_id, metric, time, value, fault) FROM STDIN (FORMAT binary)`.
    """
    faults = np.where(columns.fault_start[rows] < 0, 0, columns.fault_end[rows] - columns.fault_start[rows])
    texts = (
        (columns.device_end[rows] - columns.device_start[rows]).sum()
        + (columns.metric_end[rows] - columns.metric_start[rows]).sum()
        + faults.sum()
    )
    size = len(_HEADER) + len(rows) * _FIXED_BYTES + int(texts) + len(_TRAILER)
    stream = np.empty(size, np.uint8)
    stream[: len(_HEADER)] = _HEADER
    end = _fill(
        stream,
        len(_HEADER),
        columns.data,
        columns.device_start,
        columns.device_end,
        columns.metric_start,
        columns.metric_end,
        columns.time,
        columns.value.view(np.int64),
        columns.fault_start,
        columns.fault_end,
        rows,
    )
    stream[end:] = _TRAILER
    return stream


@compiled
def _put(stream: Bytes, position: int, value: int, count: int) -> int:
    """The lowest `count` bytes of `value`, the highest first; returns the position behind them."""
    for k in range(count):
        stream[position + k] = (value >> (8 * (count - 1 - k))) & 0xFF
    return position + count


@compiled
def _put_text(stream: Bytes, position: int, data: Bytes, start: int, end: int) -> int:
    """A length and the bytes of a span."""
    position = _put(stream, position, end - start, 4)
    for k in range(end - start):
        stream[position + k] = data[start + k]
    return position + end - start


@compiled
def _fill(
    stream: Bytes,
    position: int,
    data: Bytes,
    device_start: Ints,
    device_end: Ints,
    metric_start: Ints,
    metric_end: Ints,
    time: Ints,
    value_bits: Ints,
    fault_start: Ints,
    fault_end: Ints,
    rows: Ints,
) -> int:
    """Write the rows from `position` on; returns the position behind them."""
    for row in rows:
        position = _put(stream, position, 5, 2)
        position = _put_text(stream, position, data, device_start[row], device_end[row])
        position = _put_text(stream, position, data, metric_start[row], metric_end[row])
        position = _put(stream, position, 8, 4)
        position = _put(stream, position, time[row] - _EPOCH_2000_US, 8)
        position = _put(stream, position, 8, 4)
        position = _put(stream, position, value_bits[row], 8)
        if fault_start[row] < 0:
            position = _put(stream, position, -1, 4)
        else:
            position = _put_text(stream, position, data, fault_start[row], fault_end[row])
    return position
