"""Gap: nothing arrives for much longer than usual.

The usual interval is an exponential mean in which long ones are clipped. The deadline behind a reading is known when
it arrives; whether it passes is decided by the event time of the partition (see `deadlines`).
"""

import numpy as np

from schemas.compiled import compiled_borrowing

_KNOWN_AFTER = 20.0
_WEIGHT = 0.001  # of the newest interval, at least
_CLIP = 10.0
_CONTINUES_WITHIN = 3.0  # usual intervals, behind which a step from the last value says nothing

STATE = np.dtype(
    [
        ("interval_us", "f8"),  # usual
        ("longest_us", "f8"),
        ("intervals", "f8"),  # so far
        ("lag_us", "f8"),  # how far behind the clock of the partition its readings come
    ]
)


@compiled_borrowing
def is_known(state):
    """Whether the usual interval is known."""
    return state.intervals > _KNOWN_AFTER


@compiled_borrowing
def continues(state, interval_us):
    """Whether a reading follows the last one as usual, without a gap between."""
    return not (is_known(state) and interval_us > _CONTINUES_WITHIN * state.interval_us)


@compiled_borrowing
def deadline_us(state, limits):
    """Silence by the device's own clock that is too long, µs; 0 where that is not known yet."""
    if not is_known(state):
        return 0
    return int(max(limits.threshold * state.interval_us, limits.record * state.longest_us))


@compiled_borrowing
def patience_us(state):
    """How much longer the partition's clock waits for a device whose clock is behind, or whose readings come late, µs."""
    return int(state.lag_us)


@compiled_borrowing
def step(state, limits, interval_us, lag_us):
    """Learn from the interval before a reading, and from how far behind the partition's clock it came."""
    state.lag_us = max(state.lag_us * (1.0 - _WEIGHT), lag_us)
    if is_known(state):
        if interval_us < limits.threshold * state.interval_us:
            state.longest_us = max(state.longest_us * (1.0 - _WEIGHT), interval_us)
        else:
            # one gap says little, the same gap many times is how this series is
            state.longest_us += 0.1 * (min(interval_us, _CLIP * state.interval_us) - state.longest_us)
        interval_us = min(interval_us, _CLIP * state.interval_us)
    state.intervals += 1.0
    state.interval_us += max(1.0 / state.intervals, _WEIGHT) * (interval_us - state.interval_us)
