"""What sensor-log-generator's configuration says of values and anomalies, as changes to one of our device types."""

import math
from collections.abc import Mapping
from typing import Any

from producers.devices.amounts import Amount
from producers.devices.fleet_spec import FaultChances
from producers.devices.metrics import Metric
from producers.devices.model import DeviceType, Fault
from producers.legacy.config import Anomalies, Anomaly, Noise, Parameter, Pattern, Spike, Trend
from schemas.durations import format_duration

_USUAL_STD = {"temperature": 2.0, "humidity": 5.0, "pressure": 10.0, "voltage": 0.1, "vibration": 0.5}
"""Standard deviations of the types' metrics; tests/unit/producers/legacy holds them against the engine."""
_USUAL_SEVERITY = 2.0
_PATTERN_AMPLITUDE = 0.2
"""Part of the mean by which their pattern swings."""
_FEWEST_READINGS = 4
"""Of a swing that can still be seen in the readings."""
_ROOM = 10.0
"""Standard deviations by which a fault may leave the range before the sensor's own limits."""
_PASCAL_FROM, _BAR_BELOW = 10_000.0, 100.0
"""Air pressure has no unit in their file: its size tells."""


def metric_changes(given: Mapping[str, Parameter], kind: DeviceType) -> dict[str, dict[str, Any]]:
    """Changes to a type's metrics, as a fleet's group has them."""
    ratios = {name: _std(name, given.get(name)) / _USUAL_STD[name] for name in kind.metrics}
    changes = {name: _metric(name, parameter, kind.metrics[name]) for name, parameter in given.items()}
    for name, metric in kind.metrics.items():
        # What it takes from another metric grows with its own spread, not with the other one's.
        follows = {
            other: gain * ratios[name] / ratios[other] if ratios[other] else 0.0
            for other, gain in metric.follows.items()
        }
        if follows != metric.follows:
            changes.setdefault(name, {})["follows"] = follows
    return changes


def _std(name: str, parameter: Parameter | None) -> float:
    return _USUAL_STD[name] if parameter is None or parameter.std_dev is None else parameter.std_dev


def _metric(name: str, parameter: Parameter, metric: Metric) -> dict[str, Any]:
    """Changes to a metric: every part of its spread in proportion, so that it keeps its cycles."""
    std = _std(name, parameter)
    changes: dict[str, Any] = {}
    if parameter.mean is not None:
        changes["baseline"] = parameter.mean
        if name == "pressure":
            changes["unit"] = _pressure_unit(parameter.mean)
    if parameter.std_dev is not None:
        changes |= _parts(metric, std / _USUAL_STD[name])
        changes["decimals"] = max(metric.decimals, _decimals(std))
    mean = _number(metric.baselines[""]) if parameter.mean is None else parameter.mean
    room = _ROOM * std
    low, high = parameter.min, parameter.max
    low = min(mean - room, mean if high is None else high) if low is None else low
    high = max(mean + room, low) if high is None else high
    return changes | {"range": [low, high], "limits": _limits(name, metric, low, high, room)}


def _parts(metric: Metric, ratio: float) -> dict[str, Any]:
    """What a metric's spread is made of, times `ratio`."""
    changes: dict[str, Any] = {}
    if metric.cycles:
        changes["cycles"] = [
            {**cycle.model_dump(), "amplitude": [_number(end) * ratio for end in cycle.amplitude]}
            for cycle in metric.cycles
        ]
    if metric.wander:
        changes["wander"] = {"std": _number(metric.wander.std) * ratio, "time": metric.wander.time}
    if metric.noise and metric.noise.normal is not None:
        changes["noise"] = {"normal": _number(metric.noise.normal) * ratio}
    return changes


def _limits(name: str, metric: Metric, low: float, high: float, room: float) -> list[float]:
    """What the sensor can say: the type's limits, with room for faults, and not beyond what there can be."""
    assert metric.limits is not None
    least, most = map(_number, metric.limits)
    if not (least == 0.0 <= low):
        least = min(least, low - room)
    if not (name == "humidity" and high <= most):
        most = max(most, high + room)
    return [least, most]


def _number(amount: Amount) -> float:
    assert amount.of is None, "the types of these devices give their numbers in units"
    return amount.factor


def _decimals(std: float) -> int:
    """Digits behind the point in which a tenth of the spread can be seen."""
    return max(0, min(9, math.ceil(1.0 - math.log10(std)))) if std > 0.0 else 0


def _pressure_unit(mean: float) -> str:
    if mean >= _PASCAL_FROM:
        return "Pa"
    return "bar" if mean < _BAR_BELOW else "hPa"


def fault_chances(anomalies: Anomalies, kind: DeviceType, interval: float) -> FaultChances:
    """Chance and kinds of faults of devices that are read every `interval` seconds.

    Their anomalies change one reading each: the probability is the share of readings that have one, and the weights are
    the kinds' shares among those. Ours last, so that for the same shares they begin the less often the longer they are.
    """
    names = list(type(anomalies.types).model_fields)
    given: dict[str, Anomaly] = {name: getattr(anomalies.types, name) for name in names}
    shares = {name: _share(name, anomalies, kind.faults[name]) for name in names}
    weights = {name: shares[name] / _readings(given[name], kind.faults[name], interval) for name in names}
    kinds = {
        name: _changed_fault(given[name], kind.faults[name], interval) | {"weight": weights[name]}
        for name in names
    }
    whole, share = sum(shares.values()), anomalies.probability
    if not whole:
        return FaultChances(probability=0.0, enabled=False, kinds=kinds)
    # Faulty stretches of `length` readings and healthy ones of (1 - p) / p take turns.
    length = whole / sum(weights.values())
    chance = share / (share + length * (1.0 - share))
    return FaultChances(probability=chance, enabled=anomalies.enabled, kinds=kinds)


def _share(name: str, anomalies: Anomalies, fault: Fault) -> float:
    """A kind's share among the faulty readings. Where kinds are listed, the others do not come by themselves."""
    listed, anomaly = anomalies.types.model_fields_set, getattr(anomalies.types, name)
    if not listed:
        return fault.weight
    if name not in listed or not anomaly.enabled:
        return 0.0
    return 1.0 if anomaly.weight is None else float(anomaly.weight)


def _readings(anomaly: Anomaly, fault: Fault, interval: float) -> float:
    """How many readings of a device a fault lasts."""
    if anomaly.duration_seconds is not None:
        return max(1.0, anomaly.duration_seconds / interval)
    middle = (fault.duration.low + fault.duration.high) / 2.0
    return middle if fault.duration.in_readings else max(1.0, middle / interval)


def _changed_fault(anomaly: Anomaly, fault: Fault, interval: float) -> dict[str, Any]:
    seconds = fault.duration.high if anomaly.duration_seconds is None else anomaly.duration_seconds
    changes: dict[str, Any] = {}
    if anomaly.duration_seconds is not None:
        changes["duration"] = format_duration(anomaly.duration_seconds)
    match anomaly:
        case Spike(severity_factor=float(factor)):
            changes["intensity"] = [end * factor / _USUAL_SEVERITY for end in fault.intensity]
        case Trend(rate_change=float(rate)):
            changes |= {"scale": "baseline", "intensity": abs(rate) * seconds / 60.0}
            changes |= {"sign": "down"} if rate < 0.0 else {}
        case Pattern(frequency=float(frequency)):
            period = max(1.0 / frequency, _FEWEST_READINGS * interval)
            changes |= {
                "effect": "oscillate",
                "metrics": ["temperature", "humidity"],
                "period": format_duration(period),
            }
            changes |= {"scale": "baseline", "intensity": _PATTERN_AMPLITUDE}
        case Noise(noise_multiplier=float(factor)):
            # Independent parts add up by their squares.
            changes |= {"scale": "spread", "intensity": math.sqrt(factor * factor - 1.0)}
    return changes
