"""The extent of a series: the lowest and highest value it ever had, of which faults are no lasting part.

A value beyond it that does not alarm widens it at once. One that alarms widens a shadow, which shrinks back
slowly, and moves the extent by a small share only: the same fault again alarms again after a while, and a
real change of level is taken over within a bounded number of readings.
"""

import numpy as np

from schemas.compiled import compiled_borrowing

_CAUTION_READINGS = 600.0

STATE = np.dtype([("low", "f8"), ("high", "f8"), ("shadow_low", "f8"), ("shadow_high", "f8")])


@compiled_borrowing
def begin(extent, value):
    """The first value."""
    extent.low = extent.high = extent.shadow_low = extent.shadow_high = value


@compiled_borrowing
def overshoot(extent, value):
    """How far a value lies outside of extent and shadow; negative inside."""
    return max(value - max(extent.high, extent.shadow_high), min(extent.low, extent.shadow_low) - value)


@compiled_borrowing
def caution(count):
    """How many times the tolerance a value must lie outside after so many: few have not shown yet what the extent is.

    Of pure noise the largest of 200 values is often passed by a tenth of the extent in the next 200, of 2,000 hardly.
    """
    return 1.0 + _CAUTION_READINGS / count


@compiled_borrowing
def widen(extent, value, tolerance, shrink, share):
    """Take a value in.

    Args:
        extent: `STATE`.
        value: the value.
        tolerance: how far outside of the extent it alarms.
        shrink: share by which the shadow comes back per value.
        share: share of the way that the extent follows a value that alarms.
    """
    extent.shadow_high = max(extent.high, extent.shadow_high - shrink * (extent.shadow_high - extent.high))
    extent.shadow_low = min(extent.low, extent.shadow_low + shrink * (extent.low - extent.shadow_low))
    if value > extent.high:
        if value - extent.high < tolerance or tolerance <= 0.0:
            extent.high = value
        else:
            extent.shadow_high = max(extent.shadow_high, value)
            extent.high += share * (value - extent.high)
    elif value < extent.low:
        if extent.low - value < tolerance or tolerance <= 0.0:
            extent.low = value
        else:
            extent.shadow_low = min(extent.shadow_low, value)
            extent.low += share * (value - extent.low)
