"""What the catalogue promises of a type's healthy values, worked out from its files: nothing here comes from a simulation.

A metric's readings are a random process on a grid of times; the promise is its mean and its covariance, from which follow
expected values of statistics, and how much they scatter from one device to the next. Operating states are a Markov chain that
has run for long, a wander is first-order autoregressive, a cycle without a peak has any phase.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from producers.devices.metrics import Cycle, Metric, Shape
from producers.devices.model import DeviceType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NODES = np.linspace(-8.0, 8.0, 321)
_ROOM = 5.0  # standard deviations; what is cut off beyond changes nothing that could be seen
_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()


@dataclass
class Promise:
    """Of one metric of some devices, read at n times.

    Attributes:
        mean: (devices, n) expected values.
        variance: mean square distance from it.
        step: mean square difference of one reading and the next.
        covariance: (n, n) of one device's values, before they are kept within bounds.
        normal: whether values are normally distributed and hardly ever meet a bound; else the covariance does not
            say how far squares scatter.
    """

    mean: np.ndarray
    variance: float
    step: float
    covariance: np.ndarray
    normal: bool


def _bounded(mean: np.ndarray, covariance: np.ndarray, bounds: tuple[float, float] | None) -> Promise:
    """The promise of normally distributed values that are kept within bounds."""
    sd, correlation = float(np.sqrt(covariance[0, 0])), covariance[0, 1] / covariance[0, 0]
    room = math.inf if bounds is None else min(mean.min() - bounds[0], bounds[1] - mean.max())
    if bounds is None or room > _ROOM * sd:
        return _free(mean, covariance, normal=True)
    means = np.linspace(mean.min(), mean.max(), 9)
    shift, variance, step = np.transpose([_moments(middle, sd, correlation, *bounds) for middle in means])
    moved = mean + np.interp(mean, means, shift)
    moves = np.mean(np.diff(moved, axis=1) ** 2)
    return Promise(
        moved,
        float(np.interp(mean, means, variance).mean()),
        float(np.interp(mean, means, step).mean() + moves),
        covariance,
        normal=False,
    )


def _free(mean: np.ndarray, covariance: np.ndarray, *, normal: bool) -> Promise:
    """The promise of values that meet no bounds."""
    variance = np.diag(covariance)
    steps = variance[:-1] + variance[1:] - 2.0 * np.diag(covariance, 1)
    step = float(steps.mean() + np.mean(np.diff(mean, axis=1) ** 2))
    return Promise(mean, float(variance.mean()), step, covariance, normal)


def _moments(mean: float, sd: float, correlation: float, low: float, high: float) -> tuple[float, ...]:
    """Of two correlated normal values, cut off: how far that shifts the mean, variance, mean square difference."""
    first = np.clip(sd * _NODES, low - mean, high - mean)
    mixed = correlation * _NODES[:, None] + np.sqrt(1.0 - correlation**2) * _NODES[None, :]
    second = np.clip(sd * mixed, low - mean, high - mean)
    shift = float(_WEIGHTS @ first)
    step = _WEIGHTS @ (first[:, None] - second) ** 2 @ _WEIGHTS
    return shift, float(_WEIGHTS @ first**2) - shift**2, float(step)


def promise(kind: DeviceType, name: str, times_us: np.ndarray, zones: list[str], interval: float) -> Promise:
    """The promise of a metric, of devices with the type's default parameters.

    Args:
        kind: their type.
        name: the metric; it has a baseline.
        times_us: (devices, n) when they are read, `interval` seconds apart.
        zones: time zone of each device.
        interval: seconds.
    """
    metric, n = kind.metrics[name], times_us.shape[1]
    parameters = kind.parameter_values({})
    lags = np.abs(np.arange(n)[:, None] - np.arange(n)[None, :]) * interval
    baselines = np.array([amount.resolve(parameters) for amount in metric.baselines.values()])
    largest = float(np.abs(baselines).max())
    chain = _Chain.of(kind, n, interval) if isinstance(metric.baseline, dict) else _Chain.alone(n)
    mean = np.full(times_us.shape, chain.mean(baselines))
    covariance = chain.covariance(baselines)
    normal = len(baselines) == 1 and not (metric.noise and metric.noise.uniform)
    for cycle in metric.cycles:
        amplitude = [end.resolve(parameters, largest) for end in cycle.amplitude]
        if cycle.peak is None:
            covariance = covariance + _any_phase(cycle, amplitude, n, interval)
            normal = False
        else:
            mean += amplitude[0] * cycle_heights(cycle, times_us, zones)
    for other, gain in metric.follows.items():
        source = promise(kind, other, times_us, zones, interval)
        mean += gain * (source.mean - kind.metrics[other].baselines[""].resolve(parameters))
        covariance = covariance + gain**2 * source.covariance
    if metric.inertia:
        settle = _settling(n, metric.inertia, interval)
        covariance = settle @ covariance @ settle.T
    # Amounts in parts of the baseline are parts of that of the present state.
    shares = np.abs(baselines) / largest if largest else np.ones(len(baselines))
    if metric.wander:
        std = metric.wander.std.resolve(parameters, largest)
        part = chain.product(shares) if metric.wander.std.of == "baseline" else 1.0
        covariance = covariance + part * std**2 * np.exp(-lags / metric.wander.time)
    covariance = covariance + np.diag(np.full(n, _noise_variance(metric, parameters, largest, chain, shares)))
    if not normal:
        return _free(mean, covariance, normal=False)
    low_high = metric.range and tuple(end.resolve(parameters, largest) for end in metric.range)
    return _bounded(mean, covariance, low_high)


def _noise_variance(metric: Metric, parameters, largest: float, chain: "_Chain", shares: np.ndarray) -> float:
    if metric.noise is None:
        return 0.0
    size = metric.noise.normal if metric.noise.normal is not None else metric.noise.uniform
    variance = size.resolve(parameters, largest) ** 2 / (1.0 if metric.noise.normal is not None else 3.0)
    return variance * (float(chain.product(shares)[0, 0]) if size.of == "baseline" else 1.0)


@dataclass
class _Chain:
    """Operating states: `joint[k]` (states, states) has the chances of a state and the state k readings later."""

    joint: np.ndarray

    @classmethod
    def alone(cls, n: int) -> "_Chain":
        return cls(np.ones((n, 1, 1)))

    @classmethod
    def of(cls, kind: DeviceType, n: int, interval: float) -> "_Chain":
        """States follow each other round and round; each is left at random, after `lasts` on average."""
        leave = np.array([-np.expm1(-interval / state.lasts) for state in kind.states.values()])
        size = len(leave)
        step = np.diag(1.0 - leave)
        step[np.arange(size), (np.arange(size) + 1) % size] += leave
        share = (1.0 / leave) / (1.0 / leave).sum()
        joint = [np.diag(share)]
        for _ in range(n - 1):
            joint.append(joint[-1] @ step)
        return cls(np.array(joint))

    def mean(self, values: np.ndarray) -> float:
        return float(self.joint[0].sum(axis=1) @ values)

    def product(self, values: np.ndarray) -> np.ndarray:
        """(n, n) expected products of what the state says at two times."""
        by_lag = np.einsum("i,kij,j->k", values, self.joint, values)
        n = len(by_lag)
        return by_lag[np.abs(np.arange(n)[:, None] - np.arange(n)[None, :])]

    def covariance(self, values: np.ndarray) -> np.ndarray:
        return self.product(values) - self.mean(values) ** 2


def _settling(n: int, inertia: float, interval: float) -> np.ndarray:
    """(n, n): what each value of a target, held for an interval, has in the level, which begins at the target."""
    kept = np.exp(-interval / inertia)
    matrix = np.zeros((n, n))
    for row in range(n):
        powers = kept ** np.arange(row, -1, -1)
        matrix[row, : row + 1] = powers * (1.0 - kept)
        matrix[row, 0] = powers[0]
    return matrix


def cycle_heights(cycle: Cycle, times_us: np.ndarray, zones: list[str], late: float = 0.0) -> np.ndarray:
    """(devices, n) heights of a sine with its peak at a local time, or `late` by a part of the period."""
    assert cycle.shape is Shape.SINE
    assert cycle.peak
    hours, minutes = map(int, cycle.peak.split(":"))
    ahead = {zone: _ahead_s(zone, int(times_us[0, 0])) for zone in set(zones)}
    local = times_us / 1e6 + np.array([ahead[zone] for zone in zones])[:, None]
    turns = (local - 3600.0 * hours - 60.0 * minutes) / cycle.period[0]
    return np.cos(2.0 * np.pi * (turns - late))


def _ahead_s(zone: str, time_us: int) -> float:
    moment = (_EPOCH + timedelta(microseconds=time_us)).astimezone(ZoneInfo(zone))
    return moment.utcoffset().total_seconds()


def _any_phase(cycle: Cycle, amplitude: list[float], n: int, interval: float) -> np.ndarray:
    """(n, n) covariance of a cycle whose phase, period and amplitude are uniformly distributed over the devices."""
    low, high = amplitude
    square = (low**2 + low * high + high**2) / 3.0
    periods = np.linspace(*cycle.period, 4001)
    by_lag = []
    for lag in np.arange(n) * interval:
        turns = lag / periods
        if cycle.shape is Shape.SINE:
            height = np.cos(2.0 * np.pi * turns) / 2.0
        elif cycle.shape is Shape.TRIANGLE:
            odd = np.arange(1, 8, 2)[:, None]
            height = 32.0 / np.pi**4 * (np.cos(2.0 * np.pi * odd * turns) / odd**4).sum(axis=0)
        else:
            # The same level as before, or another one, uniformly distributed between -1 and 1.
            height = np.clip(1.0 - turns, 0.0, None) / 3.0
        by_lag.append(square * height.mean())
    index = np.arange(n)
    return np.array(by_lag)[np.abs(index[:, None] - index[None, :])]
