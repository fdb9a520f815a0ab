"""From a message to readings, by a rule; pure."""

import re
from typing import Any

from producers.checks import NotBelievableError, check_id, check_time, check_value, iso_time
from producers.times import TimeParser, kind_of
from schemas.bridge_rules import EVERY_NUMBER, BridgeRule, JsonPath, fill_in, parse_path
from schemas.dead_letters import DeadLetterReason, TimeBounds
from schemas.readings import Reading
from schemas.strict_json import DoubledKey, NotJsonError, parse_json

_NUMBER = re.compile(rb"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?\s*")
_MISSING: Any = object()


class RuleReader:
    """Reads messages of one rule.

    Attributes:
        pattern: which topics it is for.
        by_arrival: whether its readings are of the time at which a message arrived.
    """

    def __init__(self, rule: BridgeRule) -> None:
        self._rule = rule
        self.pattern = rule.pattern
        self.by_arrival = rule.time is None
        self._time = None if rule.time is None else parse_path(rule.time)
        self._epoch = None if rule.time_format == "iso" else TimeParser(rule.time_format)
        self._device = parse_path(rule.device_id) if rule.device_id.startswith("$") else None
        self._fault = None if rule.fault is None else parse_path(rule.fault)
        self._fault_when = None if rule.fault_when is None else parse_path(rule.fault_when)
        self._fault_metrics = None if rule.fault_metrics is None else parse_path(rule.fault_metrics)
        self._metrics = (
            [(steps := parse_path(path), _written(steps), name) for path, name in rule.metrics.items()]
            if isinstance(rule.metrics, dict)
            else []
        )

    def readings(
        self, parts: dict[str, str], payload: bytes, arrived_us: int, bounds: TimeBounds
    ) -> list[Reading]:
        """The readings of a message, at least one.

        Args:
            parts: the topic's named parts.
            payload: as it came.
            arrived_us: when it came: the time of readings whose rule names none, and the one they are judged by.
            bounds: which times are believed.

        Raises:
            NotBelievableError: it is none, or one of its readings cannot be; says where.
        """
        if not payload:
            raise NotBelievableError("", DeadLetterReason.NULL_VALUE)
        document = self._document(payload)
        device_id = self._device_id(document, parts)
        time = check_time(self._time_of(document, arrived_us), arrived_us, bounds)
        fault = self._fault_of(document)
        faulty = None if fault is None else self._faulty_fields(document)
        readings = [
            Reading(device_id, metric, time, value, fault if faulty is None or field in faulty else None)
            for field, metric, value in self._values(document, parts)
        ]
        if not readings:
            raise NotBelievableError("there is no number in it")
        return readings

    def _document(self, payload: bytes) -> Any:
        if self._rule.format == "number":
            if not _NUMBER.fullmatch(payload):
                raise NotBelievableError(f"{payload[:40]!r} is no number")
            return float(payload)
        try:
            return parse_json(payload)
        except NotJsonError as error:
            where = f" ({error.place})" if error.place else ""
            raise NotBelievableError(f"{error}{where}") from None

    def _device_id(self, document: Any, parts: dict[str, str]) -> str:
        if self._device is None:
            return _id(fill_in(self._rule.device_id, parts), "device id", DeadLetterReason.BAD_DEVICE_ID)
        found = _find(document, self._device)
        if found is _MISSING or found is None:
            raise NotBelievableError(f"{self._rule.device_id} is missing", DeadLetterReason.BAD_DEVICE_ID)
        text = str(found) if type(found) is int else found
        return _id(text, self._rule.device_id, DeadLetterReason.BAD_DEVICE_ID)

    def _time_of(self, document: Any, arrived_us: int) -> int:
        if self._time is None:
            return arrived_us
        found = _find(document, self._time)
        if found is _MISSING or found is None:
            raise NotBelievableError(f"{self._rule.time} is missing")
        try:
            if self._epoch is not None:
                return self._epoch.parse(found)
            if type(found) is str:
                return iso_time(found)
        except ValueError as error:
            raise NotBelievableError(f"{self._rule.time}: {error}") from None
        raise NotBelievableError(
            f"{self._rule.time}: expected ISO-8601, found {kind_of(found)} (the rule's time_format can say epoch_s)"
        )

    def _fault_of(self, document: Any) -> str | None:
        if self._fault is None:
            return None
        found = _find(document, self._fault)
        if self._fault_when is not None and _find(document, self._fault_when) is not True:
            return None
        if found is _MISSING or found is None:
            # The condition says that there is one, and nobody says which.
            return str(self._fault_when[-1]) if self._fault_when else None
        return _id(found, str(self._rule.fault), DeadLetterReason.UNDECODABLE)

    def _faulty_fields(self, document: Any) -> frozenset[str] | None:
        """The payload's fields that the fault changed; None where nobody says which."""
        if self._fault_metrics is None:
            return None
        found = _find(document, self._fault_metrics)
        if found is _MISSING or found is None:
            return None
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise NotBelievableError(f"{self._rule.fault_metrics}: expected a list of texts")
        return frozenset(found)

    def _values(self, document: Any, parts: dict[str, str]) -> list[tuple[str, str, float]]:
        """(field of the payload, metric, value) of each reading."""
        if self._rule.metrics == EVERY_NUMBER:
            return self._every_number(document)
        values = []
        for path, written, template in self._metrics:
            found = _find(document, path)
            if found is _MISSING or found is None:
                if self._rule.missing == "skip":
                    continue
                raise NotBelievableError(f"{written} is missing")
            metric = _id(fill_in(template, parts), "metric", DeadLetterReason.BAD_METRIC)
            values.append((str(path[-1]) if path else "", metric, _value(found, written)))
        return values

    def _every_number(self, document: Any) -> list[tuple[str, str, float]]:
        if type(document) is not dict:
            raise NotBelievableError(f"expected an object, found {kind_of(document)}")
        taken = {path[0] for path in (self._time, self._device) if path} | set(self._rule.ignore)
        return [
            (name, _id(name, "metric", DeadLetterReason.BAD_METRIC), _value(value, name))
            for name, value in document.items()
            if name not in taken and type(value) in (int, float)
        ]


def _find(document: Any, path: JsonPath) -> Any:
    """What stands at a path, `_MISSING` where nothing does.

    Raises:
        NotBelievableError: an object on the way has a key twice.
    """
    found = document
    for step in path:
        if isinstance(found, DoubledKey):
            raise _doubled(found)
        if isinstance(step, int):
            found = found[step] if isinstance(found, list) and step < len(found) else _MISSING
        else:
            found = found.get(step, _MISSING) if isinstance(found, dict) else _MISSING
        if found is _MISSING:
            return found
    if isinstance(found, DoubledKey):
        raise _doubled(found)
    return found


def _doubled(found: DoubledKey) -> NotBelievableError:
    return NotBelievableError(f"the key {found.key!r} is there twice")


def _id(text: Any, what: str, reason: DeadLetterReason) -> str:
    try:
        return check_id(text, reason)
    except NotBelievableError as error:
        raise NotBelievableError(f"{what}: {error}", reason) from None


def _value(found: Any, what: str) -> float:
    try:
        return check_value(found)
    except NotBelievableError as error:
        raise NotBelievableError(f"{what}: {error}", error.reason) from None


def _written(path: JsonPath) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
