"""Stuck: the same value again and again, from a sensor whose values normally change.

A run of equal values is judged against the longest run before. A resting value, at which a series stands long and often (a
fan that is off reads 0), is learnt and does not count; a rest is judged by the rests before it.
"""

import numpy as np

from schemas.compiled import compiled_borrowing

_LONG_RUN = 8
"""Readings from which a run makes its value a candidate for the resting value."""

_RESTS_AFTER = 2.0
"""Long runs at one value, less half of those elsewhere, after which it is the resting value."""

_REPEAT_WEIGHT = 0.002
"""Weight of the newest reading in the share of repeats."""

_LENGTHENS = 1.2
"""What a rest that alarmed makes of the longest one."""

_FORGET = 0.999
"""What the longest run keeps when another run ends."""

STATE = np.dtype(
    [
        ("run", "f8"),  # equal values before the present one
        ("longest", "f8"),
        ("repeats", "f8"),  # share of readings that repeat the one before
        ("resting", "f8"),  # how often the series rested at `rest`
        ("rest", "f8"),
        ("longest_rest", "f8"),
        ("rests", "f8"),  # so far
        ("rested", "f8"),  # readings, in all of them
        ("q", "f8"),  # of the last reading, be it of a run or of a rest
    ]
)


@compiled_borrowing
def step(state, limits, count, value, last):
    """Judge and learn; `last` is the value before. Gives q."""
    if count == 0:
        return 0.0
    rests = state.resting >= _RESTS_AFTER
    if value == last:
        state.run += 1.0
        q = 0.0
        if not (rests and value == state.rest):
            if state.repeats < limits.repeats:
                q = state.run / max(limits.threshold, limits.record * state.longest)
            if state.run < limits.threshold:
                state.repeats += _REPEAT_WEIGHT * (1.0 - state.repeats)
        state.q = q
        return q
    if state.run > 0.0:
        _end_run(state, last, rests)
    state.repeats -= _REPEAT_WEIGHT * state.repeats
    state.q = 0.0
    return 0.0


@compiled_borrowing
def rest(state, limits, count, value):
    """Judge a stay at the resting value; call it behind `step`. Gives q."""
    if state.run <= 0.0 or value != state.rest or state.rests < limits.stays or count < limits.warmup:
        return 0.0
    usual = max(limits.record * state.longest_rest, limits.mean * state.rested / state.rests)
    state.q = state.run / max(limits.threshold, usual)
    return state.q


@compiled_borrowing
def _end_run(state, value, rests):
    if rests and value == state.rest:
        state.rests += 1.0
        state.rested += state.run
        if state.q < 1.0:
            state.longest_rest = max(state.longest_rest, state.run)
        else:
            state.longest_rest *= _LENGTHENS
    if state.run >= _LONG_RUN:
        if value == state.rest and state.resting > 0.0:
            state.resting += 1.0
        elif state.resting <= 0.0:
            state.rest = value
            state.resting = 1.0
        else:
            state.resting -= 0.5
    if state.q < 1.0 and not (rests and value == state.rest):
        state.longest = max(state.longest * _FORGET, state.run)
    state.run = 0.0
