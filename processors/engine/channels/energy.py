"""Energy: steps that have become larger or smaller than they used to be, over a short window: noise, oscillation, vibration.

The mean size of the last `STEPS` bends x - 2 x1 + x2 (second differences, in which ramps vanish), each in the series' usual
bend and capped, as a z against that mean's own long mean and std.
"""

import math

import numpy as np

from processors.engine.channels import record, running
from schemas.compiled import compiled_borrowing

STEPS = 16
"""Readings in the short window."""

_WARMUP = 20
_JUDGES_FROM = 60

STATE = np.dtype(
    [
        ("power", "f8"),  # usual square of a bend
        ("sum", "f8"),  # of the ring
        ("mean", "f8"),  # of the short mean
        ("var", "f8"),
        ("record", record.STATE),
        ("ring", "f4", (STEPS,)),
    ]
)


@compiled_borrowing
def step(state, limits, count, young, bend, floor, continues):
    """Judge and learn; arguments as those of `jump.step`. Gives q."""
    size = 0.0
    if continues:
        if count > _WARMUP:
            size = min(abs(bend) / max(math.sqrt(state.power), floor), limits.cap)
            square = min(bend * bend, limits.clip * state.power)
        else:
            square = bend * bend
        state.power += max(young, limits.weight) * (square - state.power)
    slot = count % STEPS
    state.sum += np.float32(size) - state.ring[slot]
    state.ring[slot] = np.float32(size)
    mean = state.sum * (1.0 / STEPS)
    q = 0.0
    if count > _JUDGES_FROM:
        z = (mean - state.mean) / (math.sqrt(state.var) + limits.floor)
        q = record.judge(state.record, limits.threshold, limits, z)
    running.learn(state, max(young, limits.long_weight), mean)
    return q
