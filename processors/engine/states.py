"""The state of a partition's series, as columns: row i of every array belongs to series i.

What a series needs to go on after a crash is here and nowhere else: the sliding window (tumbling panes of
count, mean and M2), the newest reading times (to know a repeated reading when it comes), the open episode, the
offset of the last reading that changed it, and its cumulative counters.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NEVER = np.iinfo(np.int64).min
"""A time, pane or offset that has not been."""

RECENT_TIMES = 64
"""How many reading times a series remembers. A late reading that is older than all of them cannot be told from
one that was counted before, so it is stored and counted but not scored. 64 covers a minute at one reading a
second for 512 bytes a series."""

_FIRST_CAPACITY = 256


class SeriesColumns(NamedTuple):
    """n series, P panes, R remembered times. Times in µs since 1970 UTC, offsets as in Kafka."""

    last_offset: Ints
    """(n,) offset of the last reading applied; NEVER before the first."""
    last_time: Ints
    """(n,) newest event time."""
    last_value: Floats
    """(n,) the value of that reading."""

    readings: Ints
    """(n,) readings that entered or were judged by the window, flagged ones included."""
    late: Ints
    """(n,) readings too old for the window or for the remembered times."""
    repeated: Ints
    """(n,) readings whose time was seen before."""
    episodes: Ints
    """(n,) anomalies opened so far."""

    head_pane: Ints
    """(n,) newest pane, as event time // pane length; NEVER before the first reading."""
    pane_count: Ints
    """(n, P) readings in each pane; pane p lies in slot p % P."""
    pane_mean: Floats
    """(n, P) their mean."""
    pane_m2: Floats
    """(n, P) sum of their squared deviations from it."""

    recent: Ints
    """(n, R) newest distinct reading times, ascending, the last `recent_count` of the row."""
    recent_count: Ints
    """(n,) how many of them are filled."""

    opened_at: Ints
    """(n,) event time of the reading that opened the open episode; NEVER while there is none."""
    detected_at: Ints
    """(n,) Kafka timestamp of that reading's record, µs."""
    flagged: Ints
    """(n,) readings flagged in the open episode."""
    peak: Floats
    """(n, 6) of the most deviating reading of the open episode: value, score, mean, std, lower, upper."""


def new_columns(capacity: int, panes: int) -> SeriesColumns:
    """Columns for `capacity` series that have seen nothing."""

    def ints(*shape: int, fill: int = 0) -> Ints:
        return np.full(shape, fill, np.int64)

    n = capacity
    return SeriesColumns(
        last_offset=ints(n, fill=NEVER),
        last_time=ints(n, fill=NEVER),
        last_value=np.zeros(n),
        readings=ints(n),
        late=ints(n),
        repeated=ints(n),
        episodes=ints(n),
        head_pane=ints(n, fill=NEVER),
        pane_count=ints(n, panes),
        pane_mean=np.zeros((n, panes)),
        pane_m2=np.zeros((n, panes)),
        recent=ints(n, RECENT_TIMES),
        recent_count=ints(n),
        opened_at=ints(n, fill=NEVER),
        detected_at=ints(n, fill=NEVER),
        flagged=ints(n),
        peak=np.zeros((n, 6)),
    )


def grown(columns: SeriesColumns, needed: int) -> SeriesColumns:
    """The same series with room for at least `needed`; at least doubled, so that growing stays cheap."""
    capacity = len(columns.last_offset)
    if needed <= capacity:
        return columns
    panes = columns.pane_count.shape[1]
    fresh = new_columns(max(needed, 2 * capacity, _FIRST_CAPACITY), panes)
    for old, new in zip(columns, fresh, strict=True):
        new[:capacity] = old
    return fresh
