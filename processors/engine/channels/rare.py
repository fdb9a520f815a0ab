"""Rare: values where the series hardly ever dwells, also inside of its range, as between a machine's on and off.

A histogram of `BINS` bins, halved now and then so that it follows the series. A value's rarity is how many bits its bin's
share lies below a level; an exponential mean of it over a few readings is judged. Bins double in width when
a value falls outside (pairs are merged), so that one histogram fits any unit without being told a range.
"""

import math

import numpy as np

from processors.engine.channels import record
from schemas.compiled import compiled

BINS = 32
_STARTS_AT = 60  # readings after which the range is known well enough to lay the bins
_LEARNS_FROM = 100.0  # values in the histogram from which rarity means something
_BLUR = 0.02  # what an empty bin counts as having

STATE = np.dtype(
    [
        ("origin", "f8"),
        ("width", "f8"),  # of a bin; 0 before the histogram is laid
        ("total", "f8"),
        ("rarity", "f8"),  # exponential mean
        ("record", record.STATE),
        ("bins", "f4", (BINS,)),
    ]
)


@compiled
def step(state, limits, count, value, low, high):
    """Judge and learn.

    Args:
        state, limits: the channel's.
        count: values before this one.
        value: the value.
        low, high: extent of the series, this value included as far as it is accepted.

    Returns:
        q.
    """
    if state.width <= 0.0:
        if count >= _STARTS_AT and high > low:
            state.width = (high - low) * 2.0 / BINS
            state.origin = low - (high - low) / 2.0
        else:
            return 0.0
    inside = min(max(value, low), high)
    _reach(state, inside)
    q = 0.0
    bits = 0.0
    if state.total > _LEARNS_FROM:
        share = (_weight(state, value) + _BLUR) / (state.total + 1.0)
        bits = min(max(0.0, -math.log2(share) - limits.level), limits.cap)
        state.rarity += (bits - state.rarity) / limits.readings
        threshold = max(limits.threshold, limits.record * record.largest(state.record))
        if count > limits.warmup:
            q = state.rarity / threshold
        record.note(state.record, state.rarity, threshold, limits.memory)
    weight = 1.0 / (1.0 + limits.caution * bits)
    state.bins[math.floor((inside - state.origin) / state.width)] += np.float32(weight)
    state.total += weight
    if state.total > limits.window:
        for i in range(BINS):
            state.bins[i] *= np.float32(0.5)
        state.total *= 0.5
    return q


@compiled
def _reach(state, value):
    """Widen the bins until one of them holds the value."""
    while True:
        place = math.floor((value - state.origin) / state.width)
        if 0 <= place < BINS:
            return
        half = BINS // 2
        if place < 0:
            for i in range(BINS - 1, half - 1, -1):
                state.bins[i] = state.bins[2 * (i - half)] + state.bins[2 * (i - half) + 1]
            # the upper half now holds pairs of all the old bins: they were read from below, so go from above
            for i in range(half):
                state.bins[i] = np.float32(0.0)
            state.origin -= BINS * state.width
        else:
            for i in range(half):
                state.bins[i] = state.bins[2 * i] + state.bins[2 * i + 1]
            for i in range(half, BINS):
                state.bins[i] = np.float32(0.0)
        state.width *= 2.0


@compiled
def _weight(state, value):
    """What the histogram holds at a value: its bin and a part of the nearer neighbour."""
    position = (value - state.origin) / state.width
    place = math.floor(position)
    within = position - place - 0.5
    neighbour = place + 1 if within > 0.0 else place - 1
    weight = 0.0
    if 0 <= place < BINS:
        weight += state.bins[int(place)]
    if 0 <= neighbour < BINS:
        weight += state.bins[int(neighbour)] * abs(within)
    return weight
