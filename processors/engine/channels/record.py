"""The largest value that a statistic took before: what is usual for a series need not alarm again.

A threshold is the larger of a minimum and a multiple of this record. Two things make it safe:

- It follows behind. What the statistic does now enters after a block of readings, so that a statistic that climbs
  step by step cannot drag its own threshold along.
- What alarmed is kept apart from what did not. The calm record decays slowly. The alarmed one takes a share of
  what alarmed and decays faster: a fault does not hide the next, and a habit stops alarming after some times.
"""

import numpy as np

from schemas.compiled import compiled_borrowing

STATE = np.dtype(  # single precision will do for a threshold, and a series has seven
    [
        ("calm", "f4"),  # largest value that did not alarm
        ("alarmed", "f4"),  # what is remembered of values that did
        ("next_calm", "f4"),  # the same of the present block
        ("next_alarmed", "f4"),
        ("block", "f4"),  # readings in the present block
    ]
)


@compiled_borrowing
def largest(record):
    """The record as it stands."""
    return max(record.calm, record.alarmed)


@compiled_borrowing
def judge(record, least, limits, value):
    """Judge a statistic by its record, and take notice of it.

    Args:
        record: `STATE`.
        least: the least threshold.
        limits: the channel's: `record` times the largest of before is a threshold, too, and how `memory` follows.
        value: the statistic.

    Returns:
        q.
    """
    threshold = max(least, limits.record * largest(record))
    note(record, value, threshold, limits.memory)
    return value / threshold


@compiled_borrowing
def note(record, value, threshold, limits):
    """Take notice of a value of the statistic and of the threshold that it met.

    Args:
        record: `STATE`.
        value, threshold: in the statistic's unit.
        limits: `RecordLimits` as a record.
    """
    record.calm *= 1.0 - limits.calm_decay
    record.alarmed *= 1.0 - limits.alarmed_decay
    if value >= threshold:
        record.next_alarmed = max(record.next_alarmed, min(value, limits.cap * threshold))
    elif value > record.next_calm:
        record.next_calm = value
    record.block += 1.0
    if record.block >= limits.block:
        record.calm = max(record.calm, record.next_calm)
        base = max(record.calm, record.alarmed)
        if record.next_alarmed > base:
            record.alarmed = base + limits.share * (record.next_alarmed - base)
        record.next_calm = 0.0
        record.next_alarmed = 0.0
        record.block = 0.0
