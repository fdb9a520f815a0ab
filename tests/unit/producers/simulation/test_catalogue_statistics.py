"""An hour of 1,000 mixed devices, and two days of fewer, have the statistics that the catalogue promises.

Expected values are worked out from the catalogue's files (`catalogue_promises`), and each statistic must be within its
confidence interval. Readings of one device hang together (wander, states, cycles), devices do not: how far a statistic
scatters follows from the promised covariance, or, where values are not normally distributed, from the scatter among the
devices. The intervals of one test hold all at once with `CONFIDENCE` (Bonferroni), whatever the seed.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from catalogue_promises import Promise, cycle_heights, promise
from fleets_of_tests import SECOND, START

from producers.devices.catalogue import load_catalogue
from producers.devices.fleets import load_fleet, spread_fleet
from producers.devices.model import DeviceType, Effect, Fault
from producers.simulation.device_fleet import DeviceFleet

CONFIDENCE = 0.999
TYPES = load_catalogue().types
HEALTHY = -1
# What the documents say; the rest is 1.
MANUFACTURERS = {"SensorTech": 1.2, "DataLogger": 1.1, "DataSense": 0.8, "MonitorPro": 0.9}
FIRMWARE = {"1.2.0": 0.7, "1.4": 0.7, "2.0.1": 0.85, "2.1.0": 0.85, "3.0-beta": 1.5}
SPREADS = {
    ("environmental", "temperature"): 2.0,
    ("environmental", "pressure"): 10.0,
    ("environmental", "voltage"): 0.1,
}


class Run:
    """A mixed fleet's readings, as tables with a row a series.

    Attributes:
        values, faults: (series, n); nan where there is no reading, and `HEALTHY` where there is no fault.
        times: (series, n) in µs.
    """

    def __init__(self, devices, interval, n, *, seed=1, anomaly_rate=None):
        spec = spread_fleet(load_fleet("mixed"), devices)
        if anomaly_rate is not None:
            chances = spec.faults.model_copy(update={"enabled": anomaly_rate > 0})
            spec = spec.model_copy(update={"faults": chances})
        self.spec, self.interval, self.n = spec, interval, n
        self.fleet = DeviceFleet(spec, load_catalogue(), seed, interval * SECOND)
        begin = -(-START // (interval * SECOND))
        batch = self.fleet.between(begin * interval * SECOND, (begin + n) * interval * SECOND)
        table = self.fleet.table
        place = batch.series, batch.time // (interval * SECOND) - begin
        self.values = np.full((len(table), n), np.nan)
        self.faults = np.full((len(table), n), HEALTHY)
        self.values[place], self.faults[place] = batch.value, batch.fault
        offsets = np.zeros(len(table), np.int64)
        offsets[batch.series] = batch.time % (interval * SECOND)
        self.times = (begin + np.arange(n)) * interval * SECOND + offsets[:, None]
        self.numbers = {
            series: number for number, series in enumerate(zip(table.device_ids, table.metrics, strict=True))
        }
        self.devices = {name: [d for d in self.fleet.devices if d.type == name] for name in TYPES}

    def rows(self, kind, metric):
        """The series of a metric of all devices of a type."""
        return [self.numbers[device.device_id, metric] for device in self.devices[kind]]

    def promise(self, kind, metric) -> Promise:
        zones = [device.location.timezone if device.location else "UTC" for device in self.devices[kind]]
        return promise(TYPES[kind], metric, self.times[self.rows(kind, metric)], zones, self.interval)

    def device_faults(self, kind):
        """(devices, n) the fault's number that a device has at a time; a device that says nothing misses its data."""
        missing = self.fleet.table.fault("missing_data")
        rows = np.array([self.rows(kind, metric) for metric in TYPES[kind].metrics])
        silent = np.isnan(self.values[rows]).all(axis=0)
        return np.where(silent, missing, self.faults[rows].max(axis=0))

    def episodes(self, kind) -> Iterator[tuple[int, str, int, int]]:
        """(device's row, fault, first reading, readings) of each fault of a type's devices."""
        faults = self.device_faults(kind)
        edges = np.diff(faults, axis=1, prepend=HEALTHY, append=HEALTHY) != 0
        for device, row in enumerate(faults):
            ends = np.flatnonzero(edges[device]).tolist()
            for begin, end in pairwise(ends):
                if row[begin] != HEALTHY:
                    yield device, self.fleet.table.faults[row[begin]], begin, end - begin


@pytest.fixture(scope="module")
def hour():
    return Run(1000, 5, 720)


@pytest.fixture(scope="module")
def healthy_hour():
    """The same, had no device a fault."""
    return Run(1000, 5, 720, anomaly_rate=0.0)


@pytest.fixture(scope="module")
def days():
    return Run(600, 600, 288, anomaly_rate=0.0)


# Scores: how many standard deviations of a normal distribution a statistic is away from what it should be.

Scores = dict[str, float]


def within(scores: Scores):
    """All intervals hold."""
    limit = NormalDist().inv_cdf(1.0 - (1.0 - CONFIDENCE) / 2.0 / len(scores))
    outside = {name: round(score, 2) for name, score in scores.items() if not abs(score) < limit}
    assert not outside, f"beyond +-{limit:.2f}"


def gamma_score(mean, expected, shape):
    """Of something positive with a gamma distribution of that shape (Wilson and Hilferty 1931)."""
    return ((mean / expected) ** (1 / 3) - 1 + 1 / (9 * shape)) * 3 * math.sqrt(shape)


def poisson_score(count, expected):
    """Of a count of rare events, by the chance of so many, or so few."""
    chances = [math.exp(k * math.log(expected) - expected - math.lgamma(k + 1)) for k in range(count + 1)]
    fewer, more = math.fsum(chances), 1.0 - math.fsum(chances[:-1])
    tail = max(1e-15, min(fewer, more, 0.5))
    return NormalDist().inv_cdf(tail) * (1.0 if fewer < more else -1.0)


# Healthy readings


def levels():
    """Every metric of every type that is no sum or ratio of others."""
    return [
        (name, metric)
        for name, kind in TYPES.items()
        for metric, what in kind.metrics.items()
        if what.baseline is not None
    ]


def healthy_scores(run: Run) -> Scores:
    scores = {}
    for kind, metric in levels():
        rows, promised = run.rows(kind, metric), run.promise(kind, metric)
        values = np.where(run.faults[rows] == HEALTHY, run.values[rows], np.nan)
        distance = values - promised.mean
        there = ~np.isnan(values)
        scores[f"{kind} {metric}: mean"] = mean_score(distance, there, promised)
        covariance, steps = promised.covariance, difference_covariance(promised.covariance)
        for name, squares, expected, whose in (
            ("variance", distance**2, promised.variance, covariance),
            ("steps", np.diff(values, axis=1) ** 2, promised.step, steps),
        ):
            of_devices = np.nanmean(squares, axis=1)
            if promised.normal:
                # A mean of squares; readings with a fault are no part of it.
                freedom = np.trace(whose) ** 2 / np.sum(whose**2) * there.mean() * len(rows)
                score = gamma_score(of_devices.mean(), expected, freedom / 2)
            else:
                score = (of_devices.mean() - expected) / (of_devices.std(ddof=1) / math.sqrt(len(rows)))
            scores[f"{kind} {metric}: {name}"] = score
    return scores


def mean_score(distance, there, promised):
    """Of the mean distance from what is expected."""
    weights = there / there.sum(axis=1, keepdims=True)
    mean = np.where(there, distance, 0.0) * weights
    variance = np.einsum("dn,dn->d", weights @ promised.covariance, weights)
    return mean.sum() / math.sqrt(variance.sum())


def difference_covariance(covariance):
    """Of one value's distance from the next."""
    return covariance[1:, 1:] + covariance[:-1, :-1] - covariance[1:, :-1] - covariance[:-1, 1:]


def test_healthy_readings_have_the_means_and_spreads_and_move_as_promised(hour):
    within(healthy_scores(hour))


def test_so_they_have_over_days_of_readings_far_apart(days):
    within(healthy_scores(days))


def cycle_scores(run: Run) -> Scores:
    """How much of a day's cycle there is beyond, or short of, what is promised; and at the hours where it has none."""
    scores = {}
    for kind, metric in levels():
        whole = TYPES[kind].metrics
        sources = (metric, *whole[metric].follows)
        for source in sources:
            for cycle in whole[source].cycles:
                if cycle.peak is None:
                    continue
                rows, promised = run.rows(kind, metric), run.promise(kind, metric)
                zones = [device.location.timezone for device in run.devices[kind]]
                distance = run.values[rows] - promised.mean
                for name, turns in (("height", 0.0), ("hour", 0.25)):
                    basis = cycle_heights(cycle, run.times[rows], zones, turns) * 2.0 / run.n
                    variance = np.einsum("dn,dn->d", basis @ promised.covariance, basis)
                    scores[f"{kind} {metric} {name}"] = (basis * distance).sum() / math.sqrt(variance.sum())
    return scores


def test_days_have_their_cycles_by_the_local_clock(days):
    scores = cycle_scores(days)
    assert len(scores) == 2 * (1 + 2 * 4)
    within(scores)


def test_values_stay_within_what_is_healthy_and_what_the_sensor_can_say(hour):
    for kind, metric in levels():
        what, parameters = TYPES[kind].metrics[metric], TYPES[kind].parameter_values({})
        rows = hour.rows(kind, metric)
        values = hour.values[rows]
        healthy = values[hour.faults[rows] == HEALTHY]
        for found, bounds in ((healthy[~np.isnan(healthy)], what.range), (values, what.limits)):
            if bounds is not None:
                low, high = (end.resolve(parameters) for end in bounds)
                assert low <= np.nanmin(found) <= np.nanmax(found) <= high, (kind, metric)


def test_what_is_made_of_others_is(hour):
    for kind in ("hvac", "lighting", "server", "industrial", "appliance"):
        power, voltage, current, energy = (
            hour.values[hour.rows(kind, metric)] for metric in ("power", "voltage", "current", "energy")
        )
        assert not np.isnan(power).any()
        # A device that has failed reads no power; half a digit is lost by rounding.
        assert np.abs(current - 1000 * power / voltage).max() <= 0.00051
        assert np.abs(energy - np.cumsum(power, axis=1) * hour.interval / 3600).max() <= 0.0000006


# Faults


def test_faults_change_what_they_say_and_nothing_else(hour, healthy_hour):
    """Every reading without a fault is the one that there would have been; what is summed up remembers them."""
    sums = {metric for kind in TYPES.values() for metric, what in kind.metrics.items() if what.counter}
    table = hour.fleet.table
    compared = [number for number, metric in enumerate(table.metrics) if metric not in sums]
    same = hour.values[compared] == healthy_hour.values[compared]
    healthy = (hour.faults[compared] == HEALTHY) & ~np.isnan(hour.values[compared])
    assert same[healthy].all()
    assert 0.9 < healthy.mean() < 0.99
    assert not (healthy_hour.faults != HEALTHY).any()
    assert not np.isnan(healthy_hour.values).any()


def chance(run: Run, kind, device) -> float:
    (probability,) = {group.faults.probability for group in run.spec.groups if group.type == kind}
    return probability * MANUFACTURERS.get(device.manufacturer, 1.0) * FIRMWARE.get(device.firmware, 1.0)


def shares(kind: DeviceType) -> dict[str, float]:
    whole = sum(fault.weight for fault in kind.faults.values())
    return {name: fault.weight / whole for name, fault in kind.faults.items() if fault.weight}


def begin_scores(run: Run) -> Scores:
    """Of how many faults begin: by type, by kind, by what the devices are made of."""
    expected, found = Counter(), Counter()
    for name, kind in TYPES.items():
        faults = run.device_faults(name)
        begun = np.zeros(len(faults), np.int64)
        for device, _, _, _ in run.episodes(name):
            begun[device] += 1
        # A fault may begin at every reading that is healthy without it.
        chances = (faults == HEALTHY).sum(axis=1) + begun
        for device, times, tries in zip(run.devices[name], begun.tolist(), chances.tolist(), strict=True):
            mean = tries * chance(run, name, device)
            places = [f"on {name}"]
            if device.manufacturer in MANUFACTURERS:
                places += [f"by {device.manufacturer}", f"with firmware {device.firmware}"]
            for place in places:
                found[place] += times
                expected[place] += mean
            for fault, share in shares(kind).items():
                expected[fault] += mean * share
    found |= run.fleet.episodes
    return {name: poisson_score(found[name], mean) for name, mean in expected.items()}


def test_faults_begin_as_often_as_chances_weights_and_factors_say(hour):
    scores = begin_scores(hour)
    assert len(scores) == len(TYPES) + 4 + 6 + len(set().union(*map(shares, TYPES.values())))
    within(scores)
    assert hour.fleet.episodes.keys() <= scores.keys()


def lasting(fault: Fault, run: Run) -> np.ndarray:
    """[m]: the chance that an episode has more than m readings."""
    readings, span = np.arange(run.n + 1), fault.duration
    if span.in_readings:
        counts = np.arange(round(span.low), round(span.high) + 1)
        return (counts[:, None] > readings).mean(axis=0)
    passed = readings * run.interval
    if span.low == span.high:
        return (passed < span.low).astype(float)
    return np.clip((span.high - passed) / (span.high - span.low), 0.0, 1.0)


def length_scores(run: Run) -> Scores:
    """Of how many readings the faults last that can be seen from beginning to end."""
    scores = {}
    for name, kind in TYPES.items():
        lengths: dict[str, list[int]] = {}
        for _, fault, begin, length in run.episodes(name):
            longer = lasting(kind.faults[fault], run)
            if longer[run.n - begin] == 0.0:
                lengths.setdefault(fault, []).append(length)
        for fault, found in lengths.items():
            longer = lasting(kind.faults[fault], run)
            mean = longer.sum()
            variance = ((2 * np.arange(len(longer)) + 1) * longer).sum() - mean**2
            if variance < 1e-6:
                # One may follow on the other.
                assert set(found) <= {round(mean), round(2 * mean)}, (name, fault)
            else:
                scores[f"{name} {fault}"] = (np.mean(found) - mean) / math.sqrt(variance / len(found))
    return scores


def test_faults_last_as_long_as_they_say(hour):
    scores = length_scores(hour)
    assert len(scores) > 25
    within(scores)


def share_scores(run: Run) -> Scores:
    """Of how many readings have a fault, by family; healthy and faulty stretches take turns from a healthy beginning."""
    found, mean, variance = Counter(), Counter(), Counter()
    for name, kind in TYPES.items():
        found[kind.family] += int((run.device_faults(name) != HEALTHY).sum())
        longer = sum(share * lasting(kind.faults[fault], run) for fault, share in shares(kind).items())
        squares = np.cumsum((2 * np.arange(len(longer)) + 1) * longer)
        for probability, count in Counter(chance(run, name, d) for d in run.devices[name]).items():
            begins = np.zeros(run.n)
            for t in range(run.n):
                begins[t] = probability * (1.0 - begins[:t] @ longer[t:0:-1])
            mean[kind.family] += count * np.convolve(begins, longer)[: run.n].sum()
            variance[kind.family] += count * (begins @ squares[run.n - 1 :: -1][: run.n])
    return {
        family: gamma_score(found[family], mean[family], mean[family] ** 2 / variance[family])
        for family in found
    }


def test_the_shares_of_faulty_readings_follow(hour):
    scores = share_scores(hour)
    assert scores.keys() == {"energy", "industrial", "environmental", "signal"}
    within(scores)


@dataclass
class Amounts:
    """Sizes of sudden faults, in their own scale, with their signs."""

    fault: Fault
    found: list[float]


def amounts(run: Run, healthy: Run) -> dict[str, Amounts]:
    """What faults that are there at once did to their first reading, by type and kind; without what met the sensor's ends."""
    found: dict[str, Amounts] = {}
    for name, kind in TYPES.items():
        width = kind.parameter_values({}).get("width", 1.0)
        for device, fault_name, begin, _ in run.episodes(name):
            fault = kind.faults[fault_name]
            if fault.onset or fault.effect not in {Effect.ADD, Effect.MULTIPLY}:
                continue
            for metric in fault.metrics or kind.metrics:
                number = run.rows(name, metric)[device]
                value, before = run.values[number, begin], healthy.values[number, begin]
                if run.faults[number, begin] == HEALTHY or kind.metrics[metric].baseline is None:
                    continue
                scale = {"units": 1.0, "baseline": 1.0, "width": width}.get(
                    fault.scale, SPREADS.get((name, metric))
                )
                if scale:
                    size = value / before if fault.effect is Effect.MULTIPLY else (value - before) / scale
                    found.setdefault(f"{name} {fault_name}", Amounts(fault, [])).found.append(size)
    return found


def amount_scores(run: Run, healthy: Run) -> Scores:
    scores = {}
    for name, sizes in amounts(run, healthy).items():
        (low, high), found = sizes.fault.intensity, np.array(sizes.found)
        assert np.abs(found).min() > low * 0.98, name
        assert np.abs(found).max() < high * 1.02, name
        if high > low:
            deviation = (high - low) / math.sqrt(12 * len(found))
            scores[name] = (np.abs(found).mean() - (low + high) / 2) / deviation
        if sizes.fault.sign == "random":
            scores[f"{name}: up or down"] = np.sign(found).mean() * math.sqrt(len(found))
        else:
            assert (np.sign(found) == (1 if sizes.fault.sign == "up" else -1)).all(), name
    return scores


def test_faults_are_as_strong_as_they_say(hour, healthy_hour):
    scores = amount_scores(hour, healthy_hour)
    assert scores.keys() >= {"hvac power_spike", "oven spike", "signal spike", "environmental spike"}
    within(scores)
