"""Window: distance from the mean of a sliding window of event time, in its std: the preset moving-average.

The window is the last panes of a fixed length, each with count, mean and M2, merged by Chan, Golub and LeVeque (1979), "Updating
formulae and a pairwise algorithm for computing sample variances"; a single value is the case n = 1 (Welford
1962). A late value goes into its own pane while that is in the window, whatever came since.
"""

import math

import numpy as np

from schemas.compiled import compiled_borrowing

PANES = 10
"""Panes that the state has room for; settings use so many or fewer."""

NEVER = int(np.iinfo(np.int64).min)
"""A time, pane or offset that has not been."""

STD_FLOOR = 1e-9
"""Least std, relative to the mean's size: rounding of a constant series is no deviation."""

STATE = np.dtype(
    [
        (
            "pane_us",
            "i8",
        ),  # length of a pane: of other panes a window is begun anew; negative while it is off
        ("head", "i8"),  # newest pane, as event time // pane length; NEVER before the first reading
        (
            "panes",
            "f8",
            (PANES, 3),
        ),  # mean, sum of squared distances from it, count; pane p lies in slot p % PANES
    ]
)


@compiled_borrowing
def pane_of(time, length, near):
    """Number of the pane of a time: time // length, without the division where it is `near` or the next one."""
    if near != NEVER:
        since = time - near * length
        if 0 <= since < length:
            return near
        if length <= since < 2 * length:
            return near + 1
    return time // length


@compiled_borrowing
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


@compiled_borrowing
def moments(state, panes):
    """Moments of the window, panes merged from the oldest to the newest."""
    count, mean, m2 = 0.0, 0.0, 0.0
    for pane in range(state.head - panes + 1, state.head + 1):
        slot = pane % PANES
        part = state.panes[slot]
        count, mean, m2 = merge(count, mean, m2, part[2], part[0], part[1])
    return count, mean, m2


@compiled_borrowing
def std_of(count, mean, m2):
    """The sample's std, never quite nought."""
    return max(math.sqrt(m2 / (count - 1)), STD_FLOOR * max(abs(mean), 1.0))


@compiled_borrowing
def is_behind(state, pane, panes):
    """Whether a pane has left the window."""
    return state.head != NEVER and pane <= state.head - panes


@compiled_borrowing
def follow(state, pane_us):
    """Begin the window anew where its panes have had another length, or where it was off."""
    if state.pane_us != pane_us:
        state.pane_us = pane_us
        state.head = NEVER


@compiled_borrowing
def advance(state, pane, panes):
    """Make `pane` the newest, if it is newer, emptying the slots that it and skipped panes take over."""
    if state.head != NEVER and pane <= state.head:
        return
    if state.head == NEVER or pane - state.head >= panes:
        for slot in range(PANES):
            _empty(state.panes[slot])
    else:
        for gone in range(state.head + 1, pane + 1):
            _empty(state.panes[gone % PANES])
    state.head = pane


@compiled_borrowing
def add(state, pane, value):
    """Put one value into a pane of the window."""
    part = state.panes[pane % PANES]
    part[2], part[0], part[1] = merge(part[2], part[0], part[1], 1.0, value, 0.0)


@compiled_borrowing
def _empty(part):
    for i in range(3):
        part[i] = 0.0
