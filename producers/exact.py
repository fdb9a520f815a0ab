"""Random draws and elementary functions that give the same bits on every machine.

numpy's own `sin` and `log` differ in the last bit from processor to processor (they use what vector unit
there is), and its generators depend on the order of drawing. Here everything is made of IEEE additions,
multiplications, divisions and square roots, which are exact by definition, and a draw is a function of
(key, counter, stream): nothing depends on the order, the number at once, or the speed.
"""

import hashlib
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]


class Stream(IntEnum):
    """What a draw is for; draws of different streams are independent. Numbers are part of the seed: never reuse."""

    RECIPE = 1
    NOISE = 2
    OUTLIER = 3
    OUTLIER_SIZE = 4
    FAULT_START = 5
    FAULT_KIND = 6
    FAULT_INTENSITY = 7
    FAULT_DURATION = 8
    FAULT_SIGN = 9
    FAULT_METRIC = 10
    FAULT_VALUE = 11
    STATE = 12
    WANDER = 13
    STEPS = 14
    CHOICE = 15


def key_of(seed: int, *names: str) -> int:
    """A 64-bit key for `names` under `seed`, so that adding devices changes no other device's draws."""
    text = "\0".join([str(seed), *names])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _mix(word: Words) -> Words:
    """Stafford's variant 13 of MurmurHash3's finalizer, as in SplitMix64: every input bit flips half the output."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def bits(key: Words, counter: Ints, stream: Stream) -> Words:
    """64 random bits for each (key, counter), both of shape (n,)."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    mixed = _mix(counter.astype(np.uint64) * golden + np.full(1, int(stream), np.uint64))
    return _mix(_mix(key ^ mixed) + golden)


def uniform(key: Words, counter: Ints, stream: Stream) -> Floats:
    """Uniform draws in [0, 1), multiples of 2**-53."""
    return (bits(key, counter, stream) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(key: Words, counter: Ints, stream: Stream) -> Floats:
    """Standard normal draws, at most 8.2 from zero."""
    inside = (bits(key, counter, stream) >> np.uint64(12)).astype(np.float64)
    return normal_quantile((inside + 0.5) * 2.0**-52)


def sine(turns: Floats) -> Floats:
    """sin(2 pi turns), to about 1e-15; `turns` should be small, for its own rounding sets the accuracy."""
    t = turns - np.floor(turns + 0.5)
    t = np.where(t > 0.25, 0.5 - t, np.where(t < -0.25, -0.5 - t, t))
    x = t * (2.0 * np.pi)
    square = x * x
    # The Taylor series; on [-pi/2, pi/2] the first term left out is below 1e-18.
    total = np.zeros_like(x)
    for k in range(10, 0, -1):
        total = (total + 1.0) * (-square / (2.0 * k * (2.0 * k + 1.0)))
    return x * (1.0 + total)


def logarithm(x: Floats) -> Floats:
    """Natural logarithm of positive numbers (fdlibm's e_log.c: reduction to [sqrt(1/2), sqrt(2)), then a polynomial)."""
    fraction, exponent = np.frexp(x)
    low = fraction < np.sqrt(0.5)
    f = np.where(low, 2.0 * fraction, fraction) - 1.0
    k = exponent.astype(np.float64) - low
    s = f / (2.0 + f)
    z = s * s
    tail = np.zeros_like(z)
    for coefficient in LOG:
        tail = (tail + coefficient) * z
    half = 0.5 * f * f
    result: Floats = k * LN2_HIGH - ((half - (s * (half + tail) + k * LN2_LOW)) - f)
    return result


LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
LOG = (
    1.479819860511658591e-01,
    1.531383769920937332e-01,
    1.818357216161805012e-01,
    2.222219843214978396e-01,
    2.857142874366239149e-01,
    3.999999999940941908e-01,
    6.666666666666735130e-01,
)


def normal_quantile(p: Floats) -> Floats:
    """The normal distribution's quantile for p in (0, 1), to about 1e-16 relative.

    Wichura, "Algorithm AS 241", Applied Statistics 37 (1988), PPND16.
    """
    q = p - 0.5
    near = 0.180625 - q * q
    central = q * _ratio(near, CENTRE)
    r = np.sqrt(-logarithm(np.where(q < 0.0, p, 1.0 - p)))
    tail = np.where(r <= 5.0, _ratio(r - 1.6, MIDDLE), _ratio(r - 5.0, FAR))
    return np.where(np.abs(q) <= 0.425, central, np.where(q < 0.0, -tail, tail))


def _ratio(x: Floats, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Floats:
    above, below = np.zeros_like(x), np.zeros_like(x)
    for a, b in zip(*coefficients, strict=True):
        above, below = above * x + a, below * x + b
    return above / below


# fmt: off
CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)
MIDDLE = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)
FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)
# fmt: on
