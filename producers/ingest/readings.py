"""From a JSON document to readings; pure.

A reading is

    {"value": 20.5, "timestamp": 1700000000.5}                                     moving-average-detector's form
    {"device_id": "boiler-7", "metric": "temperature", "time": "2026-01-31T12:00:00Z", "value": 20.5, "fault": "spike"}

or any mixture: `time` and `timestamp` mean the same, device and metric have defaults.
"""

from dataclasses import dataclass
from typing import Any

from producers.checks import NotBelievableError, check_id, check_time, check_value, iso_time
from producers.times import kind_of
from schemas.dead_letters import TimeBounds
from schemas.errors import InputError
from schemas.readings import Reading
from schemas.strict_json import DoubledKey
from schemas.web.errors import place_of

_FIELDS = frozenset({"device_id", "metric", "time", "timestamp", "value", "fault"})
_REMEDY = (
    "A reading is {device_id, metric, time, value, fault}; only time (or timestamp) and value are required."
)


class BadReadingError(InputError):
    """A document that is no reading and no list of readings; `place` is where, as `[3].value`."""

    def __init__(self, message: str, path: tuple[str | int, ...], remedy: str = _REMEDY) -> None:
        super().__init__(message, remedy)
        self.place = place_of(path)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a reading is of that does not say so."""

    device_id: str
    metric: str


def readings_of(document: Any, defaults: Defaults, now_us: int, bounds: TimeBounds) -> list[Reading]:
    """The readings of a document: one object, or a list of them.

    Args:
        document: from `schemas.strict_json.parse_json`.
        defaults: checked ids.
        now_us: the time, that readings' times are judged by.
        bounds: which times are believed.

    Raises:
        BadReadingError: the first thing that is wrong.
    """
    if type(document) is not list:
        return [_reading(document, (), defaults, now_us, bounds)]
    return [_reading(item, (index,), defaults, now_us, bounds) for index, item in enumerate(document)]


def _reading(
    item: Any, place: tuple[int, ...], defaults: Defaults, now_us: int, bounds: TimeBounds
) -> Reading:
    if type(item) is not dict:
        raise _no_object(item, place)
    if not item.keys() <= _FIELDS:
        unknown = min(item.keys() - _FIELDS)
        raise BadReadingError("there is no such field", (*place, unknown), f"Leave it out. {_REMEDY}")
    name = "time"
    try:
        time = check_time(_time(item), now_us, bounds)
        name = "value"
        value = check_value(item.get("value"))
        name = "device_id"
        device_id = check_id(item[name]) if name in item else defaults.device_id
        name = "metric"
        metric = check_id(item[name]) if name in item else defaults.metric
        name = "fault"
        fault = item.get(name)
        return Reading(device_id, metric, time, value, None if fault is None else check_id(fault))
    except ValueError as error:
        raise _bad_field(item, place, name, error) from None


def _time(item: dict[str, Any]) -> int:
    """µs of `time` or `timestamp`: seconds since 1970 as a number, or ISO-8601 (without an offset it is UTC)."""
    if "timestamp" not in item:
        cell = item.get("time")
    elif "time" in item:
        raise NotBelievableError("time and timestamp are both there")
    else:
        cell = item["timestamp"]
    if type(cell) is float and -1e18 < cell < 1e18:
        return round(cell * 1e6)
    if type(cell) is int:
        return cell * 1_000_000
    if type(cell) is str:
        return iso_time(cell)
    if type(cell) is float:
        raise NotBelievableError(f"a time cannot be {cell}")
    raise NotBelievableError(f"expected seconds since 1970 or ISO-8601, found {kind_of(cell)}")


def _bad_field(item: dict[str, Any], place: tuple[int, ...], name: str, error: ValueError) -> BadReadingError:
    shown = "timestamp" if name == "time" and "timestamp" in item and "time" not in item else name
    if shown not in item:
        return BadReadingError("the field is missing", (*place, shown))
    return BadReadingError(str(error), (*place, shown), _REMEDIES[name])


def _no_object(item: Any, place: tuple[int, ...]) -> BadReadingError:
    if isinstance(item, DoubledKey):
        return BadReadingError("the field is there twice", (*place, item.key), "Say it once.")
    return BadReadingError(f"expected an object, found {kind_of(item)}", place)


_ID_REMEDY = "Give a text of 1 to 255 bytes."
_REMEDIES = {
    "time": "Give seconds since 1970, or ISO-8601 as 2026-01-31T12:00:00Z.",
    "value": "Give a finite number; JSON knows no NaN and no Infinity.",
    "device_id": _ID_REMEDY,
    "metric": _ID_REMEDY,
    "fault": f"{_ID_REMEDY} Leave it out where there is none.",
}
