"""What the detector can be told: limits by channel, and the profile that a series is judged by.

A profile is plain frozen data for people and files, and one numpy record for the compiled loops (`records`). The defaults
are measured: docs/detection.md says on what, and how far each may be moved before the figures suffer.
"""

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.engine.settings import Sides

Table = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """How a statistic's record follows it, see `channels.record`.

    Attributes:
        calm_decay, alarmed_decay: what each part loses per value.
        cap: how far above its threshold an alarm is remembered, as a multiple of it.
        share: share of the way that the record goes towards what alarmed.
        block: values behind which the record follows.
    """

    calm_decay: float = 1e-4
    alarmed_decay: float = 1e-3
    cap: float = 1.0
    share: float = 1.0
    block: float = 60.0


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """The sliding window of event time; see `channels.window`.

    Attributes:
        on: whether the channel alarms; mean and std are kept in any case.
        pane_us: length of a pane, µs of event time; the window slides by one.
        panes: how many panes it is made of, up to `channels.window.PANES`.
        k: multiple of the std.
    """

    on: bool = False
    pane_us: int = 60_000_000
    panes: int = 10
    k: float = 4.0


@dataclass(frozen=True, slots=True)
class SpikeLimits:
    """Attributes: window: readings; threshold: std; record: multiple of the largest before; warmup: readings."""

    on: bool = True
    window: float = 60.0
    threshold: float = 7.9
    record: float = 2.4
    warmup: float = 20.0
    memory: RecordLimits = RecordLimits(calm_decay=1.2e-4, alarmed_decay=1.8e-4, block=54.0)


@dataclass(frozen=True, slots=True)
class JumpLimits:
    """Attributes: window: readings; threshold: usual steps; clip: of the squared step, in usual ones."""

    on: bool = True
    window: float = 200.0
    threshold: float = 5.5
    record: float = 1.5
    clip: float = 34.0
    warmup: float = 20.0
    floor: float = 0.01
    """Least usual step, as a share of the series' extent."""
    alone: float = 0.0
    """Threshold of a step that stands alone, in usual steps; 0: it is not judged by itself."""
    memory: RecordLimits = RecordLimits(calm_decay=2e-5, block=54.0)


@dataclass(frozen=True, slots=True)
class EnergyLimits:
    """Attributes: window, long_window: readings; threshold: std; cap: of one step, in usual ones; floor: least std."""

    on: bool = True
    window: float = 8000.0
    long_window: float = 16000.0
    threshold: float = 3.0
    record: float = 1.2
    clip: float = 34.0
    cap: float = 6.4
    floor: float = 0.19
    memory: RecordLimits = RecordLimits(calm_decay=2e-5, block=54.0)


@dataclass(frozen=True, slots=True)
class RangeLimits:
    """Attributes: threshold: share of the extent's width; shrink, share: see `channels.extent`; warmup: readings."""

    on: bool = True
    threshold: float = 0.11
    shrink: float = 1.7e-4
    share: float = 0.063
    warmup: float = 200.0


@dataclass(frozen=True, slots=True)
class RareLimits:
    """Attributes: threshold: bits; readings: of the mean; level: bits a usual bin may have; window: readings.

    caution: how much less a rare value teaches, per bit; fine: whether the bins of the histogram are half as wide.
    """

    on: bool = True
    fine: bool = False
    threshold: float = 2.0
    record: float = 1.3
    readings: float = 2.3
    level: float = 5.1
    cap: float = 6.8
    window: float = 20000.0
    caution: float = 1.7
    warmup: float = 600.0
    memory: RecordLimits = RecordLimits(calm_decay=2e-5, block=54.0)


@dataclass(frozen=True, slots=True)
class PatternLimits:
    """Attributes: threshold: std; learning: weight of the newest day; window, long_window: panes; floor: least std."""

    on: bool = True
    threshold: float = 2.9
    record: float = 1.0
    learning: float = 0.05
    window: float = 8000.0
    long_window: float = 16000.0
    cap: float = 17.0
    clip: float = 25.0
    floor: float = 0.19
    memory: RecordLimits = RecordLimits(calm_decay=1.2e-4, alarmed_decay=1.8e-4, cap=2.1, block=4.0)


@dataclass(frozen=True, slots=True)
class ShiftLimits:
    """Attributes: threshold: share of the means' extent; spread: share of the values' extent; warmup: panes."""

    on: bool = True
    threshold: float = 0.06
    spread: float = 0.0035
    shrink: float = 1.7e-4
    share: float = 0.063
    warmup: float = 120.0


@dataclass(frozen=True, slots=True)
class StuckLimits:
    """Attributes: threshold: readings; record: multiple of the longest run; repeats: share that normally repeat."""

    on: bool = True
    threshold: float = 30.0
    record: float = 4.0
    repeats: float = 0.1


@dataclass(frozen=True, slots=True)
class FlickerLimits:
    """Attributes: threshold: toggles within eight readings; warmup: readings."""

    on: bool = True
    threshold: float = 4.5
    record: float = 1.5
    warmup: float = 200.0
    memory: RecordLimits = RecordLimits(block=40.0)


@dataclass(frozen=True, slots=True)
class DwellLimits:
    """Attributes: threshold: readings; record, mean: multiples of the longest and of the mean stay.

    stays, warmup: stays and readings before it judges.
    """

    on: bool = True
    threshold: float = 60.0
    record: float = 1.4
    mean: float = 7.0
    stays: float = 10.0
    warmup: float = 720.0


@dataclass(frozen=True, slots=True)
class GapLimits:
    """Attributes: threshold: usual intervals; record: multiple of the longest."""

    on: bool = True
    threshold: float = 6.0
    record: float = 1.5


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """A trained model's say. Attributes: threshold: multiple of the model's own; number: which model, -1 for none."""

    on: bool = True
    threshold: float = 1.0
    number: int = -1


@dataclass(frozen=True, slots=True)
class AlarmLimits:
    """How scores become episodes; see `episodes_kernel`.

    Attributes:
        warmup: readings before which a series is WARMING and raises nothing.
        calm: readings in a row that end an episode.
        calm_q: q below which a reading is calm.
        accept: readings after which an episode's level is taken for the new normal.
        refractory: readings after an opening during which the series opens nothing else.
        urgent_after, urgent, urgent_share: behind so many readings an alarm with a q of `urgent`, and of this share of the
            last one's, is not held back.
        heat: what each alarm adds to the threshold of the next.
        heat_decay_s: seconds of event time after which an e-th of it is left.
        minimum_deviation: least distance from what is expected, in the metric's unit.
    """

    warmup: int = 60
    calm: int = 5
    calm_q: float = 0.5
    accept: int = 110
    refractory: int = 110
    urgent_after: int = 15
    urgent: float = 10.0
    urgent_share: float = 10.0
    heat: float = 0.12
    heat_decay_s: float = 420_000.0
    minimum_deviation: float = 0.0
    sides: Sides = Sides.BOTH


@dataclass(frozen=True, slots=True)
class ValueMeaning:
    """What the numbers are.

    Attributes:
        counter: a total that only grows: judged by its growth per hour.
        switch: 0 or 1; None: found out from the values.
        period: of circular values, as 360 for degrees; 0: not circular.
        lowest, highest: values beyond are invalid.
        pane_s: seconds of the panes whose means the slow channels judge.
    """

    counter: bool = False
    switch: bool | None = None
    period: float = 0.0
    lowest: float = -np.inf
    highest: float = np.inf
    pane_s: float = 240.0


@dataclass(frozen=True, slots=True)
class Profile:
    """All that a series is judged by."""

    meaning: ValueMeaning = ValueMeaning()
    alarm: AlarmLimits = AlarmLimits()
    window: WindowLimits = WindowLimits()
    spike: SpikeLimits = SpikeLimits()
    jump: JumpLimits = JumpLimits()
    range: RangeLimits = RangeLimits()
    rare: RareLimits = RareLimits()
    energy: EnergyLimits = EnergyLimits()
    pattern: PatternLimits = PatternLimits()
    shift: ShiftLimits = ShiftLimits()
    model: ModelLimits = ModelLimits()
    stuck: StuckLimits = StuckLimits()
    flicker: FlickerLimits = FlickerLimits()
    dwell: DwellLimits = DwellLimits()
    gap: GapLimits = GapLimits()
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Names that this metric's anomalies have instead of the general ones, as {"spike": "power_spike"}."""


_TEXTS = {"kinds"}

_DERIVED: Mapping[type, Mapping[str, Callable[[Any], float]]] = {
    SpikeLimits: {"weight": lambda limits: 1.0 / limits.window},
    JumpLimits: {"weight": lambda limits: 1.0 / limits.window},
    EnergyLimits: {
        "weight": lambda limits: 1.0 / limits.window,
        "long_weight": lambda limits: 1.0 / limits.long_window,
    },
    RareLimits: {"usual": lambda limits: 2.0**-limits.level},
}
"""Columns that spare the loops a division or a power for every reading."""


@cache
def _dtype(kind: type) -> np.dtype[np.void]:
    """The numpy record of a dataclass of numbers: floats and integers eight bytes wide, the rest nested."""
    hints = typing.get_type_hints(kind)
    parts: list[tuple[str, Any]] = []
    for entry in fields(kind):
        if entry.name in _TEXTS:
            continue
        of = hints[entry.name]
        if is_dataclass(of):
            parts.append((entry.name, _dtype(typing.cast("type", of))))
        elif of is float:
            parts.append((entry.name, "f8"))
        else:
            parts.append((entry.name, "i8"))
    return np.dtype([*parts, *((name, "f8") for name in _DERIVED.get(kind, ()))])


PROFILE = _dtype(Profile)
"""A profile as the compiled loops read it; `switch` is -1 where it is to be found out."""


def records(profiles: Sequence[Profile]) -> Table:
    """(n,) of `PROFILE`."""
    table = np.zeros(len(profiles), PROFILE)
    for i, profile in enumerate(profiles):
        table[i] = _values(profile)
    return table


def _values(part: Any) -> tuple[Any, ...]:
    values: list[Any] = []
    for entry in fields(part):
        if entry.name in _TEXTS:
            continue
        value = getattr(part, entry.name)
        if is_dataclass(value):
            value = _values(value)
        elif value is None:
            value = -1
        values.append(value)
    derived = (value_of(part) for value_of in _DERIVED.get(type(part), {}).values())
    return (*values, *derived)
