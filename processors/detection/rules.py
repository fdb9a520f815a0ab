"""Rules files: which series are judged how, by device type, metric and device.

    preset: standard
    storms: {devices: 8}
    rules:                      # later rules are laid over earlier ones, key by key
      - {types: [oven, heater], metrics: [temperature], alarm: {minimum_deviation: 2.0}, jump: {threshold: 8}}
      - {metrics: [energy, "*_total"], meaning: {counter: true}}
      - {types: [fan], metrics: [speed], kinds: {level_shift: overspeed}, reset_on: [firmware]}

`types`, `metrics` and `devices` are patterns as file names have them; without one, all. All other keys are in `keys`.
"""

import difflib
import fnmatch
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from processors.detection.document import rules_bytes, rules_document
from processors.detection.keys import KINDS, SECTIONS, Key, keys_of
from processors.engine.profile import Profile
from processors.engine.settings import Sides
from processors.engine.storms import USUAL_STORMS, StormLimits
from schemas.durations import parse_duration
from schemas.errors import ConfigError
from schemas.yaml_document import Document

PRESETS = ("standard", "moving-average")
RESETS = ("type", "firmware")
"""What of a device may begin its series anew when it changes."""

_PATTERNS = ("types", "metrics", "devices")
_RULE_KEYS = (*_PATTERNS, *SECTIONS, "kinds", "reset_on")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SHOWN = 60

_Part = TypeVar("_Part")
_Keys = tuple[str | int, ...]


class RulesError(ConfigError):
    """A rules file is not usable; `problems` has what is wrong one by one, each with its line."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "; ".join(problems),
            "Put it right in the file; docs/detection-rules.md has all keys, `sigmawatch detection check FILE` looks again.",
        )


@dataclass(frozen=True)
class Patterns:
    """Some patterns as file names have them, upper and lower case told apart."""

    texts: tuple[str, ...]

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile("|".join(fnmatch.translate(text) for text in self.texts))

    def fit(self, text: str) -> bool:
        """Whether one of them does."""
        return self._expression.match(text) is not None


@dataclass(frozen=True, slots=True)
class Rule:
    """Which series, and what is other for them.

    Attributes:
        place: file and line, for people.
        types, metrics, devices: patterns; None for all.
        changes: section -> field -> value, or the same once more for `memory`.
        kinds: names of kinds.
        reset_on: what of a device begins a series anew when it changes; None where the rule does not say.
    """

    place: str = field(compare=False)
    types: Patterns | None = None
    metrics: Patterns | None = None
    devices: Patterns | None = None
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    reset_on: tuple[str, ...] | None = None

    def fits(self, device_type: str, metric: str) -> bool:
        """Whether it is for a type and metric, whatever the device."""
        return (self.types is None or self.types.fit(device_type)) and (
            self.metrics is None or self.metrics.fit(metric)
        )

    def laid_over(self, profile: Profile) -> Profile:
        """A profile with what this rule says of it."""
        return replace(_changed(profile, self.changes), kinds={**profile.kinds, **self.kinds})


def _changed(part: _Part, changes: Mapping[str, Any]) -> _Part:
    given = {
        name: _changed(here, value) if is_dataclass(here := getattr(part, name)) else value
        for name, value in changes.items()
    }
    return replace(part, **given)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a rules file says; `preset` is None where it does not say it."""

    preset: str | None = None
    rules: tuple[Rule, ...] = ()
    storms: StormLimits = USUAL_STORMS


def shipped_rules() -> Rules:
    """The rules of the package, over which a user's own are laid."""
    name = "rules.yaml"
    data = resources.files("processors.detection").joinpath(name).read_bytes()
    return parse_rules(rules_document(data, f"shipped {name}"))


def read_rules(path: Path) -> Rules:
    """The rules of a file.

    Raises:
        ConfigError: it cannot be read, or is no YAML.
        RulesError: something in it is no rule; says every problem with its line.
    """
    return parse_rules(rules_document(rules_bytes(path), str(path)))


def parse_rules(document: Document) -> Rules:
    """The rules of a document; errors as `read_rules`."""
    return _Reader(document).read()


class _Reader:
    """Reads one document, and notes what is wrong in it."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._problems: list[str] = []

    def read(self) -> Rules:
        data = self._document.data
        if data is None:
            return Rules()
        preset, rules, storms = None, [], USUAL_STORMS
        if self._is_mapping(data, (), ("preset", "storms", "rules")):
            if data.get("storms") is not None:
                storms = replace(storms, **self._values(data["storms"], ("storms",), "storms", storms, ()))
            preset = self._one_of(data["preset"], ("preset",), PRESETS) if "preset" in data else None
            for number, rule in enumerate(self._items(data.get("rules"), ("rules",))):
                if self._is_mapping(rule, ("rules", number), _RULE_KEYS):
                    rules.append(self._rule(rule, ("rules", number)))
        if self._problems:
            raise RulesError(self._problems)
        return Rules(preset, tuple(rules), storms)

    def _rule(self, data: Mapping[str, Any], at: _Keys) -> Rule:
        changes = {
            name: self._section(section, (*at, name), name)
            for name, section in data.items()
            if name in SECTIONS and section is not None
        }
        meaning = changes.get("meaning", {})
        if meaning.get("lowest", -math.inf) >= meaning.get("highest", math.inf):
            self._refuse((*at, "meaning", "lowest"), "expected less than highest")
        return Rule(
            place=self._document.place(at),
            **{name: self._patterns(data[name], (*at, name)) for name in _PATTERNS if name in data},
            changes=changes,
            kinds=self._kinds(data["kinds"], (*at, "kinds")) if "kinds" in data else {},
            reset_on=self._resets(data["reset_on"], (*at, "reset_on")) if "reset_on" in data else None,
        )

    def _section(self, data: Any, at: _Keys, section: str) -> dict[str, Any]:
        defaults: Any = Profile()
        for name in section.split("."):
            defaults = getattr(defaults, name)
        return self._values(data, at, section, defaults, ("memory",) if hasattr(defaults, "memory") else ())

    def _values(
        self, data: Any, at: _Keys, section: str, defaults: Any, below: tuple[str, ...]
    ) -> dict[str, Any]:
        keys = keys_of(section)
        if not self._is_mapping(data, at, (*keys, *below)):
            return {}
        values: dict[str, Any] = {}
        for name, value in data.items():
            if name in below:
                values[name] = self._section(value, (*at, name), f"{section}.{name}")
            elif name in keys:
                key = keys[name]
                try:
                    values[key.field] = _value(key, getattr(defaults, key.field), value)
                except ValueError as error:
                    self._refuse((*at, name), str(error), value)
        return values

    def _patterns(self, data: Any, at: _Keys) -> Patterns | None:
        texts = self._items(data, at)
        for number, text in enumerate(texts):
            if not isinstance(text, str) or not text:
                self._refuse((*at, number), "expected a text or pattern, as oven or *_total", text)
        if data == []:
            self._refuse(at, "expected one at least; leave it out for all")
        return Patterns(tuple(text for text in texts if isinstance(text, str)))

    def _kinds(self, data: Any, at: _Keys) -> dict[str, str]:
        if not self._is_mapping(data, at, KINDS):
            return {}
        for kind, name in data.items():
            if not isinstance(name, str) or not _KIND.fullmatch(name):
                self._refuse((*at, kind), "expected a name of small letters, digits and underscores", name)
        return dict(data)

    def _resets(self, data: Any, at: _Keys) -> tuple[str, ...]:
        items = self._items(data, at)
        found = [self._one_of(item, (*at, number), RESETS) for number, item in enumerate(items)]
        return tuple(name for name in RESETS if name in found)

    def _items(self, data: Any, at: _Keys) -> list[Any]:
        if isinstance(data, list):
            return data
        if data is not None or at != ("rules",):
            self._refuse(at, f"expected a list, found {_kind_of(data)}")
        return []

    def _one_of(self, value: Any, at: _Keys, known: Iterable[str]) -> str | None:
        if isinstance(value, str) and value in known:
            return value
        close = difflib.get_close_matches(str(value), list(known), n=1)
        hint = f". Did you mean {close[0]}?" if close else ""
        self._refuse(at, f"expected {' or '.join(known)}{hint}", value)
        return None

    def _is_mapping(self, data: Any, at: _Keys, known: Iterable[str]) -> bool:
        """Whether there are keys and values; says which keys are not known."""
        if not isinstance(data, Mapping):
            self._refuse(at, f"expected keys and values, found {_kind_of(data)}")
            return False
        unknown = [name for name in data if name not in known]
        for name in unknown:
            self._refuse((*at, name), f"no such key{_nearest(name, known)}")
        return not unknown or at[:1] == ("rules",)

    def _refuse(self, at: _Keys, what: str, value: Any = None) -> None:
        shown = "" if value is None or isinstance(value, list | dict) else f" is {_short(value)}"
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in at).removeprefix(".")
        self._problems.append(f"{self._document.place(at)}: {path}{shown}{': ' if path else ''}{what}")


def _value(key: Key, default: Any, value: Any) -> Any:
    """What a file says of a key, as the dataclass has it.

    Raises:
        ValueError: it may not be so.
    """
    expected = f"expected {key.allowed(default)}"
    if isinstance(default, Sides):
        if not isinstance(value, str) or value.upper() not in Sides.__members__:
            raise ValueError(expected)
        return Sides[value.upper()]
    if key.optional and value is None:
        return default
    if isinstance(default, bool) or default is None:
        if not isinstance(value, bool):
            raise ValueError(expected)
        return value
    return _number(key, default, value, expected)


def _number(key: Key, default: float, value: Any, expected: str) -> float:
    if key.scale is not None:
        value = parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(expected)
    whole = isinstance(default, int)
    if whole and key.scale is None and not isinstance(value, int):
        raise ValueError(expected)
    if not key.minimum <= value <= key.maximum or (key.above and value == key.minimum):
        raise ValueError(expected)
    scaled = value * (key.scale or 1.0)
    if abs(scaled) >= 2.0**62:
        raise ValueError("far too large")
    return round(scaled) if whole else float(scaled)


def _nearest(name: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f". Did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def _kind_of(value: Any) -> str:
    names: dict[type, str] = {list: "a list", dict: "keys and values", str: "a text", bool: "yes or no"}
    return "nothing" if value is None else names.get(type(value), "a number")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
