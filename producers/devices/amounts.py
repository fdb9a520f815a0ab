"""Numbers, durations and their ranges as people write them in device types and fleets.

An amount is a number (`12.5`), a share of the metric's baseline (`10 %`), a parameter (`base_power`) or a multiple
of one (`0.25 width`, `10 % base_power`). A span is a length of time (`5m`) or a count of readings (`3 readings`), or
a range of either (`3-10 readings`, `5m-10m`).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from schemas.durations import FORM, format_duration, parse_duration

_AMOUNT = re.compile(
    r"(?P<number>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)?\s*(?P<percent>%)?\s*(?:of\s+)?(?P<name>[a-z_][a-z0-9_]*)?"
)
BASELINE = "baseline"

AMOUNT_FORM = "an amount: 12.5, 10 %, a parameter's name, or as in 0.25 width"
SPAN_FORM = f"{FORM}, or as in 3 readings, 3-10 readings, 5m-10m"


@dataclass(frozen=True, slots=True)
class Amount:
    """`factor` times the parameter `of`, the metric's `BASELINE`, or (None) one unit."""

    factor: float
    of: str | None = None

    def __str__(self) -> str:
        if self.of == BASELINE:
            return f"{self.factor * 100:.15g} %"
        number = repr(self.factor).removesuffix(".0")
        return number if self.of is None else f"{number} {self.of}"

    def resolve(self, parameters: Mapping[str, float], baseline: float = 0.0) -> float:
        """The number that it stands for.

        Raises:
            KeyError: there is no such parameter.
        """
        if self.of is None:
            return self.factor
        return self.factor * (baseline if self.of == BASELINE else parameters[self.of])


def parse_amount(value: Any) -> Amount:
    """An amount from a number or a text.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, Amount):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return Amount(float(value))
    found = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not (found["number"] or found["name"]):
        raise ValueError(f"expected {AMOUNT_FORM}")
    factor = float(found["number"] or 1.0) * (0.01 if found["percent"] else 1.0)
    return Amount(factor, found["name"] or (BASELINE if found["percent"] else None))


@dataclass(frozen=True, slots=True)
class Span:
    """A length between `low` and `high`: readings of the device, or seconds."""

    low: float
    high: float
    in_readings: bool

    def __str__(self) -> str:
        ends = (self.low,) if self.low == self.high else (self.low, self.high)
        if self.in_readings:
            return "-".join(f"{end:g}" for end in ends) + " readings"
        return "-".join(map(format_duration, ends))


def parse_span(value: Any) -> Span:
    """A span from a number of seconds or a text.

    Raises:
        ValueError: it is neither, or its ends are in the wrong order.
    """
    if isinstance(value, Span):
        return value
    text = str(value).strip()
    bare = re.sub(r"\s*readings?$", "", text)
    in_readings = bare != text
    try:
        ends = [float(end) if in_readings else parse_duration(end) for end in bare.split("-")]
    except ValueError:
        ends = []
    if len(ends) not in {1, 2} or not 0.0 < ends[0] <= ends[-1]:
        raise ValueError(f"expected {SPAN_FORM}")
    return Span(ends[0], ends[-1], in_readings)


def parse_range(value: Any) -> tuple[Any, Any]:
    """The two ends of a range: one value for both, or a list of two.

    Raises:
        ValueError: it is a list of another length.
    """
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ValueError("expected one value, or a list of the lowest and the highest")
        return value[0], value[1]
    return value, value


def parse_ascending(value: Any) -> tuple[Any, Any]:
    """As `parse_range`, the lower end first where both are numbers.

    Raises:
        ValueError: it is no range, or its ends are in the wrong order.
    """
    low, high = parse_range(value)
    if isinstance(low, int | float) and isinstance(high, int | float) and not low <= high:
        raise ValueError(f"expected the lower end first, found {low} to {high}")
    return low, high


def number_or_text(form: str) -> dict[str, Any]:
    """JSON Schema of a value that people write as a number or as a text in this form."""
    return {"type": ["number", "string"], "description": f"{form[0].upper()}{form[1:]}."}


def one_or_two(item: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of a range: one value, or the list of its two ends."""
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 2, "maxItems": 2}]}


_AMOUNT_SCHEMA = number_or_text(AMOUNT_FORM)
_SECONDS_SCHEMA = number_or_text(FORM)

AmountField = Annotated[
    Amount, BeforeValidator(parse_amount), PlainSerializer(str), WithJsonSchema(_AMOUNT_SCHEMA)
]
AmountRange = Annotated[
    tuple[AmountField, AmountField],
    BeforeValidator(parse_ascending),
    WithJsonSchema(one_or_two(_AMOUNT_SCHEMA)),
]
SpanField = Annotated[
    Span, BeforeValidator(parse_span), PlainSerializer(str), WithJsonSchema(number_or_text(SPAN_FORM))
]
Seconds = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_SECONDS_SCHEMA)]
SecondsRange = Annotated[
    tuple[Seconds, Seconds], BeforeValidator(parse_ascending), WithJsonSchema(one_or_two(_SECONDS_SCHEMA))
]
NumberRange = Annotated[
    tuple[float, float], BeforeValidator(parse_ascending), WithJsonSchema(one_or_two({"type": "number"}))
]
