"""The schema of device types and faults: what the YAML files of the catalogue may say.

What its metrics do is in `producers.devices.metrics`.
"""

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    PlainValidator,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from producers.devices.amounts import (
    BASELINE,
    Amount,
    NumberRange,
    Seconds,
    SpanField,
)
from producers.devices.base import Model, Name, Names, Texts
from producers.devices.metrics import Metric
from producers.devices.templates import ID_FIELDS, check_template
from producers.documents import nearest


class Parameter(Model):
    """A number that each device of the type may set for itself, or that is made of such ones."""

    default: float = 0.0
    made_of: dict[Name, float] = Field(
        default_factory=dict,
        description="Other parameters, each times its number, added up; width = {high: 1, low: -1}. Nobody sets it.",
    )
    minimum: float = -math.inf
    maximum: float = math.inf
    unit: str = ""
    title: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if ("default" in self.model_fields_set) == bool(self.made_of):
            raise ValueError("give one of default and made_of")
        return self

    @property
    def bounds(self) -> str:
        """What it may be, in words."""
        if math.isinf(self.minimum) or math.isinf(self.maximum):
            return f"at most {self.maximum:g}" if math.isinf(self.minimum) else f"at least {self.minimum:g}"
        return f"{self.minimum:g} to {self.maximum:g}"


class State(Model):
    """An operating state; devices go through the states of their type in the order of the file, round and round."""

    lasts: Seconds = Field(gt=0, description="Mean length; the lengths are exponentially distributed.")


class Effect(StrEnum):
    """What a fault does to a value. The intensity is in the fault's `scale`; it comes up over the onset."""

    MULTIPLY = "multiply"
    """The value times the intensity."""
    ADD = "add"
    """The value plus the intensity."""
    RAMP = "ramp"
    """The value plus a growing part of the intensity, all of it at the end."""
    OSCILLATE = "oscillate"
    """The value plus a sine with the intensity as its amplitude."""
    JITTER = "jitter"
    """The value plus something between minus and plus the intensity, another each reading."""
    NOISE = "noise"
    """The value plus normal noise, with the intensity as its standard deviation."""
    MIRROR = "mirror"
    """The deviation from the baseline, times minus the intensity: cycles run the wrong way."""
    CALIBRATION = "calibration"
    """The value's distance from zero times (1 + intensity): the sensor's gain is off."""
    HOLD = "hold"
    """The fault's `target`."""
    FREEZE = "freeze"
    """What the metric last said before."""
    FLICKER = "flicker"
    """The other one of 0 and 1 each reading."""
    SILENCE = "silence"
    """No reading at all."""


class Fault(Model):
    """A kind of fault."""

    title: str = ""
    effect: Effect
    metrics: Names = Field((), description="Those that it changes; none: all that are no ratio or counter.")
    pick: Literal["all", "one"] = Field(
        "all", description="Whether it changes all of them, or one at random."
    )
    intensity: NumberRange = Field((1.0, 1.0), description="Range from which each episode has one.")
    scale: str = Field(
        "units",
        description="What the intensity is counted in: units of the metric, its baseline, its spread (standard deviation of "
        "healthy values), or a parameter.",
    )
    sign: Literal["up", "down", "random"] = "up"
    duration: SpanField
    onset: float = Field(
        0.0, ge=0, le=1, description="Part of the duration in which it comes up: 0 is sudden."
    )
    period: SpanField | None = Field(None, description="Of an oscillation; without it 8 readings.")
    target: float = Field(0.0, description="What a `hold` says.")
    weight: float = Field(
        1.0, ge=0, description="Its share among the type's faults; 0 never comes by itself."
    )


class Between(Model):
    """A number that each device draws between two ends."""

    low: float
    high: float
    decimals: int = Field(0, ge=0, le=9)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"expected the lower end first, found {self.low:g} to {self.high:g}")
        return self


def _parse_attribute(value: Any) -> str | tuple[str, ...] | Between:
    if isinstance(value, Between | str):
        return value
    if isinstance(value, Mapping):
        return Between.model_validate(value)
    if isinstance(value, list | tuple) and value and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise ValueError("expected a text (a number in quotes), a list of texts, or {low: 60, high: 100}")


Attribute = Annotated[
    str | tuple[str, ...] | Between,
    PlainValidator(_parse_attribute),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                Between.model_json_schema(),
            ]
        }
    ),
]


class DeviceType(Model):
    """A type of devices."""

    name: Name
    title: str = ""
    family: str = ""
    device_id: str = Field(
        "{type}-{number:03}",
        description="Template of ids: type, number, place, city, token (6 hexadecimal digits).",
    )
    manufacturers: dict[str, Annotated[Texts, Field(min_length=1)]] = Field(
        default={"Sigmawatch": ("Simulated",)},
        min_length=1,
        description="Manufacturer to its models.",
    )
    firmware: Texts = Field((), description="Versions, of which each device has one.")
    places: Texts = Field((), description="Kinds of places where it stands.")
    attributes: dict[str, Attribute] = Field(
        default_factory=dict,
        description="What else is said of each device: a text, a list of which it has one, or {low, high, decimals}.",
    )
    parameters: dict[Name, Parameter] = Field(default_factory=dict)
    states: dict[Name, State] = Field(default_factory=dict)
    metrics: dict[Name, Metric] = Field(min_length=1, max_length=63)
    faults: dict[Name, Fault] = Field(default_factory=dict)
    fault_factor: float = Field(1.0, ge=0, description="Multiplies the chance of a fault.")

    @field_validator("parameters")
    @classmethod
    def _made_defaults(cls, parameters: dict[str, Parameter]) -> dict[str, Parameter]:
        """Parameters that are made of others get the default that follows."""
        whole = dict(parameters)
        for name, parameter in parameters.items():
            for other in parameter.made_of:
                if other not in parameters or parameters[other].made_of:
                    raise ValueError(f"{name} is made of {other}, which is no parameter that can be set")
            if parameter.made_of:
                default = sum(parameters[other].default * part for other, part in parameter.made_of.items())
                whole[name] = parameter.model_copy(update={"default": default})
        for name, parameter in whole.items():
            if not parameter.minimum <= parameter.default <= parameter.maximum:
                raise ValueError(f"{name}'s default of {parameter.default:g} is not {parameter.bounds}")
        return whole

    @field_validator("device_id")
    @classmethod
    def _id_template(cls, template: str) -> str:
        return check_template(template, ID_FIELDS)

    @model_validator(mode="after")
    def _references(self) -> Self:
        """Every name that is used exists, and metrics use only what is computed before them."""
        before: list[str] = []
        for name, metric in self.metrics.items():
            for other in metric.sources:
                if other not in before:
                    raise _misfit(f"{name} uses {other}, which is no metric before it", other, before, name)
            before.append(name)
            if isinstance(metric.baseline, dict) and metric.baseline.keys() != self.states.keys():
                states = ", ".join(self.states) or "none"
                raise _misfit(
                    f"{name} needs a baseline for each of the type's states ({states})", "", (), name
                )
            for amount in metric.amounts:
                if amount.of not in {None, BASELINE, *self.parameters}:
                    what = f"{name} uses {amount.of}, which is no parameter"
                    raise _misfit(what, amount.of or "", self.parameters, name)
            self._check_bounds(name, metric)
        for name, fault in self.faults.items():
            self._check_fault(name, fault)
        return self

    def _check_bounds(self, name: str, metric: Metric) -> None:
        defaults = self.parameter_values({})
        baseline = max(
            (amount.resolve(defaults) for amount in metric.baselines.values()), default=0.0, key=abs
        )
        for what, bounds in (("range", metric.range), ("limits", metric.limits)):
            low, high = (end.resolve(defaults, baseline) for end in bounds or (Amount(0.0), Amount(0.0)))
            if low > high:
                raise _misfit(
                    f"{name}: its {what} of {low:g} to {high:g} ends before it begins", "", (), name
                )

    def _check_fault(self, name: str, fault: Fault) -> None:
        for metric in fault.metrics:
            if metric not in self.metrics:
                what = f"{name} changes {metric}, which is no metric"
                raise _misfit(what, metric, self.metrics, name, "faults")
        scales = ("units", BASELINE, "spread", *self.parameters)
        if fault.scale not in scales:
            raise _misfit(f"{name} has the unknown scale {fault.scale}", fault.scale, scales, name, "faults")
        if fault.effect is Effect.FLICKER:
            chosen = fault.metrics or [
                other for other, metric in self.metrics.items() if metric.baseline is not None
            ]
            if analogue := [metric for metric in chosen if not self.metrics[metric].digital]:
                what = f"{name}: only digital metrics flicker, and {', '.join(analogue)} is none"
                raise _misfit(what, "", (), name, "faults")

    def parameter_values(
        self, changes: Mapping[str, float], current: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """The values of all parameters: `changes` over `current` over the defaults, and what is made of them.

        Raises:
            ValueError: `changes` has what is no parameter, cannot be set, or is out of bounds.
        """
        values = {name: parameter.default for name, parameter in self.parameters.items()} | dict(
            current or {}
        )
        for name, value in changes.items():
            parameter = self.parameters.get(name)
            if parameter is None:
                raise ValueError(f"{name} is no parameter of {self.name}")
            if parameter.made_of:
                raise ValueError(f"{name} cannot be set: it is made of {', '.join(parameter.made_of)}")
            values[name] = float(value)
        for name, parameter in self.parameters.items():
            if parameter.made_of:
                values[name] = sum(values[other] * part for other, part in parameter.made_of.items())
            if not parameter.minimum <= values[name] <= parameter.maximum:
                made = f" (made of {', '.join(parameter.made_of)})" if parameter.made_of else ""
                found = f"{values[name]:g} {parameter.unit}".rstrip()
                raise ValueError(f"{name} of {found}{made} is not {parameter.bounds}")
        return values


def _misfit(
    what: str, wrong: str, known: Iterable[str], name: str, part: str = "metrics"
) -> PydanticCustomError:
    """An error between two parts of a type; `path` says where it is to be mended, `remedy` how."""
    remedy = nearest(wrong, known) if wrong else ""
    return PydanticCustomError(
        "misfit", "{what}", {"what": f"{part}.{what}", "path": [part, name], "remedy": remedy}
    )
