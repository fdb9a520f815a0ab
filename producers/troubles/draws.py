"""The troubles' random draws: functions of (series or device, time, stream), as all draws of the simulation."""

from enum import IntEnum
from typing import cast

import numpy as np
from numpy.typing import NDArray

from producers.exact import Stream, uniform

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Floats = NDArray[np.float64]


class TroubleStream(IntEnum):
    """What a draw is for; continues `producers.exact.Stream`. Numbers are part of the seed: never reuse."""

    DROPPED = 100
    LATE = 101
    LATE_DELAY = 102
    OUT_OF_ORDER = 103
    OUT_OF_ORDER_DELAY = 104
    DUPLICATED = 105
    MALFORMED = 106
    MALFORMED_KIND = 107
    MALFORMED_VALUE = 108
    CLOCK = 109
    CLOCK_OFFSET = 110
    CLOCK_DIRECTION = 111
    CLOCK_DRIFT = 112
    CLOCK_PHASE = 113
    BURST = 114
    BURST_PHASE = 115
    BURST_BEGIN = 116
    BURST_HOLD = 117
    # One for each copy: 1000, 1001, ...
    DUPLICATE_DELAY = 1000


def draw(key: Words, counter: Ints, stream: TroubleStream, number: int = 0) -> Floats:
    """Uniform in [0, 1) for each (key, counter), both (n,); `number` tells draws of one stream apart."""
    return uniform(key, counter, cast("Stream", int(stream) + number))


def hits(key: Words, counter: Ints, stream: TroubleStream, probability: float) -> Ints:
    """Which rows something of this probability happens to."""
    return np.flatnonzero(draw(key, counter, stream) < probability)


def between(uniform_draws: Floats, low: int, high: int) -> Ints:
    """Whole numbers from `low` to `high`, both possible."""
    return low + (uniform_draws * (high - low + 1)).astype(np.int64)


def microseconds(lengths: tuple[float, float]) -> tuple[int, int]:
    """Both ends of a range of seconds."""
    return round(lengths[0] * 1e6), round(lengths[1] * 1e6)
