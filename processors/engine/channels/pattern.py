"""Pattern: values that are not those of this time of day, for a while.

A profile of the day in `BINS` bins, each an exponential mean, read off by linear interpolation. The distance from it, in its root
mean square and capped, is averaged over the last `VALUES` values; that average is judged against its own long mean
and std. It judges pane means (see `judging_kernel`), so that its time scale does not depend on how often a series speaks.
"""

import math

import numpy as np

from processors.engine.channels import record, running
from schemas.compiled import compiled_borrowing

BINS = 72
VALUES = 39
"""Values in the short window."""

_DAY_S = 86_400.0
_KNOWN_AFTER = 2
_WARMUP = 20
ROUGHLY_KNOWN = 288.0
"""Panes, a day of them, that the profile must have had something to say of before it says where a series belongs."""

_LARGEST = 3e38
"""Values beyond do not fit into the profile."""

STATE = np.dtype(
    [
        ("profiled", "f8"),  # values that the profile had something to say of
        ("power", "f8"),  # usual square of the distance from the profile
        ("sum", "f8"),  # of the ring
        ("mean", "f8"),  # of the short mean
        ("var", "f8"),
        ("expected", "f8"),  # the profile's last answer
        ("record", record.STATE),
        ("profile", "f4", (BINS,)),
        ("ring", "f4", (VALUES,)),
        ("known", "u1", (BINS,)),  # values a bin has had, up to 255
    ]
)


@compiled_borrowing
def step(state, limits, count, time_s, value):
    """Judge and learn.

    Args:
        state, limits: the channel's.
        count: values before this one.
        time_s: seconds since 1970 UTC of the value.
        value: the value.

    Returns:
        q.
    """
    size = 0.0
    place, neighbour, share = _place(time_s)
    if state.known[place] >= _KNOWN_AFTER:
        expected = np.float64(state.profile[place])
        if state.known[neighbour] >= _KNOWN_AFTER:
            expected = (1.0 - share) * expected + share * state.profile[neighbour]
        state.expected = expected
        distance = value - expected
        if state.profiled > _WARMUP:
            size = min(abs(distance) / (math.sqrt(state.power) + 1e-9), limits.cap)
        state.profiled += 1.0
        square = distance * distance
        if state.profiled > _WARMUP:
            square = min(square, limits.clip * state.power)
        state.power += max(1.0 / state.profiled, 1.0 / limits.window) * (square - state.power)
    _learn(state, place, value, limits.learning)
    slot = count % VALUES
    state.sum += np.float32(size) - state.ring[slot]
    state.ring[slot] = np.float32(size)
    mean = state.sum / VALUES
    q = 0.0
    if count > _WARMUP:
        z = (mean - state.mean) / (math.sqrt(state.var) + limits.floor)
        q = record.judge(state.record, limits.threshold, limits, z)
    running.learn(state, max(1.0 / (count + 1), 1.0 / limits.long_window), mean)
    return q


@compiled_borrowing
def _place(time_s):
    """Bin of a time of day, the neighbour whose middle is on the other side, and that one's share."""
    position = (time_s / _DAY_S) % 1.0 * BINS
    place = min(int(position), BINS - 1)
    within = position - place - 0.5
    neighbour = (place + 1) % BINS if within > 0.0 else (place - 1) % BINS
    return place, neighbour, abs(within)


@compiled_borrowing
def _learn(state, place, value, learning):
    if state.known[place] < 255:
        state.known[place] += 1
    weight = max(learning, 1.0 / state.known[place])
    near = min(max(value, -_LARGEST), _LARGEST)
    state.profile[place] = np.float32(state.profile[place] + weight * (near - state.profile[place]))
