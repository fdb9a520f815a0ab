"""Lengths of time as people write them in settings: 30, 500ms, 10m, 1h30m; inside they are seconds."""

import itertools
import math
import re
from typing import Any

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")

FORM = "a length of time: seconds, or as in 500ms, 30s, 10m, 1h30m, 7d"


def parse_duration(value: Any) -> float:
    """Seconds, from a number of them or a text.

    Raises:
        ValueError: it is neither, negative or not finite.
    """
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        seconds = _parse(value.strip().replace(" ", ""))
    if not (math.isfinite(seconds) and seconds >= 0.0):
        raise ValueError(f"expected {FORM}")
    return seconds


def _parse(text: str) -> float:
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        units = [_UNITS[unit] for _, unit in parts]
        if all(left > right for left, right in itertools.pairwise(units)):
            # Rounded, so that 500us is 0.0005 and not a bit beside it.
            return round(sum(float(number) * _UNITS[unit] for number, unit in parts), 9)
    try:
        return float(text)
    except ValueError:
        return math.nan


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back: 10m, 1h30m, 500ms."""
    rest = round(seconds * 1e6)
    if rest == 0:
        return "0s"
    text = ""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, rest = divmod(rest, round(_UNITS[unit] * 1e6))
        if count:
            text += f"{count}{unit}"
    return text
