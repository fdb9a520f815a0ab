"""Compiled loops of `schemas.columns`: Avro's varints, UTF-8 and the Reading's body, over one byte buffer.

Arguments are numpy arrays as `ReadingColumns` describes them; `start` and `end` are positions in `data`.
"""

import numpy as np

from schemas.compiled import compiled
from schemas.dead_letters import DeadLetterReason

MAX_ID_BYTES = 255
HEADER_BYTES = 5

LARGEST_VALUE = 1e150
"""Squares of larger values, and sums of them, are no finite numbers: a single one would blind a window."""

LATEST_TIMESTAMP_MS = 9_000_000_000_000
"""Later Kafka timestamps (the year 2255) would not fit 64 bits as µs with room for bounds."""

SLOW_PATH = 255
"""Status of a row that is left to `Codec`: its schema is not laid out as Reading's own."""

_OK = int(DeadLetterReason.OK)
_NULL_VALUE = int(DeadLetterReason.NULL_VALUE)
_TOO_SHORT = int(DeadLetterReason.TOO_SHORT)
_BAD_MAGIC = int(DeadLetterReason.BAD_MAGIC)
_UNDECODABLE = int(DeadLetterReason.UNDECODABLE)
_TRAILING_BYTES = int(DeadLetterReason.TRAILING_BYTES)
_NON_FINITE_VALUE = int(DeadLetterReason.NON_FINITE_VALUE)
_TIME_OUT_OF_BOUNDS = int(DeadLetterReason.TIME_OUT_OF_BOUNDS)
_BAD_DEVICE_ID = int(DeadLetterReason.BAD_DEVICE_ID)
_BAD_METRIC = int(DeadLetterReason.BAD_METRIC)


@compiled
def read_long(data, position, end):
    """Avro's zig-zag varint: (value, position behind it), position -1 where the bytes are none."""
    shift = 0
    raw = np.uint64(0)
    while position < end and shift < 64:
        byte = data[position]
        position += 1
        if shift == 63 and byte > 1:
            return np.int64(0), -1
        raw |= np.uint64(byte & 0x7F) << np.uint64(shift)
        if byte < 0x80:
            return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1)), position
        shift += 7
    return np.int64(0), -1


@compiled
def is_utf8(data, start, end):
    """Whether the span is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms)."""
    i = start
    while i < end:
        byte = data[i]
        if byte < 0x80:
            i += 1
            continue
        if byte < 0xC2 or byte > 0xF4:
            return False
        more = 1 if byte < 0xE0 else (2 if byte < 0xF0 else 3)
        if i + more >= end:
            return False
        second = data[i + 1]
        if byte == 0xE0 and second < 0xA0:
            return False
        if byte == 0xED and second > 0x9F:
            return False
        if byte == 0xF0 and second < 0x90:
            return False
        if byte == 0xF4 and second > 0x8F:
            return False
        for k in range(1, more + 1):
            if data[i + k] < 0x80 or data[i + k] > 0xBF:
                return False
        i += more + 1
    return True


@compiled
def is_id(data, start, end):
    """Ids are 1 to 255 bytes without NUL (PostgreSQL's text has none)."""
    if end - start < 1 or end - start > MAX_ID_BYTES:
        return False
    for i in range(start, end):
        if data[i] == 0:
            return False
    return True


@compiled
def judge(
    data,
    device_start,
    device_end,
    metric_start,
    metric_end,
    time,
    value,
    timestamp_ms,
    earliest_us,
    max_ahead_us,
):
    """The status of a well-formed reading."""
    if not is_id(data, device_start, device_end):
        return _BAD_DEVICE_ID
    if not is_id(data, metric_start, metric_end):
        return _BAD_METRIC
    if not abs(value) <= LARGEST_VALUE:
        return _NON_FINITE_VALUE
    if time < earliest_us or time > min(timestamp_ms, LATEST_TIMESTAMP_MS) * 1000 + max_ahead_us:
        return _TIME_OUT_OF_BOUNDS
    return _OK


@compiled
def decode(
    data,
    starts,
    ends,
    timestamps_ms,
    own_ids,
    earliest_us,
    max_ahead_us,
    spans,
    times,
    values,
    status,
):
    """Fill the columns of the rows that have Reading's own layout; others get `SLOW_PATH` or their fault."""
    bits = np.empty(1, np.uint64)
    as_float = bits.view(np.float64)
    for row in range(len(starts)):
        position, end = starts[row], ends[row]
        if position < 0:
            status[row] = _NULL_VALUE
            continue
        if end - position < HEADER_BYTES:
            status[row] = _TOO_SHORT
            continue
        if data[position] != 0:
            status[row] = _BAD_MAGIC
            continue
        schema_id = 0
        for k in range(1, HEADER_BYTES):
            schema_id = schema_id << 8 | np.int64(data[position + k])
        own = False
        for k in range(len(own_ids)):
            own = own or own_ids[k] == schema_id
        if not own:
            status[row] = SLOW_PATH
            continue
        position += HEADER_BYTES
        status[row] = _UNDECODABLE
        length, position = read_long(data, position, end)
        if position < 0 or length < 0 or length > end - position:
            continue
        spans[0, row], spans[1, row] = position, position + length
        length, position = read_long(data, position + length, end)
        if position < 0 or length < 0 or length > end - position:
            continue
        spans[2, row], spans[3, row] = position, position + length
        time, position = read_long(data, position + length, end)
        if position < 0 or end - position < 9:  # a double and the union's index
            continue
        raw = np.uint64(0)
        for k in range(7, -1, -1):
            raw = raw << np.uint64(8) | np.uint64(data[position + k])
        bits[0] = raw
        branch, position = read_long(data, position + 8, end)
        if position < 0 or branch < 0 or branch > 1:
            continue
        spans[4, row] = spans[5, row] = -1
        if branch == 1:
            length, position = read_long(data, position, end)
            if position < 0 or length < 0 or length > end - position:
                continue
            spans[4, row], spans[5, row] = position, position + length
            position += length
            if not is_utf8(data, spans[4, row], spans[5, row]):
                continue
        if not (is_utf8(data, spans[0, row], spans[1, row]) and is_utf8(data, spans[2, row], spans[3, row])):
            continue
        if position != end:
            status[row] = _TRAILING_BYTES
            continue
        times[row], values[row] = time, as_float[0]
        status[row] = judge(
            data,
            spans[0, row],
            spans[1, row],
            spans[2, row],
            spans[3, row],
            time,
            as_float[0],
            timestamps_ms[row],
            earliest_us,
            max_ahead_us,
        )
