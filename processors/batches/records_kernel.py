"""Compiled loop over the records of Kafka's record batches (message format 2, KIP-98)."""

import numpy as np

from schemas.compiled import compiled

CORRUPT = -1


@compiled
def read_varint(data, position, end):
    """Protocol-buffer zig-zag varint: (value, position behind it), position -1 where the bytes are none."""
    shift = 0
    raw = np.uint64(0)
    while position < end and shift < 64:
        byte = data[position]
        position += 1
        raw |= np.uint64(byte & 0x7F) << np.uint64(shift)
        if byte < 0x80:
            return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1)), position
        shift += 7
    return np.int64(0), -1


@compiled
def parse_records(
    data,
    batch_start,
    batch_end,
    base_offset,
    base_timestamp,
    append_timestamp,
    batch_records,
    offsets,
    timestamps,
    keys,
    values,
):
    """Fill the columns of all records of some batches.

    Args:
        data: payloads (uncompressed) of the batches, back to back.
        batch_start, batch_end: (b,) a batch's payload in `data`.
        base_offset, base_timestamp: (b,) what the records' deltas count from.
        append_timestamp: (b,) the broker's time for all records of the batch, or -1.
        batch_records: (b,) number of records.
        offsets, timestamps: (n,) results.
        keys, values: (2, n) spans in `data`; start -1 for null.

    Returns:
        Number of records, or CORRUPT where the bytes are not what the batch's head says.
    """
    n = 0
    for batch in range(len(batch_start)):
        position, end = batch_start[batch], batch_end[batch]
        for _ in range(batch_records[batch]):
            size, position = read_varint(data, position, end)
            if position < 0 or size < 1 or size > end - position:
                return CORRUPT
            behind = position + size
            timestamp_delta, position = read_varint(data, position + 1, behind)  # + 1: attributes, unused
            if position < 0:
                return CORRUPT
            offset_delta, position = read_varint(data, position, behind)
            if position < 0:
                return CORRUPT
            for spans in (keys, values):
                length, position = read_varint(data, position, behind)
                if position < 0 or length > behind - position:
                    return CORRUPT
                if length < 0:
                    spans[0, n] = spans[1, n] = -1
                else:
                    spans[0, n] = position
                    position += length
                    spans[1, n] = position
            offsets[n] = base_offset[batch] + offset_delta
            appended = append_timestamp[batch]
            timestamps[n] = base_timestamp[batch] + timestamp_delta if appended < 0 else appended
            n += 1
            position = behind
        if position != end:
            return CORRUPT
    return n
