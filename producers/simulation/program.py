"""Device types as tables of numbers for the compiled step.

What is the same for all devices of a type is its `Program`; `device_numbers` are what each device has of its own.
A device's own numbers stand in slots, in the order in which `Program.slots` lists them: its parameters, then every
amount of its metrics. Amounts given as a range are drawn once, from the series' key.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.batches import SeriesTable
from producers.devices.amounts import BASELINE, Amount, Span
from producers.devices.metrics import Cycle, Metric, Shape
from producers.devices.model import DeviceType, Effect, Fault
from producers.exact import Stream, uniform

Floats = NDArray[np.float64]
Table = NDArray[Any]
_Ends = tuple[Amount, Amount]

NONE = -1
FOREVER = np.iinfo(np.int64).max

KIND_LEVEL, KIND_RATIO, KIND_COUNTER = 0, 1, 2
NOISE_NONE, NOISE_NORMAL, NOISE_UNIFORM = 0, 1, 2
SHAPES = {shape: number for number, shape in enumerate(Shape)}
EFFECTS = {effect: number for number, effect in enumerate(Effect)}
SCALE_UNITS, SCALE_BASELINE, SCALE_SPREAD, SCALE_PARAMETER = 0, 1, 2, 3
_SCALES = {"units": SCALE_UNITS, "baseline": SCALE_BASELINE, "spread": SCALE_SPREAD}
_SIGNS = {"up": 1.0, "down": -1.0, "random": 0.0}
_OSCILLATION_READINGS = 8.0
_EXACT = Context(prec=34)


def _fields(**formats: str) -> np.dtype[Any]:
    return np.dtype(list(formats.items()), align=True)


TYPE = _fields(first_metric="i8", metrics="i8", first_state="i8", states="i8", first_fault="i8", faults="i8")
STATE = _fields(leave="f8")
METRIC = _fields(
    kind="i8", digital="i8", decimals="f8", baseline="i8", per_state="i8", settled="f8",
    largest="i8", wander="i8", wander_shared="i8", wander_keep="f8", wander_new="f8",
    noise_kind="i8", noise="i8", noise_shared="i8", bounds="i8", limits="i8", spread="i8",
    first_cycle="i8", cycles="i8", first_follow="i8", follows="i8", source="i8", divisor="i8", scale="f8",
)  # fmt: skip
CYCLE = _fields(shape="i8", local="i8", period="i8", amplitude="i8", phase="i8")
FOLLOW = _fields(source="i8", gain="f8")
FAULT = _fields(
    number="i8", effect="i8", mask="u8", pick_one="i8", low="f8", high="f8", scale="i8", parameter="i8", sign="f8",
    shortest="f8", longest="f8", in_readings="i8", onset="f8", period_us="f8", target="f8", share="f8",
)  # fmt: skip


Compute = Callable[[Mapping[str, Floats], Sequence[Floats], Floats], Floats]
"""(parameters, each metric's largest baseline, uniform draws in [0, 1)) -> (n,) numbers."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One of a device's own numbers.

    Attributes:
        metric: number of its metric in the type; draws come from that series' key.
        compute: what they are.
    """

    metric: int
    compute: "Compute"


@dataclass(frozen=True, slots=True)
class Program:
    """A type, compiled; `first_*` and slots count from the program's own beginning."""

    type: DeviceType
    metric_names: tuple[str, ...]
    fault_names: tuple[str, ...]
    state_names: tuple[str, ...]
    parameter_names: tuple[str, ...]
    states: Table
    metrics: Table
    cycles: Table
    follows: Table
    faults: Table
    slots: tuple[Slot, ...]
    baselines: tuple[tuple[Amount, ...], ...]

    @property
    def number_count(self) -> int:
        """Numbers that a device of this type has of its own."""
        return len(self.parameter_names) + len(self.slots)


def compile_type(kind: DeviceType, interval_us: int, table: SeriesTable) -> Program:
    """The program of a type whose devices are read every `interval_us`; its faults are numbered in `table`."""
    builder = _Builder(kind, interval_us)
    for name, metric in kind.metrics.items():
        builder.add(name, metric)
    faults = [_fault(fault, kind, name, interval_us, table) for name, fault in kind.faults.items()]
    weights = np.array([fault.weight for fault in kind.faults.values()])
    fault_table = np.array(faults, FAULT) if faults else np.empty(0, FAULT)
    if weights.sum() > 0.0:
        fault_table["share"] = np.cumsum(weights) / weights.sum()
    return Program(
        type=kind,
        metric_names=tuple(kind.metrics),
        fault_names=tuple(kind.faults),
        state_names=tuple(kind.states),
        parameter_names=tuple(kind.parameters),
        states=np.array([(_settled(interval_us, state.lasts),) for state in kind.states.values()], STATE),
        metrics=np.array(builder.metrics, METRIC),
        cycles=np.array(builder.cycles, CYCLE),
        follows=np.array(builder.follows, FOLLOW),
        faults=fault_table,
        slots=tuple(builder.slots),
        baselines=tuple(builder.baselines),
    )


def device_numbers(program: Program, parameters: Mapping[str, Floats], keys: NDArray[np.uint64]) -> Floats:
    """The own numbers of n devices.

    Args:
        program: their type.
        parameters: parameter -> (n,) values.
        keys: (n, metrics) keys of their series.

    Returns:
        (n, `program.number_count`).
    """
    n = len(keys)
    columns = [parameters[name] for name in program.parameter_names]
    largest: list[Floats] = []
    for amounts in program.baselines:
        resolved = [_resolve(amount, parameters, np.zeros(n)) for amount in amounts]
        largest.append(np.max(np.abs(resolved), axis=0) if resolved else np.zeros(n))
    for number, slot in enumerate(program.slots):
        draw = uniform(keys[:, slot.metric], np.full(n, number, np.int64), Stream.RECIPE)
        columns.append(slot.compute(parameters, largest, draw))
    return np.stack(columns, axis=1) if columns else np.empty((n, 0))


def _resolve(amount: Amount, parameters: Mapping[str, Floats], baseline: Floats) -> Floats:
    if amount.of is None:
        return np.full(len(baseline), amount.factor)
    return amount.factor * (baseline if amount.of == BASELINE else parameters[amount.of])


class _Builder:
    """Collects the tables of one type, metric by metric."""

    def __init__(self, kind: DeviceType, interval_us: int) -> None:
        self._kind = kind
        self._names = list(kind.metrics)
        self._interval_us = interval_us
        self._first_slot = len(kind.parameters)
        self.metrics: list[tuple[Any, ...]] = []
        self.cycles: list[tuple[int, int, int, int, int]] = []
        self.follows: list[tuple[int, float]] = []
        self.slots: list[Slot] = []
        self.baselines: list[tuple[Amount, ...]] = []

    def add(self, name: str, metric: Metric) -> None:
        index = self._names.index(name)
        baselines = _baselines(metric)
        self.baselines.append(baselines)
        row: dict[str, float] = dict.fromkeys(METRIC.names or (), 0)
        row |= dict.fromkeys(("baseline", "wander", "noise", "bounds", "limits"), NONE)
        row["digital"] = int(metric.digital)
        row["decimals"] = 10.0**metric.decimals
        row["settled"] = _settled(self._interval_us, metric.inertia)
        first_cycle, first_follow = len(self.cycles), len(self.follows)
        row |= {"first_cycle": first_cycle, "first_follow": first_follow}
        if metric.ratio:
            row |= {"kind": KIND_RATIO, "scale": metric.ratio.scale}
            row |= {
                "source": self._names.index(metric.ratio.numerator),
                "divisor": self._names.index(metric.ratio.denominator),
            }
        elif metric.counter:
            row |= {"kind": KIND_COUNTER, "scale": 1e6 * metric.counter.per}
            row["source"] = self._names.index(metric.counter.of)
        else:
            row["per_state"] = int(isinstance(metric.baseline, dict))
            row["baseline"] = self._amounts(index, baselines)
        row["largest"] = self._slot(index, lambda _p, largest, _u: largest[index])
        if metric.wander:
            # First order: x' = keep x + new e, with the same variance ever after.
            row["wander"] = self._amounts(index, (metric.wander.std,))
            row["wander_keep"] = 1.0 - _settled(self._interval_us, metric.wander.time)
            row["wander_new"] = float(np.sqrt(_settled(2 * self._interval_us, metric.wander.time)))
            row["wander_shared"] = int(metric.wander.std.of == BASELINE)
        if metric.noise:
            normal = metric.noise.normal
            row["noise_kind"] = NOISE_NORMAL if normal is not None else NOISE_UNIFORM
            size = normal if normal is not None else metric.noise.uniform
            row["noise"] = self._amounts(index, (size,) if size else ())
            row["noise_shared"] = int(size is not None and size.of == BASELINE)
        if metric.range:
            row["bounds"] = self._amounts(index, metric.range)
        if metric.limits:
            row["limits"] = self._amounts(index, metric.limits)
        for cycle in metric.cycles:
            self._cycle(index, cycle)
        row["cycles"] = len(self.cycles) - first_cycle
        self.follows += [(self._names.index(other), gain) for other, gain in metric.follows.items()]
        row["follows"] = len(self.follows) - first_follow
        row["spread"] = self._slot(index, _spread(self._kind, name))
        self.metrics.append(tuple(row[field] for field in METRIC.names or ()))

    def _slot(self, metric: int, compute: Compute) -> int:
        self.slots.append(Slot(metric, compute))
        return self._first_slot + len(self.slots) - 1

    def _amounts(self, metric: int, amounts: Sequence[Amount]) -> int:
        """Slots for fixed amounts, one behind the other; the first one's number."""
        slots = [self._slot(metric, _fixed(metric, amount)) for amount in amounts]
        return slots[0] if slots else NONE

    def _cycle(self, metric: int, cycle: Cycle) -> None:
        shortest, longest = (round(seconds * 1e6) for seconds in cycle.period)
        period = self._slot(metric, lambda _p, _b, u: np.floor(shortest + u * (longest - shortest)))
        amplitude = self._slot(metric, _between(metric, cycle.amplitude))
        if cycle.peak is None:
            phase = self._slot(metric, lambda _p, _b, u: u)
        else:
            hours, minutes = cycle.peak.split(":")
            at = (int(hours) * 60 + int(minutes)) * 60_000_000
            highest = 0.25 if cycle.shape is Shape.SINE else 0.5
            fixed = highest - (at % shortest) / shortest
            phase = self._slot(metric, lambda _p, _b, u: np.full(len(u), fixed))
        self.cycles.append((SHAPES[cycle.shape], int(cycle.peak is not None), period, amplitude, phase))


def _settled(passed_us: int, time_s: float) -> float:
    """1 - exp(-passed / time): the part of a way that is covered by then. Of no time: all of it.

    In decimals, because the last bit of `math.exp` is not the same on all machines.
    """
    if not time_s:
        return 1.0
    exponent = _EXACT.divide(-passed_us, _EXACT.multiply(Decimal(time_s), 1_000_000))
    return float(_EXACT.subtract(1, _EXACT.exp(exponent)))


def _baselines(metric: Metric) -> tuple[Amount, ...]:
    if metric.baseline is None:
        return ()
    return tuple(metric.baseline.values()) if isinstance(metric.baseline, dict) else (metric.baseline,)


def _fixed(metric: int, amount: Amount) -> Compute:
    return lambda parameters, largest, _draw: _resolve(amount, parameters, largest[metric])


def _between(metric: int, ends: _Ends) -> Compute:
    def compute(parameters: Mapping[str, Floats], largest: Sequence[Floats], draw: Floats) -> Floats:
        low, high = (_resolve(end, parameters, largest[metric]) for end in ends)
        return low + draw * (high - low)

    return compute


def _spread(kind: DeviceType, name: str) -> Compute:
    """The standard deviation of healthy values within an operating state; 1 where they do not vary."""

    def compute(parameters: Mapping[str, Floats], largest: Sequence[Floats], _draw: Floats) -> Floats:
        variance = _variance(kind, name, parameters, largest)
        return np.where(variance > 0.0, np.sqrt(variance), 1.0)

    return compute


def _variance(
    kind: DeviceType, name: str, parameters: Mapping[str, Floats], largest: Sequence[Floats]
) -> Floats:
    metric, baseline = kind.metrics[name], largest[list(kind.metrics).index(name)]
    variance = np.zeros(len(baseline))
    for cycle in metric.cycles:
        ends = [_resolve(end, parameters, baseline) for end in cycle.amplitude]
        variance += (0.5 * (ends[0] + ends[1])) ** 2 / (2.0 if cycle.shape is Shape.SINE else 3.0)
    if metric.wander:
        variance += _resolve(metric.wander.std, parameters, baseline) ** 2
    if metric.noise and metric.noise.normal is not None:
        variance += _resolve(metric.noise.normal, parameters, baseline) ** 2
    if metric.noise and metric.noise.uniform is not None:
        variance += _resolve(metric.noise.uniform, parameters, baseline) ** 2 / 3.0
    for other, gain in metric.follows.items():
        variance += gain**2 * _variance(kind, other, parameters, largest)
    return variance


def _fault(
    fault: Fault, kind: DeviceType, name: str, interval_us: int, table: SeriesTable
) -> tuple[Any, ...]:
    names = list(kind.metrics)
    chosen = fault.metrics or [
        metric
        for metric, what in kind.metrics.items()
        if what.baseline is not None or fault.effect in {Effect.SILENCE, Effect.FREEZE}
    ]
    mask = sum(1 << names.index(metric) for metric in chosen)
    parameter = list(kind.parameters).index(fault.scale) if fault.scale in kind.parameters else 0
    shortest, longest = _span_us(fault.duration, interval_us)
    period = fault.period or Span(_OSCILLATION_READINGS, _OSCILLATION_READINGS, in_readings=True)
    values = {
        "number": table.fault(name),
        "effect": EFFECTS[fault.effect],
        "mask": mask,
        "pick_one": int(fault.pick == "one"),
        "low": fault.intensity[0],
        "high": fault.intensity[1],
        "scale": _SCALES.get(fault.scale, SCALE_PARAMETER),
        "parameter": parameter,
        "sign": _SIGNS[fault.sign],
        "shortest": shortest,
        "longest": longest,
        "in_readings": int(fault.duration.in_readings),
        "onset": fault.onset,
        "period_us": _span_us(period, interval_us)[0],
        "target": fault.target,
        "share": 0.0,
    }
    return tuple(values[field] for field in FAULT.names or ())


def _span_us(span: Span, interval_us: int) -> tuple[float, float]:
    unit = interval_us if span.in_readings else 1e6
    return span.low * unit, span.high * unit
