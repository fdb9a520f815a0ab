"""Shift: a mean of the last values beyond every such mean before: slow drifts and changes of level.

As `range` does for single values; it judges pane means (see `judging_kernel`).
"""

import numpy as np

from processors.engine.channels import extent
from schemas.compiled import compiled_borrowing

VALUES = 20
"""Values in the short window."""

_LARGEST = 3e38
"""Values beyond do not fit into the ring."""

STATE = np.dtype([("extent", extent.STATE), ("ring", "f4", (VALUES,))])


@compiled_borrowing
def step(state, limits, count, value, spread):
    """Judge and learn.

    Args:
        state, limits: the channel's.
        count: values before this one.
        value: the value.
        spread: width of the series' own extent.

    Returns:
        q.
    """
    state.ring[count % VALUES] = np.float32(min(max(value, -_LARGEST), _LARGEST))
    if count < VALUES:
        return 0.0
    total = 0.0  # anew each time: a running sum would keep the rounding of a value that was absurdly large
    for i in range(VALUES):
        total += state.ring[i]
    mean = total / VALUES
    if count == VALUES:
        extent.begin(state.extent, mean)
        return 0.0
    width = state.extent.high - state.extent.low
    tolerance = limits.threshold * width + limits.spread * spread
    q = 0.0
    if count > limits.warmup and tolerance > 0.0 and width > 0.0:
        q = extent.overshoot(state.extent, mean) / tolerance
    else:
        tolerance = 0.0
    extent.widen(state.extent, mean, tolerance, limits.shrink, limits.share)
    return q
