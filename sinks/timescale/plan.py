"""What of a batch is stored: decided without I/O, so that it is tested without broker and database.

A batch is what was read of one log (one partition of one topic) since the position the database knows. Offsets may have holes
(a compacted log, transaction markers), so the fence is the position we were at, not the first offset seen;
the batch moves it behind the last offset seen.
"""

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.columns import ReadingColumns
from schemas.compiled import compiled
from schemas.dead_letters import DeadLetterReason

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

_SEED = secrets.randbits(62)
"""Of the hash of keys: nobody outside can choose ids that all collide. The result does not depend on it."""


@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """The fate of the n messages of a batch; each is in exactly one of the three groups, in ascending order.

    Attributes:
        rows: messages to store.
        repeated: messages with the key (device_id, metric, time) of an earlier message of the batch; the first
            by offset wins.
        refused: messages for the dead-letter topic, each with its reason.
    """

    rows: Ints
    repeated: Ints
    refused: list[tuple[int, DeadLetterReason]]


def first_new(position: int, offsets: Ints) -> int:
    """Index of the first message that is new to a log that stands at `position`; n where none is.

    Args:
        position: the log's position in the database.
        offsets: (n,) offsets of the messages in the order of reading; holes are legal.

    Raises:
        ValueError: the offsets do not ascend, which no log delivers.
    """
    if not np.all(offsets[1:] > offsets[:-1]):
        raise ValueError("the offsets of one partition do not ascend")
    return int(np.searchsorted(offsets, position))


def plan_readings(columns: ReadingColumns) -> ReadingPlan:
    """Sort the messages of a batch into those to store, repeated and refused."""
    good = np.flatnonzero(columns.status == DeadLetterReason.OK)
    fresh = first_of_each_key(columns, good)
    refused = [
        (int(row), DeadLetterReason(int(columns.status[row])))
        for row in np.flatnonzero(columns.status != DeadLetterReason.OK)
    ]
    return ReadingPlan(good[fresh], good[~fresh], refused)


def first_of_each_key(columns: ReadingColumns, rows: Ints) -> NDArray[np.bool_]:
    """Which of the (m,) `rows` have a key (device_id, metric, time) that no earlier one of them has.

    Keys are compared byte by byte, as the database's "C" collation does.
    """
    slots = 1 << max(4, (2 * len(rows)).bit_length())
    fresh: NDArray[np.bool_] = _mark_first(
        columns.data,
        columns.device_start,
        columns.device_end,
        columns.metric_start,
        columns.metric_end,
        columns.time,
        rows,
        np.full(slots, -1, np.int64),
        _SEED,
    )
    return fresh


@compiled
def _same(data: Bytes, start_a: int, end_a: int, start_b: int, end_b: int) -> bool:
    """Whether two spans hold the same bytes."""
    if end_a - start_a != end_b - start_b:
        return False
    for k in range(end_a - start_a):  # noqa: SIM110 - compiled
        if data[start_a + k] != data[start_b + k]:
            return False
    return True


@compiled
def _mark_first(
    data: Bytes,
    device_start: Ints,
    device_end: Ints,
    metric_start: Ints,
    metric_end: Ints,
    time: Ints,
    rows: Ints,
    table: Ints,
    seed: int,
) -> NDArray[np.bool_]:
    """Open addressing with linear probing: `table` (power of two, filled with -1) keeps the rows met so far."""
    prime = np.uint64(0x100000001B3)  # FNV-1a over the texts, then the time mixed in
    spread = np.uint64(0x9E3779B97F4A7C15)
    mask = np.uint64(len(table) - 1)
    fresh = np.ones(len(rows), np.bool_)
    for i in range(len(rows)):
        row = rows[i]
        code = np.uint64(seed)
        for k in range(device_start[row], device_end[row]):
            code = (code ^ np.uint64(data[k])) * prime
        code = (code ^ np.uint64(0xFF)) * prime  # no byte of UTF-8: "ab"+"c" is not "a"+"bc"
        for k in range(metric_start[row], metric_end[row]):
            code = (code ^ np.uint64(data[k])) * prime
        code = (code ^ np.uint64(time[row])) * spread
        slot = (code ^ (code >> np.uint64(32))) & mask
        while table[slot] >= 0:
            other = table[slot]
            if (
                time[other] == time[row]
                and _same(data, device_start[row], device_end[row], device_start[other], device_end[other])
                and _same(data, metric_start[row], metric_end[row], metric_start[other], metric_end[other])
            ):
                fresh[i] = False
                break
            slot = (slot + np.uint64(1)) & mask
        if fresh[i]:
            table[slot] = row
    return fresh
