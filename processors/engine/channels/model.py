"""Model: panes that are unusual to a forest of isolation trees, trained on the history of the series' kind of device.

A pane's `FEATURES` are free of units and scale, each in what is usual for its own series, so that one forest serves all devices
of a type. The statistic is the isolation score above the median of healthy panes.
"""

import math

import numpy as np

from processors.engine.channels import pattern, shift
from schemas.compiled import compiled_borrowing

FEATURES = (
    "level",  # distance of the mean from the day's mean, in std of the day
    "off_pattern",  # distance from what is usual at this time of day, in its root mean square
    "off_for_long",  # mean size of that distance over the last panes
    "scatter",  # std within the pane in usual bends (see `energy`), as a logarithm
    "unrest",  # mean size of the steps, likewise
    "above",  # highest value above the mean, in usual bends
    "below",  # lowest value below it
    "change",  # from the pane before, in root mean squares of the distance from what is usual
    "trend",  # mean of the last panes against that of more of them, in std of the day
)
"""What a forest is asked about, in this order. Another list or meaning is another version of models."""

_RECENT = 5
"""Panes whose mean is held against that of all in the ring of `shift`."""

_FURTHEST = 1e18
"""Distances beyond do not fit, squared, into the state."""

STATE = np.dtype(
    [
        ("squares", "f4"),  # of the present pane: sum of the squared distances from the mean
        ("low", "f4"),  # as a distance from what `pattern` expected last, as is the next
        ("high", "f4"),
        ("steps", "f4"),  # sum of sizes
    ]
)


@compiled_borrowing
def begin(state):
    """A new pane."""
    state.squares = np.float32(0.0)
    state.low = np.float32(np.inf)
    state.high = np.float32(-np.inf)
    state.steps = np.float32(0.0)


@compiled_borrowing
def add(state, total, count, base, value, step):
    """Take in a value of the pane.

    Args:
        state: the channel's.
        total, count: sum and number of the pane's values before this one.
        base: what `pattern` expected last.
        value: the value.
        step: its distance from the last one, 0 behind a gap.
    """
    if count > 0:
        apart = min(abs(count * value - total), _FURTHEST)  # from the mean before, times count
        state.squares += np.float32(apart * apart / (count * (count + 1)))
    distance = min(max(value - base, -_FURTHEST), _FURTHEST)
    state.low = np.float32(min(state.low, distance))
    state.high = np.float32(max(state.high, distance))
    state.steps += np.float32(min(abs(step), _FURTHEST))


@compiled_borrowing
def describe(state, before, day, means, unit, pane, floor, features):
    """Fill in the features of a pane that is complete.

    Args:
        state: the channel's.
        before: what `pattern` expected before its step of this pane.
        day: its state behind that step.
        means: state of `shift`, likewise.
        unit: usual size of a bend of the series.
        pane: number of complete panes before this one, its readings, their mean.
        floor: least size that counts, in the series' unit.
        features: (FEATURES,) filled.

    Returns:
        Whether enough is known of the series for the features to say something.
    """
    panes, count, mean = pane
    if day.profiled <= pattern.ROUGHLY_KNOWN or panes < shift.VALUES:
        return False
    unit = max(unit, floor)
    distance = math.sqrt(day.power) + floor
    day_mean, day_std = _moments(day)
    day_std += distance
    last = means.ring[(panes - 1) % shift.VALUES]
    features[0] = np.float32(math.asinh((mean - day_mean) / day_std))
    features[1] = np.float32(math.asinh((mean - day.expected) / distance))
    features[2] = np.float32(day.sum / pattern.VALUES)
    features[3] = np.float32(math.log((math.sqrt(state.squares / count) + floor) / unit))
    features[4] = np.float32(math.log((state.steps / count + floor) / unit))
    features[5] = np.float32(math.asinh((state.high + before - mean) / unit))
    features[6] = np.float32(math.asinh((mean - before - state.low) / unit))
    features[7] = np.float32(math.asinh((mean - last) / distance))
    features[8] = np.float32(math.asinh(_trend(means.ring, panes) / day_std))
    return True


@compiled_borrowing
def step(forests, limits, features):
    """Judge a pane by its forest. Gives q."""
    forest = forests[3][limits.number]
    above = score(forests, limits.number, features) - forest.usual
    return max(above, 0.0) / (limits.threshold * (forest.threshold - forest.usual))


@compiled_borrowing
def score(forests, number, features):
    """Isolation score of a pane: near 1 what few cuts set apart, below 0.5 what is usual.

    Args:
        forests: `Forests`.
        number: which of them.
        features: (FEATURES,) float32.
    """
    nodes, paths, roots, table = forests
    forest = table[number]
    length = 0.0
    for tree in range(forest.first, forest.first + forest.trees):
        at = roots[tree]
        node = nodes[at]
        while node.feature >= 0:
            at += 1 if features[node.feature] <= node.cut else np.int64(node.next)
            node = nodes[at]
        length += paths[forest.paths + node.next]
    return 2.0 ** (-length / forest.length)


@compiled_borrowing
def _moments(day):
    """Mean and std of the day's profile, of the parts that are known."""
    known, mean, square = 0, 0.0, 0.0
    for place in range(pattern.BINS):
        if day.known[place] > 0:
            known += 1
            mean += day.profile[place]
            square += np.float64(day.profile[place]) * day.profile[place]
    mean /= known
    return mean, math.sqrt(max(square / known - mean * mean, 0.0))


@compiled_borrowing
def _trend(ring, panes):
    """How far the mean of the last panes lies from that of all in the ring; `panes` is the place of the last."""
    everything = recent = 0.0
    for age in range(shift.VALUES):
        value = ring[(panes - age) % shift.VALUES]
        everything += value
        if age < _RECENT:
            recent += value
    return recent / _RECENT - everything / shift.VALUES
