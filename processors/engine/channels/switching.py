"""On and off: flicker (it toggles more often than ever) and dwell (it stays in one state longer than ever).

For metrics that are 0 or 1. Toggles are counted over the last `READINGS` readings and judged against the record; a
stay is judged against the longest stay in that state, which what alarmed lengthens by a fifth only.
"""

import numpy as np

from processors.engine.channels import record
from schemas.compiled import compiled_borrowing

READINGS = 8
_LENGTHENS = 1.2

STATE = np.dtype(
    [
        ("stay", "f8"),  # readings since the last toggle
        ("longest", "f8", (2,)),  # stay off and on
        ("stays", "f8", (2,)),  # so far
        ("stayed", "f8", (2,)),  # readings, in all of them
        ("recent", "f8"),  # in the ring
        ("record", record.STATE),
        ("ring", "u1", (READINGS,)),
    ]
)


@compiled_borrowing
def flicker(state, limits, count, toggled):
    """Judge how often it toggles, and learn. Gives q."""
    slot = count % READINGS
    new = 1 if toggled else 0
    state.recent += new - float(state.ring[slot])
    state.ring[slot] = new
    if count <= limits.warmup:
        return 0.0
    return record.judge(state.record, limits.threshold, limits, state.recent)


@compiled_borrowing
def dwell(state, limits, count, is_on, toggled):
    """Judge how long it stays, and learn; `is_on` is the state now. Gives q."""
    if toggled:
        was = 0 if is_on else 1
        if state.stays[was] < limits.stays or state.stay < _threshold(state, limits, was):
            state.longest[was] = max(state.longest[was], state.stay)
            state.stayed[was] += state.stay
            state.stays[was] += 1.0
        else:
            state.longest[was] *= _LENGTHENS
        state.stay = 0.0
        return 0.0
    state.stay += 1.0
    side = 1 if is_on else 0
    if state.stays[side] < limits.stays or count < limits.warmup:
        return 0.0
    return state.stay / _threshold(state, limits, side)


@compiled_borrowing
def _threshold(state, limits, side):
    mean = state.stayed[side] / max(state.stays[side], 1.0)
    return max(limits.threshold, limits.record * state.longest[side], limits.mean * mean)
