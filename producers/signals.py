"""Test signals: sinusoids and linear trends with noise and injected outliers.

The generator of the moving-average detector, in columns: values within a range of normal values, noise, and
with a given probability an outlier of one to two widths of that range (its `randint(10, 20)` on 40 to 50),
here up as well as down. A value is a pure function of (seed, series, time): `Signals.values` may be asked in
any order, any number of times, on any machine, and answers with the same bits.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from producers.exact import Stream, key_of, normal, sine, uniform

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SPIKE = "spike"
"""Ground truth of an injected outlier, in the reading's `fault`."""

_SECOND = 1_000_000
# Several cycles in a detector's window of ten minutes; a trend turns once or twice an hour.
_SINE_PERIOD_S = (60, 480)
_TREND_PERIOD_S = (3600, 10800)
# Wave and noise together stay within the range of normal values, and the smallest outlier clearly outside.
_AMPLITUDE = 0.25
_NOISE = 0.02


class Shape(IntEnum):
    """What a signal does apart from noise and outliers."""

    SINUSOID = 0
    TREND = 1

    @property
    def metric(self) -> str:
        """Name of the metric with this shape."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Signals:
    """The recipes of n series, as columns.

    Attributes:
        key: (n,) keys of the series' random draws.
        shape: (n,) `Shape` numbers.
        centre, amplitude, noise, width: (n,) middle and half height of the wave, standard deviation of the
            noise, and width of the range of normal values, all in the metric's unit.
        period: (n,) µs of a full wave; a trend goes up in one half of it and down in the other.
        phase: (n,) where in the wave time 0 falls, in turns.
        outlier_probability: chance per reading.
    """

    key: NDArray[np.uint64]
    shape: Ints
    centre: Floats
    amplitude: Floats
    noise: Floats
    width: Floats
    period: Ints
    phase: Floats
    outlier_probability: float

    def values(self, series: Ints, time: Ints) -> tuple[Floats, NDArray[np.bool_]]:
        """Values of `series` at `time` (both (n,); µs), and which of them are outliers."""
        key = self.key[series]
        period = self.period[series]
        turns = (time % period) / period + self.phase[series]
        wave = np.where(self.shape[series] == Shape.SINUSOID, sine(turns), _triangle(turns))
        value = self.centre[series] + self.amplitude[series] * wave
        value += self.noise[series] * normal(key, time, Stream.NOISE)
        outlier = uniform(key, time, Stream.OUTLIER) < self.outlier_probability
        hit = np.flatnonzero(outlier)
        if len(hit):
            draw = 2.0 * uniform(key[hit], time[hit], Stream.OUTLIER_SIZE) - 1.0
            size = np.where(draw < 0.0, draw - 1.0, draw + 1.0)
            value[hit] += self.width[series[hit]] * size
        return value, outlier


def _triangle(turns: Floats) -> Floats:
    """Linear from -1 up to 1 and down again once a turn."""
    return 1.0 - np.abs(4.0 * (turns - np.floor(turns)) - 2.0)


def make_signals(
    seed: int,
    names: list[tuple[str, str]],
    shapes: list[Shape],
    normal_range: tuple[float, float],
    outlier_probability: float,
) -> Signals:
    """Draw the recipes of the series `names` (device id, metric), each from its own key under `seed`."""
    n = len(names)
    key = np.fromiter((key_of(seed, *name) for name in names), np.uint64, n)
    low, high = normal_range
    full, shape = np.ones(n), np.array(shapes, np.int64)
    shortest = np.where(shape == Shape.SINUSOID, _SINE_PERIOD_S[0], _TREND_PERIOD_S[0])
    longest = np.where(shape == Shape.SINUSOID, _SINE_PERIOD_S[1], _TREND_PERIOD_S[1])

    def recipe(number: int) -> Floats:
        return uniform(key, np.full(n, number, np.int64), Stream.RECIPE)

    return Signals(
        key=key,
        shape=shape,
        centre=full * ((low + high) / 2.0),
        amplitude=(high - low) * _AMPLITUDE * (0.5 + 0.5 * recipe(0)),
        noise=full * ((high - low) * _NOISE),
        width=full * (high - low),
        period=((shortest + recipe(1) * (longest - shortest)) * _SECOND).astype(np.int64),
        phase=recipe(2),
        outlier_probability=outlier_probability,
    )
