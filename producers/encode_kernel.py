"""Compiled loop of `producers.encode`: many readings to wire format, into one byte buffer."""

import numpy as np
from numpy.typing import NDArray

from schemas.compiled import compiled

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@compiled
def varint_size(number):
    """Bytes of an int64 as Avro's zig-zag varint."""
    raw = np.uint64((number << np.int64(1)) ^ (number >> np.int64(63)))
    size = 1
    while raw >= np.uint64(128):
        raw >>= np.uint64(7)
        size += 1
    return size


@compiled
def sizes(
    name_start: Ints, fault_start: Ints, header_size: int, series: Ints, time: Ints, fault: Ints, ends: Ints
) -> None:
    """Fill `ends` with the position behind each reading's bytes; `..._start` have one element more than texts."""
    position = 0
    for row in range(len(series)):
        name = series[row]
        position += header_size + name_start[name + 1] - name_start[name] + varint_size(time[row]) + 9
        if fault[row] >= 0:
            position += fault_start[fault[row] + 1] - fault_start[fault[row]]
        ends[row] = position


@compiled
def fill(
    header: Bytes,
    names: Bytes,
    name_start: Ints,
    faults: Bytes,
    fault_start: Ints,
    series: Ints,
    time: Ints,
    value: Floats,
    fault: Ints,
    out: Bytes,
) -> None:
    """Write the readings one behind the other; texts as in `sizes`."""
    as_float = np.empty(1, np.float64)
    as_bits = as_float.view(np.uint64)
    at = 0
    for row in range(len(series)):
        for k in range(len(header)):
            out[at] = header[k]
            at += 1
        for k in range(name_start[series[row]], name_start[series[row] + 1]):
            out[at] = names[k]
            at += 1
        raw = np.uint64((time[row] << np.int64(1)) ^ (time[row] >> np.int64(63)))
        while raw >= np.uint64(128):
            out[at] = np.uint8(raw & np.uint64(127)) | np.uint8(128)
            raw >>= np.uint64(7)
            at += 1
        out[at] = np.uint8(raw)
        at += 1
        as_float[0] = value[row]
        word = as_bits[0]
        for k in range(8):
            out[at] = np.uint8((word >> np.uint64(8 * k)) & np.uint64(255))
            at += 1
        if fault[row] < 0:
            out[at] = 0  # the union's first branch: null
            at += 1
            continue
        out[at] = 2  # its second branch: string
        at += 1
        for k in range(fault_start[fault[row]], fault_start[fault[row] + 1]):
            out[at] = faults[k]
            at += 1
