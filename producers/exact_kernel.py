"""`producers.exact` for compiled loops: the same draws, one at a time, to the bit (tests hold the two equal)."""

import math

import numpy as np

from producers.exact import CENTRE, FAR, LN2_HIGH, LN2_LOW, LOG, MIDDLE
from schemas.compiled import compiled

_CENTRE, _MIDDLE, _FAR = np.array(CENTRE), np.array(MIDDLE), np.array(FAR)
_SQRT_HALF = float(np.sqrt(0.5))
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@compiled
def _mix(word):
    word = (word ^ (word >> np.uint64(30))) * _FIRST
    word = (word ^ (word >> np.uint64(27))) * _SECOND
    return word ^ (word >> np.uint64(31))


@compiled
def _bits(key, counter, stream):
    mixed = _mix(np.uint64(counter) * _GOLDEN + np.uint64(stream))
    return _mix(_mix(key ^ mixed) + _GOLDEN)


@compiled
def draw_uniform(key, counter, stream):
    """Uniform in [0, 1)."""
    return np.float64(np.int64(_bits(key, counter, stream) >> np.uint64(11))) * 2.0**-53


@compiled
def draw_normal(key, counter, stream):
    """Standard normal."""
    inside = np.float64(np.int64(_bits(key, counter, stream) >> np.uint64(12)))
    return _quantile((inside + 0.5) * 2.0**-52)


@compiled
def _logarithm(x):
    fraction, exponent = math.frexp(x)
    low = fraction < _SQRT_HALF
    f = (2.0 * fraction if low else fraction) - 1.0
    k = np.float64(exponent) - (1.0 if low else 0.0)
    s = f / (2.0 + f)
    z = s * s
    tail = 0.0
    for coefficient in LOG:
        tail = (tail + coefficient) * z
    half = 0.5 * f * f
    return k * LN2_HIGH - ((half - (s * (half + tail) + k * LN2_LOW)) - f)


@compiled
def _ratio(x, coefficients):
    above = below = 0.0
    for i in range(coefficients.shape[1]):
        above = above * x + coefficients[0, i]
        below = below * x + coefficients[1, i]
    return above / below


@compiled
def _quantile(p):
    q = p - 0.5
    if abs(q) <= 0.425:
        return q * _ratio(0.180625 - q * q, _CENTRE)
    r = np.sqrt(-_logarithm(p if q < 0.0 else 1.0 - p))
    tail = _ratio(r - 1.6, _MIDDLE) if r <= 5.0 else _ratio(r - 5.0, _FAR)
    return -tail if q < 0.0 else tail


@compiled
def sine_of(turns):
    """The sine of a full turn's part."""
    t = turns - np.floor(turns + 0.5)
    if t > 0.25:
        t = 0.5 - t
    elif t < -0.25:
        t = -0.5 - t
    x = t * (2.0 * np.pi)
    square = x * x
    total = 0.0
    for k in range(10, 0, -1):
        total = (total + 1.0) * (-square / (2.0 * k * (2.0 * k + 1.0)))
    return x * (1.0 + total)
