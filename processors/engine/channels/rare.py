"""Rare: values where the series hardly ever dwells, also inside of its range, as between a machine's on and off.

A histogram of `BINS` bins, halved now and then so that it follows the series. A value's rarity is how many bits its bin's
share lies below a level; an exponential mean of it over a few readings is judged. Bins double in width when
a value falls outside (pairs are merged), so that one histogram fits any unit without being told a range. Pairs of bins are
read as one, unless the limits ask for `fine` ones: a machine's levels are sharp, what wanders is everywhere now and then.
"""

import math

import numpy as np

from processors.engine.channels import record
from schemas.compiled import compiled_borrowing

BINS = 64
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


@compiled_borrowing
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
    position = _position(state, inside)
    if not 0.0 <= position < BINS:
        _reach(state, inside)
        position = _position(state, inside)
    q = 0.0
    bits = 0.0
    if state.total > _LEARNS_FROM:
        place = position if value == inside else _position(state, value)
        share = (_weight(state, place, _together(limits)) + _BLUR) / (state.total + 1.0)
        if share < limits.usual:
            bits = min(max(0.0, -math.log2(share) - limits.level), limits.cap)
        state.rarity += (bits - state.rarity) / limits.readings
        q = record.judge(state.record, limits.threshold, limits, state.rarity)
        if count <= limits.warmup:
            q = 0.0
    weight = 1.0 / (1.0 + limits.caution * bits) if bits > 0.0 else 1.0
    state.bins[int(position)] += np.float32(weight)
    state.total += weight
    if state.total > limits.window:
        for i in range(BINS):
            state.bins[i] *= np.float32(0.5)
        state.total *= 0.5
    return q


@compiled_borrowing
def _reach(state, value):
    """Widen the bins until one of them holds the value."""
    while True:
        place = math.floor(_position(state, value))
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


@compiled_borrowing
def usual_near(state, limits, value, otherwise):
    """The nearest value at which the series does dwell: the middle of what lies about the nearest bin that is usual.

    Args:
        state, limits: the channel's.
        value: the value that is rare.
        otherwise: what is said where no bin is usual.
    """
    together = _together(limits)
    bins = BINS // together
    position = _position(state, value) / together - 0.5
    usual = state.total / bins  # what each would have of values that are everywhere
    nearest, distance = -1, np.inf
    for i in range(bins):
        if _held(state, i, together) >= usual and abs(i - position) < distance:
            nearest, distance = i, abs(i - position)
    if nearest < 0:
        return otherwise
    weight = places = 0.0
    for i in range(max(nearest - 1, 0), min(nearest + 2, bins)):
        held = _held(state, i, together)
        weight += held
        places += held * (i + 0.5)
    return state.origin + places / weight * together * state.width


@compiled_borrowing
def _position(state, value):
    """Where in the bins a value lies, in bins from the origin."""
    return (value - state.origin) / state.width


@compiled_borrowing
def _together(limits):
    """How many bins are read as one."""
    return 1 if limits.fine else 2


@compiled_borrowing
def _held(state, place, together):
    """What `together` bins hold, the first of them at `place` times that."""
    held = 0.0
    for i in range(place * together, (place + 1) * together):
        held += state.bins[i]
    return held


@compiled_borrowing
def _weight(state, position, together):
    """What the histogram holds at a position, `together` bins read as one: that one and a part of the nearer neighbour."""
    bins = BINS // together
    place = math.floor(position / together)
    within = position / together - place - 0.5
    neighbour = place + 1 if within > 0.0 else place - 1
    weight = 0.0
    if 0 <= place < bins:
        weight += _held(state, int(place), together)
    if 0 <= neighbour < bins:
        weight += _held(state, int(neighbour), together) * abs(within)
    return weight
