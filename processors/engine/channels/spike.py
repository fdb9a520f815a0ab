"""Spike: a value far from the mean of the last readings, in their std.

The mean and variance of an exponential window: with weight w = max(1/n, 1/window) of the newest value,
mean <- mean + w d and var <- (1 - w)(var + w d^2), where d is the distance from the mean before
(T. Finch, "Incremental calculation of weighted mean and variance", 2009). For the first `window` readings that is
Welford's plain mean and variance.
"""

import math

import numpy as np

from processors.engine.channels import record
from schemas.compiled import compiled

STATE = np.dtype([("mean", "f8"), ("var", "f8"), ("record", record.STATE)])

STD_FLOOR = 1e-9
"""Least std: a value a hair off a constant is no deviation."""


@compiled
def step(state, limits, count, value):
    """Judge and learn; `count` is how many values came before. Gives q."""
    q = 0.0
    if count > limits.warmup:
        z = abs(value - state.mean) / (math.sqrt(state.var) + STD_FLOOR)
        threshold = max(limits.threshold, limits.record * record.largest(state.record))
        q = z / threshold
        record.note(state.record, z, threshold, limits.memory)
    weight = max(1.0 / (count + 1), 1.0 / limits.window)
    distance = value - state.mean
    state.mean += weight * distance
    state.var = (1.0 - weight) * (state.var + weight * distance * distance)
    return q
