"""Jump: a value far from where the series was and from where it was heading, in its usual step.

The distance is the lesser of |x - x1| and |x - (2 x1 - x2)|: a value surprises when it is neither near the last one nor on the
line through the last two, so that ramps are no jumps. The usual step is a root mean square from which large steps are
clipped (Huber's idea: what is judged must not set its own scale), with a floor relative to the series' range.
"""

import math

import numpy as np

from processors.engine.channels import record
from schemas.compiled import compiled

STATE = np.dtype([("power", "f8"), ("record", record.STATE)])


@compiled
def step(state, limits, count, change, bend, floor, continues):
    """Judge and learn.

    Args:
        state, limits: the channel's.
        count: values before this one.
        change: distance from the last value.
        bend: change of that distance.
        floor: least step that can count as usual.
        continues: False behind a gap, over which a step says nothing.

    Returns:
        q.
    """
    if count <= limits.warmup:
        if count > 0:
            state.power += (change * change - state.power) / count
        return 0.0
    if not continues:
        return 0.0
    z = min(abs(change), abs(bend)) / max(math.sqrt(state.power), floor)
    threshold = max(limits.threshold, limits.record * record.largest(state.record))
    record.note(state.record, z, threshold, limits.memory)
    clipped = min(change * change, limits.clip * state.power)
    state.power += max(1.0 / (count + 1), 1.0 / limits.window) * (clipped - state.power)
    return z / threshold
