"""YAML and JSON files that users write: read strictly, and checked against a model with errors that help.

Other than in plain YAML 1.1, a key said twice is an error, and 10:30 is a text and not six hundred and thirty.
"""

import difflib
import json
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from schemas.errors import ConfigError
from schemas.strict_yaml import StrictLoader, resolvers_without
from schemas.yaml_document import parse_document

_Model = TypeVar("_Model", bound=BaseModel)
_MAXIMUM_BYTES = 10_000_000
"""Of a file that somebody wrote by hand; more is another kind of file."""
_SHOWN = 60


def read_yaml(path: Path) -> Any:
    """What a YAML file says; None if it is empty.

    Raises:
        ConfigError: it cannot be read, or is no YAML; says the line.
    """
    return parse_yaml(_text(path), str(path))


def parse_yaml(text: str, place: str) -> Any:
    """As `read_yaml`, of a text; `place` is what errors call it.

    Raises:
        ConfigError: as `read_yaml`.
    """
    return parse_document(text, place, _Loader).data


def read_json(path: Path) -> Any:
    """What a JSON file says.

    Raises:
        ConfigError: it cannot be read, or is no JSON; says the line.
    """
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{where}: {error.msg}", "Mend the JSON there.") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply", "Mend the JSON there.") from error


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAXIMUM_BYTES:
            raise ConfigError(
                f"{path}: larger than {_MAXIMUM_BYTES // 1_000_000} MB", "Is it the right file?"
            )
        return path.read_text("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}", "Give the path of a file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})", "Save it as UTF-8.") from error


def validate(model: type[_Model], data: Any, place: str, remedy: str = "Put it right in the file.") -> _Model:
    """`data` as a `model`.

    Args:
        model: a pydantic model.
        data: what a file says.
        place: what errors call the file or the part of it.
        remedy: said where there is no better one.

    Raises:
        ConfigError: every wrong key and value at once, each with its path and a remedy.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{place}: expected keys and values, found {kind_of(data)}", remedy)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise refusal(error, model, place, remedy) from error


def refusal(
    error: ValidationError, model: type[BaseModel], place: str, remedy: str = "Put it right in the file."
) -> ConfigError:
    """A validation error of `model` as one for the user who wrote `place`."""
    found = [_problem(one, model) for one in error.errors(include_url=False)]
    remedies = [better for _, better in found if better]
    # A name that was mistyped explains what is missing.
    better = next((better for better in remedies if better.startswith("Did")), next(iter(remedies), remedy))
    return ConfigError(f"{place}: {'; '.join(what for what, _ in found)}", better)


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy for a name that is not known."""
    names = sorted(set(known))
    if close := closest(name, names):
        return f"Did you mean {close}?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else ".")
    return f"There are: {shown}" if names else "There are none."


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`; None if none is."""
    names = {one.lower(): one for one in sorted(set(known), reverse=True)}
    close = difflib.get_close_matches(name.lower(), names, n=1)
    return names[close[0]] if close else None


def kind_of(value: Any) -> str:
    """What a value of YAML or JSON is, in words."""
    if value is None:
        return "nothing"
    names: dict[type, str] = {list: "a list", dict: "keys and values", str: "a text", bool: "yes or no"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)


def _problem(one: Any, model: type[BaseModel]) -> tuple[str, str]:
    """What is wrong, and a remedy, of one of pydantic's errors."""
    path = ".".join(str(part) for part in one["loc"])
    if one["type"] == "extra_forbidden":
        return f"{path} is no key here", nearest(str(one["loc"][-1]), _keys(model, one["loc"][:-1]))
    if one["type"] == "missing":
        return f"{path} is missing", f"Give {path}."
    what = one["msg"].removeprefix("Value error, ")
    if one["type"] in {"model_type", "dict_type", "model_attributes_type"}:
        what = f"expected keys and values, found {kind_of(one['input'])}"
    what = re.sub(r"^(Input|String|List|Tuple) should", "should", what)
    if not path:
        return what, ""
    shown = _shown(one["input"])
    return f"{path}{f' is {shown}' if shown else ''}: {what}", ""


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float) or value is None else ""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys of the model at `path` below `model`; none where that cannot be told."""
    here: Any = model
    for part in path:
        inside = _model_in(here)
        if inside is not None and part in inside.model_fields:
            here = inside.model_fields[str(part)].annotation
        elif inside is not None:
            return []
        else:
            here = _item(here)
    found = _model_in(here)
    return list(found.model_fields) if found else []


def _model_in(kind: Any) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if typing.get_origin(kind) in {types.UnionType, typing.Union, typing.Annotated}:
        return next((found for part in typing.get_args(kind) if (found := _model_in(part))), None)
    return None


def _item(kind: Any) -> Any:
    """What a list, tuple or mapping is of."""
    if typing.get_origin(kind) in {types.UnionType, typing.Union, typing.Annotated}:
        return next((found for part in typing.get_args(kind) if (found := _item(part)) is not None), None)
    arguments = typing.get_args(kind)
    if not arguments:
        return None
    return arguments[1] if typing.get_origin(kind) in {dict, Mapping} else arguments[0]


class _Loader(StrictLoader):
    """YAML whose numbers are numbers: 1e-4 is one, 1:30 is not."""

    yaml_implicit_resolvers = resolvers_without("int", "float")


_FIRST = list("-+.0123456789")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.inf)$"),
    _FIRST,
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9]\d*)$"), _FIRST)
