"""Jump: a value far from where the series was and from where it was heading, in its usual step.

The distance is the lesser of |x - x1| and |x - (2 x1 - x2)|: a value surprises when it is neither near the last one nor on the
line through the last two, so that ramps are no jumps. The usual step is a root mean square from which large steps are
clipped (Huber's idea: what is judged must not set its own scale), with a floor relative to the series' range.

Where `alone` is above 0, a step is judged once more a reading later, by how far it stood out of the steps on both of its sides. What is
switched on and heats up begins with a large step, too, but goes on with others: there only a step that stands alone is a fault.
"""

import numpy as np

from processors.engine.channels import record
from schemas.compiled import compiled_borrowing

_ALONE_WARMUP = 600

STATE = np.dtype([("power", "f8"), ("record", record.STATE), ("alone_record", record.STATE)])


@compiled_borrowing
def step(state, limits, count, young, change, bend, unit, continues):
    """Judge and learn.

    Args:
        state, limits: the channel's.
        count: values before this one.
        young: 1 / (count + 1), this one's weight while they are few.
        change: distance from the last value.
        bend: change of that distance.
        unit: usual step, and no less than what can count as one.
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
    q = record.judge(state.record, limits.threshold, limits, min(abs(change), abs(bend)) / unit)
    clipped = min(change * change, limits.clip * state.power)
    state.power += max(young, limits.weight) * (clipped - state.power)
    return q


@compiled_borrowing
def step_alone(state, limits, count, stands_out, unit):
    """Judge the step before the present one: how far it stood out of those on both of its sides. Gives q.

    Args:
        state, limits, count, unit: as in `step`; call it before that.
        stands_out: the least of that step's size and of its distances from its neighbours.
    """
    if limits.alone <= 0.0 or count <= limits.warmup:
        return 0.0
    q = record.judge(state.alone_record, limits.alone, limits, stands_out / unit)
    # What noise does by itself must be in the record first.
    return q if count > _ALONE_WARMUP else 0.0
