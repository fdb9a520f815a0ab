"""Pattern: values that are not those of this time of day, for a while.

A profile of the day in `BINS` bins, each an exponential mean, read off by linear interpolation. The distance from it, in its root
mean square and capped, is averaged over the last `VALUES` values; that average is judged against its own long mean
and std. It judges pane means (see `judging_kernel`), so that its time scale does not depend on how often a series speaks.
"""

import math

import numpy as np

from processors.engine.channels import record
from schemas.compiled import compiled

BINS = 72
VALUES = 39
"""Values in the short window."""

_DAY_S = 86_400.0
_KNOWN_AFTER = 2
_WARMUP = 20
_LARGEST = 3e38
"""Values beyond do not fit into the profile."""

STATE = np.dtype(
    [
        ("profiled", "f8"),  # values that the profile had something to say of
        ("power", "f8"),  # usual square of the distance from the profile
        ("sum", "f8"),  # of the ring
        ("judged", "f8"),
        ("mean", "f8"),  # of the short mean
        ("var", "f8"),
        ("expected", "f8"),  # the profile's last answer
        ("record", record.STATE),
        ("profile", "f4", (BINS,)),
        ("ring", "f4", (VALUES,)),
        ("known", "u1", (BINS,)),  # values a bin has had, up to 255
    ]
)


@compiled
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
    if state.judged > _WARMUP:
        z = (mean - state.mean) / (math.sqrt(state.var) + limits.floor)
        threshold = max(limits.threshold, limits.record * record.largest(state.record))
        q = z / threshold
        record.note(state.record, z, threshold, limits.memory)
    state.judged += 1.0
    weight = max(1.0 / state.judged, 1.0 / limits.long_window)
    distance = mean - state.mean
    state.mean += weight * distance
    state.var = (1.0 - weight) * (state.var + weight * distance * distance)
    return q


@compiled
def _place(time_s):
    """Bin of a time of day, the neighbour whose middle is on the other side, and that one's share."""
    position = (time_s / _DAY_S) % 1.0 * BINS
    place = min(int(position), BINS - 1)
    within = position - place - 0.5
    neighbour = (place + 1) % BINS if within > 0.0 else (place - 1) % BINS
    return place, neighbour, abs(within)


@compiled
def _learn(state, place, value, learning):
    if state.known[place] < 255:
        state.known[place] += 1
    weight = max(learning, 1.0 / state.known[place])
    near = min(max(value, -_LARGEST), _LARGEST)
    state.profile[place] = np.float32(state.profile[place] + weight * (near - state.profile[place]))
