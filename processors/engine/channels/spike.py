"""Spike: a value far from the mean of the last readings, in their std, both of an exponential window (see `running`)."""

import numpy as np

from processors.engine.channels import record, running
from schemas.compiled import compiled_borrowing

STATE = np.dtype([("mean", "f8"), ("var", "f8"), ("record", record.STATE)])

STD_FLOOR = 1e-9
"""Least std: a value a hair off a constant is no deviation."""


@compiled_borrowing
def step(state, limits, count, young, value, std):
    """Judge and learn.

    Args:
        state, limits: the channel's.
        count: values before this one.
        young: 1 / (count + 1), this one's weight while they are few.
        value: the value.
        std: root of the state's variance.

    Returns:
        q.
    """
    q = 0.0
    if count > limits.warmup:
        z = abs(value - state.mean) / (std + STD_FLOOR)
        q = record.judge(state.record, limits.threshold, limits, z)
    running.learn(state, max(young, limits.weight), value)
    return q
