"""Where settings are given: a YAML file, environment variables, flags; read strictly, each value with its place.

Nothing here knows the settings themselves: the known keys come as a `KeyTree`. Problems are collected, not
raised, so that a user sees all of them at once.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import ConfigError
from schemas.strict_yaml import StrictLoader
from schemas.yaml_document import parse_document, read_bytes

KeyTree = Mapping[str, "KeyTree | None"]
"""Known keys: a section's keys, None for a setting."""

KeyPath = tuple[str, ...]

PREFIX = "SIGMAWATCH_"
TEST_PREFIX = "SIGMAWATCH_TEST_"
"""Variables that choose what the tests run against; no settings."""

CONFIG_VARIABLE = "SIGMAWATCH_CONFIG"

# Kubernetes tells every pod about services called sigmawatch-...; those variables are not ours.
_SERVICE_LINK = re.compile(
    rf"{PREFIX}\w*?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)"
)
_SERVICE_KEY = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True)
class Given:
    """A value and the place where the user gave it."""

    path: KeyPath
    value: Any
    place: str


@dataclass(slots=True)
class Sources:
    """What was given, the least important first, and what was wrong with it."""

    keys: KeyTree
    given: list[Given] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def read_yaml(self, path: Path) -> None:
        """Take a YAML file; a missing or broken one is a problem."""
        try:
            document = parse_document(read_bytes(path, ""), str(path), StrictLoader).data
        except ConfigError as error:
            self.problems.append(error.message)
            return
        if isinstance(document, dict):
            self._take_section(document, self.keys, (), str(path))
        elif document is not None:
            self.problems.append(f"{path}: expected sections of settings, found {_kind(document)}")

    def _take_section(self, section: Mapping[Any, Any], keys: KeyTree, above: KeyPath, place: str) -> None:
        for key, value in section.items():
            path = (*above, str(key))
            dotted = ".".join(path)
            if not isinstance(key, str) or key not in keys:
                self.problems.append(f"{place}: {dotted} is no setting.{self._nearest(path)}")
                continue
            below = keys[key]
            if below is None:
                self.given.append(Given(path, value, f"{place}: {dotted}"))
            elif isinstance(value, Mapping):
                self._take_section(value, below, path, place)
            elif value is not None:  # a section whose lines are all comments is empty
                self.problems.append(f"{place}: {dotted} is a section, expected settings below it")

    def read_environment(self, environ: Mapping[str, str], also_known: frozenset[str]) -> None:
        """Take the variables that begin with SIGMAWATCH_; an empty one counts as not set.

        Args:
            environ: the environment.
            also_known: variables that are no settings and not looked at here.
        """
        variables = {variable_name(path): path for path in walk(self.keys)}
        for name in sorted(environ):
            if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX) or name in also_known:
                continue
            if _is_service_link(name, environ[name]):
                continue
            if name not in variables:
                near = difflib.get_close_matches(name, [*variables, *also_known], n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                self.problems.append(f"environment variable {name} is no setting.{hint}")
            elif environ[name]:
                self.given.append(Given(variables[name], environ[name], f"environment variable {name}"))

    def read_overrides(self, overrides: Mapping[str, Any]) -> None:
        """Take flags: dotted key -> value; None counts as not given. An option's key may have dots in it."""
        known = {".".join(path): path for path in walk(self.keys)}
        for dotted, value in overrides.items():
            if value is None:
                continue
            place = f"flag for {dotted}"
            above = next((path for key, path in known.items() if dotted.startswith(f"{key}.")), None)
            if dotted in known:
                self.given.append(Given(known[dotted], value, place))
            elif above is not None and above[-1] == "options":
                self.given.append(Given(above, {dotted[len(".".join(above)) + 1 :]: value}, place))
            else:
                self.problems.append(f"{place}: no such setting.{self._nearest(tuple(dotted.split('.')))}")

    def _nearest(self, path: KeyPath) -> str:
        known = {".".join(known): known for known in walk(self.keys)}
        known |= {section: (section,) for section, below in self.keys.items() if below is not None}
        dotted = ".".join(path)
        near = difflib.get_close_matches(dotted, known, n=1)
        if not near:
            # A key under the wrong section, or under none.
            leaves = {path[-1]: ".".join(path) for path in known.values()}
            near = [leaves[leaf] for leaf in difflib.get_close_matches(path[-1], leaves, n=1)]
        return f" Did you mean {near[0]}?" if near else ""


def walk(keys: KeyTree, above: KeyPath = ()) -> Iterator[KeyPath]:
    """Paths of all settings."""
    for key, below in keys.items():
        if below is None:
            yield (*above, key)
        else:
            yield from walk(below, (*above, key))


def variable_name(path: KeyPath) -> str:
    """The environment variable of a setting: SIGMAWATCH_KAFKA__BOOTSTRAP_SERVERS."""
    return PREFIX + "__".join(path).upper()


def parse_options(value: Any) -> dict[str, str]:
    """Client options: a mapping, or one as JSON text; numbers and yes/no become text as librdkafka reads it.

    Raises:
        ValueError: it is neither.
    """
    form = 'expected options, as {"sasl.mechanism": "PLAIN"}'
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(f"{form} in JSON") from None
    if not isinstance(value, Mapping):
        raise ValueError(form)  # noqa: TRY004 -- pydantic takes ValueError
    options = {}
    for key, setting in value.items():
        if not isinstance(key, str):
            raise ValueError(f"{form}: {key!r} is no option's name")  # noqa: TRY004
        if not isinstance(setting, str | int | float):
            raise ValueError(f"{form}: {key} is {_kind(setting)}")  # noqa: TRY004
        options[key] = str(setting).lower() if isinstance(setting, bool) else str(setting)
    return options


def _is_service_link(name: str, value: str) -> bool:
    if not _SERVICE_LINK.fullmatch(name) or "__" in name:
        return False
    return not name.endswith("_PORT") or "SERVICE" in name or bool(_SERVICE_KEY.match(value))


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    return {list: "a list", dict: "a section", str: "a text", bool: "yes or no"}.get(type(value), "a number")
