"""Compiled loop of the engine: one reading after the other against its series' columns.

A reading is judged by the series' readings before it, in the partition's order, and by nothing else: how the
readings were cut into batches cannot be seen in the result, so a replay gives the same bits.

Moments are merged by Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for
computing sample variances"; single readings are the case n = 1 (Welford 1962).
"""

import math

from processors.engine.states import NEVER, RECENT_TIMES
from schemas.compiled import compiled

NOTHING, OPENED, CLEARED = 0, 1, 2

LATE, REPEATED, WARMING, NORMAL, FLAGGED, ALREADY_APPLIED = 1, 2, 3, 4, 5, 6
"""What became of a reading."""

STD_FLOOR = 1e-9
"""Least std, relative to the mean's size: rounding of a constant series is no deviation."""


@compiled
def merge(count_a, mean_a, m2_a, count_b, mean_b, m2_b):
    """Moments of two sets together: (count, mean, M2)."""
    if count_b == 0:
        return count_a, mean_a, m2_a
    if count_a == 0:
        return count_b, mean_b, m2_b
    count = count_a + count_b
    delta = mean_b - mean_a
    mean = mean_a + delta * count_b / count
    return count, mean, m2_a + m2_b + delta * delta * count_a * count_b / count


@compiled
def window_moments(columns, series):
    """Moments of a series' whole window, panes merged from the oldest to the newest."""
    panes = columns.pane_count.shape[1]
    count, mean, m2 = 0, 0.0, 0.0
    head = columns.head_pane[series]
    if head == NEVER:
        return count, mean, m2
    for pane in range(head - panes + 1, head + 1):
        slot = pane % panes
        count, mean, m2 = merge(
            count,
            mean,
            m2,
            columns.pane_count[series, slot],
            columns.pane_mean[series, slot],
            columns.pane_m2[series, slot],
        )
    return count, mean, m2


@compiled
def advance(columns, series, pane):
    """Slide the window so that `pane` is its newest; panes that leave it are emptied."""
    panes = columns.pane_count.shape[1]
    head = columns.head_pane[series]
    if head == NEVER or pane - head >= panes:
        columns.pane_count[series, :] = 0
        columns.pane_mean[series, :] = 0.0
        columns.pane_m2[series, :] = 0.0
    else:
        for gone in range(head + 1, pane + 1):
            slot = gone % panes
            columns.pane_count[series, slot] = 0
            columns.pane_mean[series, slot] = 0.0
            columns.pane_m2[series, slot] = 0.0
    columns.head_pane[series] = pane


@compiled
def add(columns, series, pane, value):
    """Put one value into a pane of the window."""
    slot = pane % columns.pane_count.shape[1]
    count, mean, m2 = merge(
        columns.pane_count[series, slot],
        columns.pane_mean[series, slot],
        columns.pane_m2[series, slot],
        1,
        value,
        0.0,
    )
    columns.pane_count[series, slot] = count
    columns.pane_mean[series, slot] = mean
    columns.pane_m2[series, slot] = m2


@compiled
def remember(columns, series, time):
    """Note a reading's time: NORMAL for a new one, REPEATED for a known, LATE where that cannot be known."""
    recent = columns.recent[series]
    filled = columns.recent_count[series]
    place = RECENT_TIMES  # behind the last smaller time
    first = RECENT_TIMES - filled
    while place > first and recent[place - 1] > time:
        place -= 1
    if place > first and recent[place - 1] == time:
        return REPEATED
    if place == first and filled == RECENT_TIMES:
        return LATE
    for k in range(0 if filled == RECENT_TIMES else first - 1, place - 1):
        recent[k] = recent[k + 1]
    recent[place - 1] = time
    columns.recent_count[series] = min(filled + 1, RECENT_TIMES)
    return NORMAL


@compiled
def score_of(value, mean, std, sides):
    """How many std the value lies from the mean, on the sides that count (1 above, -1 below, 0 both)."""
    deviation = value - mean
    if sides > 0:
        deviation = max(deviation, 0.0)
    elif sides < 0:
        deviation = max(-deviation, 0.0)
    return abs(deviation) / std


@compiled
def apply_readings(
    columns,
    series,
    times,
    values,
    offsets,
    timestamps_ms,
    rows,
    pane_us,
    k,
    minimum_readings,
    sides,
    outcome,
    event_kind,
    event_times,
    event_numbers,
    changed,
):
    """Apply `rows` of a batch, in order, to their series.

    Args:
        columns: the partition's `SeriesColumns`.
        series: (n,) series number of each row of the batch.
        times, values, offsets, timestamps_ms: (n,) the batch's columns.
        rows: the rows to apply, ascending: those whose status is fine.
        pane_us, k, minimum_readings, sides: the settings, see `DeviationSettings`.
        outcome: (n,) filled with what became of each row.
        event_kind: (n,) filled with NOTHING, OPENED or CLEARED.
        event_times: (n, 4) of an event: opened_at, cleared_at, detected_at (µs), flagged readings.
        event_numbers: (n, 6) of an event: value, score, mean, std, lower, upper.
        changed: (series,) set to True for each series touched.
    """
    panes = columns.pane_count.shape[1]
    for row in rows:
        s = series[row]
        offset = offsets[row]
        event_kind[row] = NOTHING
        if offset <= columns.last_offset[s]:
            outcome[row] = ALREADY_APPLIED
            continue
        columns.last_offset[s] = offset
        changed[s] = True
        time, value = times[row], values[row]
        seen = remember(columns, s, time)
        if seen == REPEATED:
            columns.repeated[s] += 1
            outcome[row] = REPEATED
            continue
        pane = time // pane_us
        if seen == LATE or (columns.head_pane[s] != NEVER and pane <= columns.head_pane[s] - panes):
            columns.late[s] += 1
            outcome[row] = LATE
            continue
        columns.readings[s] += 1
        if time > columns.last_time[s]:
            columns.last_time[s] = time
            columns.last_value[s] = value
        if columns.head_pane[s] == NEVER or pane > columns.head_pane[s]:
            advance(columns, s, pane)
        count, mean, m2 = window_moments(columns, s)
        watched = count >= minimum_readings
        flagged = False
        std = score = 0.0
        if watched:
            std = max(math.sqrt(m2 / (count - 1)), STD_FLOOR * max(abs(mean), 1.0))
            score = score_of(value, mean, std, sides)
            flagged = score > k
        outcome[row] = FLAGGED if flagged else (NORMAL if watched else WARMING)
        is_open = columns.opened_at[s] != NEVER
        if flagged:
            columns.flagged[s] += 1
            if not is_open:
                event_kind[row] = OPENED
                columns.opened_at[s] = time
                columns.detected_at[s] = timestamps_ms[row] * 1000
                columns.flagged[s] = 1
                columns.episodes[s] += 1
            if not is_open or score > columns.peak[s, 1]:
                columns.peak[s, 0] = value
                columns.peak[s, 1] = score
                columns.peak[s, 2] = mean
                columns.peak[s, 3] = std
                columns.peak[s, 4] = mean - k * std
                columns.peak[s, 5] = mean + k * std
        else:
            add(columns, s, pane, value)
            if is_open:
                event_kind[row] = CLEARED
        if event_kind[row] != NOTHING:
            event_times[row, 0] = columns.opened_at[s]
            event_times[row, 1] = time
            event_times[row, 2] = columns.detected_at[s]
            event_times[row, 3] = columns.flagged[s]
            event_numbers[row, :] = columns.peak[s]
            if event_kind[row] == CLEARED:
                columns.opened_at[s] = NEVER
                columns.detected_at[s] = NEVER
                columns.flagged[s] = 0
