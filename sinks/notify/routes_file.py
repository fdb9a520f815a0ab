"""The routes file: YAML, read strictly; what is wrong is told with its line, all at once."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from schemas.errors import ConfigError
from schemas.settings_kinds import Section
from schemas.strict_yaml import StrictLoader, resolvers_without
from schemas.yaml_document import Document, Keys, parse_document, read_bytes
from sinks.notify.routes import Match, Name, Quiet, Route, Routes, Zone

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_REMEDY = "docs/notifications.md describes the file."


class _Loader(StrictLoader):
    """Plain words are texts, whatever YAML 1.1 makes of them (22:00 is a number to it, off is false); the models read them."""

    yaml_implicit_resolvers = resolvers_without("bool", "int", "float", "timestamp")


class _File(Section):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    timezone: Zone = ZoneInfo("UTC")
    targets: dict[Name, Annotated[str, Field(min_length=1)]] = Field(default={})
    routes: Annotated[tuple[Route, ...], Field(min_length=1)]


def read_routes(path: Path, environ: Mapping[str, str] = os.environ) -> Routes:
    """The routes of a file.

    Args:
        path: the file.
        environ: what ${NAME} in targets refers to.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong: every such thing, with its line, and no secret.
    """
    return parse_routes(read_bytes(path, _REMEDY), str(path), environ)


def parse_routes(data: bytes, name: str, environ: Mapping[str, str] = os.environ) -> Routes:
    """As `read_routes`, of what a file called `name` says."""
    document = parse_document(data, name, _Loader)
    try:
        file = _File.model_validate(document.data if document.data is not None else {})
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A list whose items are wrong counts as empty, too.
        listed = any(len(one["loc"]) > 1 and one["loc"][0] == "routes" for one in found)
        problems = [_problem(one, document) for one in found if not (listed and one["loc"] == ("routes",))]
        raise _refused(problems) from None
    problems = [f"{_place(document, keys)}: {what}" for keys, what in _odd(file)]
    targets, missing = _targets(file, environ)
    problems += [f"{_place(document, keys)}: {what}" for keys, what in missing]
    if problems:
        raise _refused(problems)
    return Routes(tuple(_named(route, file.timezone) for route in file.routes), targets, file.timezone)


def _refused(problems: Sequence[str]) -> ConfigError:
    if len(problems) == 1:
        return ConfigError(problems[0], _REMEDY)
    return ConfigError(f"{len(problems)} problems: {'; '.join(problems)}", _REMEDY)


def _problem(one: Any, document: Document) -> str:
    """A problem that pydantic found, in our words; what was given stands in the file, and may be secret."""
    keys = tuple(one["loc"])
    what = one["msg"].removeprefix("Value error, ")
    what = re.sub(r"^(Input|String|Tuple|List) should", "should", what)
    if one["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(keys[-1]), _known(keys[:-1]), n=1)
        what = f"no such key.{f' Did you mean {near[0]}?' if near else ''}"
    elif one["type"] == "missing":
        what = "is missing"
    elif one["type"] == "literal_error" and isinstance(one["input"], str):
        choices = re.findall(r"'([^']*)'", str(one.get("ctx", {}).get("expected", "")))
        near = difflib.get_close_matches(one["input"], choices, n=1)
        what += f". Did you mean {near[0]}?" if near else ""
    return f"{_place(document, keys)}: {what}"


def _known(keys: Keys) -> list[str]:
    """The keys that may stand below a place."""
    below: dict[str | int, type[BaseModel]] = {"match": Match, "quiet": Quiet}
    model: type[BaseModel] = _File
    if len(keys) >= 2 and keys[0] == "routes":
        model = below.get(keys[-1], Route)
    return [info.alias or name for name, info in model.model_fields.items()]


def _odd(file: _File) -> Iterator[tuple[Keys, str]]:
    """What no single value shows: names given twice, targets that there are not."""
    seen: set[str] = set()
    for index, route in enumerate(file.routes):
        if route.name in seen:
            yield ("routes", index, "name"), f"the name {route.name} is given twice"
        seen.add(route.name)
        for number, target in enumerate(route.targets):
            if "://" in target or _REFERENCE.fullmatch(target) or target in file.targets:
                continue
            near = difflib.get_close_matches(target, file.targets, n=1)
            hint = f" Did you mean {near[0]}?" if near else " Targets are named under targets, or are URLs."
            yield ("routes", index, "targets", number), f"there is no target {target!r}.{hint}"


def _named(route: Route, zone: ZoneInfo) -> Route:
    """A route whose targets are names, and whose quiet hours have a zone."""
    quiet = route.quiet
    if quiet is not None and quiet.zone is None:
        quiet = quiet.model_copy(update={"zone": zone})
    return route.model_copy(update={"targets": tuple(dict.fromkeys(_named_each(route))), "quiet": quiet})


def _targets(file: _File, environ: Mapping[str, str]) -> tuple[dict[str, SecretStr], list[tuple[Keys, str]]]:
    """The URLs by name, and what is missing for them."""
    given: list[tuple[str, str, Keys]] = [
        (name, url, ("targets", name)) for name, url in file.targets.items()
    ]
    for index, route in enumerate(file.routes):
        for number, (plain, name) in enumerate(zip(route.targets, _named_each(route), strict=True)):
            if plain != name:
                given.append((name, plain, ("routes", index, "targets", number)))
    targets, problems = {}, []
    for name, url, keys in given:
        missing = [each for each in _REFERENCE.findall(url) if not environ.get(each)]
        if missing:
            problems.append((keys, f"the environment has no {', '.join(missing)}"))
        else:
            targets[name] = SecretStr(_expand(url, environ))
    return targets, problems


def _named_each(route: Route) -> list[str]:
    """Names of a route's targets; a URL among them gets one of the route's own."""
    return [
        target if "://" not in target and not _REFERENCE.fullmatch(target) else f"{route.name}#{number}"
        for number, target in enumerate(route.targets, 1)
    ]


def _expand(url: str, environ: Mapping[str, str]) -> str:
    """A URL with its references filled in; a part of one is a value and gets its special characters escaped."""
    whole = _REFERENCE.fullmatch(url)
    if whole:
        return environ[whole[1]]
    return _REFERENCE.sub(lambda match: quote(environ[match[1]], safe=""), url)


def _place(document: Document, keys: Keys) -> str:
    """File, line and keys of a place."""
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
    return f"{document.place(keys)}{f': {path}' if path else ''}"
