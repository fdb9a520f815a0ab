"""The schema of a metric of a device type.

A metric's healthy value is

    level + wander + noise,   clipped to `range`,

where the level follows its target (the baseline of the device's operating state, plus the cycles, plus what
it takes from other metrics) with the metric's inertia, and the wander is a slow random motion around it. A ratio is
made of two other metrics' values, a counter is the integral of one. A fault changes the values of its metrics
while it lasts.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    PlainValidator,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from producers.devices.amounts import (
    Amount,
    AmountField,
    AmountRange,
    Seconds,
    SecondsRange,
    number_or_text,
    parse_amount,
)
from producers.devices.base import Model, Name


class Shape(StrEnum):
    """Of a cycle, between -1 and 1."""

    SINE = "sine"
    TRIANGLE = "triangle"
    STEPS = "steps"
    """A level of its own in each period, uniformly distributed."""


class Cycle(Model):
    """A regular motion around the baseline."""

    period: SecondsRange = Field(description="Length, or a range from which each device has one.")
    amplitude: AmountRange
    peak: str | None = Field(
        None,
        description="Local time of its highest point, as 15:00; without it each device has its own.",
    )
    shape: Shape = Shape.SINE

    @field_validator("peak")
    @classmethod
    def _time_of_day(cls, peak: str | None) -> str | None:
        if peak is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", peak):
            raise ValueError("expected a time of day, as 15:00")
        return peak

    @model_validator(mode="after")
    def _length(self) -> Self:
        if self.period[0] < 1e-6:
            raise ValueError("the period must be longer than 0")
        if self.peak is not None and self.period[0] != self.period[1]:
            raise ValueError("a cycle with a peak needs one period for all devices")
        return self


class Wander(Model):
    """A slow random motion: first-order autoregressive, so that it remembers."""

    std: AmountField
    time: Seconds = Field(
        gt=0, description="How long it remembers: the time in which its correlation falls to 1/e."
    )


class Noise(Model):
    """What each reading has of its own: normal with a standard deviation, or uniform within +- a half width."""

    normal: AmountField | None = None
    uniform: AmountField | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.normal is None) == (self.uniform is None):
            raise ValueError("give one of normal and uniform")
        return self


class Ratio(Model):
    """`scale` * numerator / denominator."""

    numerator: Name
    denominator: Name
    scale: float = 1.0


class Counter(Model):
    """The integral of a metric: it grows by the metric's value every `per`."""

    of: Name
    per: Seconds = Field(3600.0, gt=0)


def _parse_baseline(value: Any) -> Amount | dict[str, Amount]:
    """One amount, or a mapping from the operating states to theirs."""
    if not isinstance(value, Mapping):
        return parse_amount(value)
    amounts = {}
    for state, amount in value.items():
        try:
            amounts[str(state)] = parse_amount(amount)
        except ValueError as error:
            raise ValueError(f"{state}: {error}") from None
    return amounts


_BASELINE_SCHEMA = number_or_text("an amount, or one for each operating state")
_BASELINE_SCHEMA = {"anyOf": [_BASELINE_SCHEMA, {"type": "object", "additionalProperties": _BASELINE_SCHEMA}]}
Baseline = Annotated[
    Amount | dict[str, Amount], PlainValidator(_parse_baseline), WithJsonSchema(_BASELINE_SCHEMA)
]


class Metric(Model):
    """One metric of a device type."""

    unit: str
    title: str = ""
    baseline: Baseline | None = Field(
        None, description="Middle of the healthy values, or one for each operating state."
    )
    ratio: Ratio | None = None
    counter: Counter | None = None
    cycles: tuple[Cycle, ...] = ()
    follows: dict[Name, float] = Field(
        default_factory=dict,
        description="Earlier metrics and what a unit of their deviation from the baseline adds to this one.",
    )
    inertia: Seconds = Field(0.0, description="Time constant with which the level follows its target.")
    wander: Wander | None = None
    noise: Noise | None = None
    range: AmountRange | None = Field(None, description="Bounds of healthy values.")
    limits: AmountRange | None = Field(
        None, description="Bounds of all values, also in a fault: what the sensor can say."
    )
    digital: bool = Field(False, description="0 or 1.")
    decimals: int = Field(4, ge=0, le=9, description="Digits behind the point that the sensor reports.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.baseline, self.ratio, self.counter)) != 1:
            raise ValueError("give one of baseline, ratio and counter")
        return self

    @property
    def baselines(self) -> dict[str, Amount]:
        """The baseline of each operating state; of a metric that has one for all, under no name."""
        if self.baseline is None:
            return {}
        return self.baseline if isinstance(self.baseline, dict) else {"": self.baseline}

    @property
    def sources(self) -> list[str]:
        """The metrics that it is made of, or takes from."""
        if self.ratio:
            return [self.ratio.numerator, self.ratio.denominator]
        return [self.counter.of] if self.counter else list(self.follows)

    @property
    def amounts(self) -> Iterator[Amount]:
        """All amounts in it."""
        yield from self.baselines.values()
        for cycle in self.cycles:
            yield from cycle.amplitude
        yield from self.range or ()
        yield from self.limits or ()
        if self.wander:
            yield self.wander.std
        if self.noise:
            yield from (size for size in (self.noise.normal, self.noise.uniform) if size is not None)
