"""Compiled part of the series index: an open-addressing hash table over series names in one byte arena."""

import numpy as np

from schemas.compiled import compiled_borrowing

EMPTY = -1


@compiled_borrowing
def hash_series(data, device_start, device_end, metric_start, metric_end):
    """FNV-1a (64 bit) over device, NUL, metric; ids have no NUL, so two names never look alike."""
    h = np.uint64(0xCBF29CE484222325)
    prime = np.uint64(0x100000001B3)
    for i in range(device_start, device_end):
        h = (h ^ np.uint64(data[i])) * prime
    h = h * prime
    for i in range(metric_start, metric_end):
        h = (h ^ np.uint64(data[i])) * prime
    return h ^ (h >> np.uint64(29))


@compiled_borrowing
def same_series(arena, begin, size, data, device_start, device_end, metric_start, metric_end):
    """Whether the arena's name is this device and metric."""
    device_size = device_end - device_start
    if size != device_size + 1 + metric_end - metric_start:
        return False
    for i in range(device_size):
        if arena[begin + i] != data[device_start + i]:
            return False
    if arena[begin + device_size] != 0:
        return False
    begin += device_size + 1
    for i in range(metric_end - metric_start):
        if arena[begin + i] != data[metric_start + i]:
            return False
    return True


@compiled_borrowing
def find_series(slots, arena, name_begin, name_size, data, spans, rows, series):
    """Fill `series[row]` with the number of each row's series, EMPTY where it is new.

    Args:
        slots: (m,) hash table, m a power of two: a series number or EMPTY.
        arena: names, back to back: device, NUL, metric.
        name_begin, name_size: (n,) a series' name in the arena.
        data: the batch's bytes.
        spans: device_start, device_end, metric_start, metric_end of the batch.
        rows: rows to look up.
        series: (rows of the batch,) result.
    """
    device_start, device_end, metric_start, metric_end = spans
    mask = np.uint64(len(slots) - 1)
    missing = 0
    for row in rows:
        a, b, c, d = device_start[row], device_end[row], metric_start[row], metric_end[row]
        slot = hash_series(data, a, b, c, d) & mask
        while True:
            number = slots[slot]
            if number == EMPTY:
                missing += 1
                series[row] = EMPTY
                break
            if same_series(arena, name_begin[number], name_size[number], data, a, b, c, d):
                series[row] = number
                break
            slot = (slot + np.uint64(1)) & mask
    return missing


@compiled_borrowing
def insert_series(slots, arena, name_begin, name_size, number, device_size):
    """Enter the name of series `number`, known to be new, into the table."""
    mask = np.uint64(len(slots) - 1)
    begin = name_begin[number]
    end = begin + name_size[number]
    slot = hash_series(arena, begin, begin + device_size, begin + device_size + 1, end) & mask
    while slots[slot] != EMPTY:
        slot = (slot + np.uint64(1)) & mask
    slots[slot] = number
