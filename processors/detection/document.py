"""A YAML file that somebody wrote, read strictly: a key said twice is an error, and each key's line is known."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import ConfigError
from schemas.strict_yaml import StrictLoader, resolvers_without

_MAXIMUM_BYTES = 1_000_000
"""Of a file that somebody wrote by hand; more is another kind of file."""

Keys = Sequence[str | int]
"""Keys and indexes from the top of a document to a value."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML file says.

    Attributes:
        name: what errors call it.
        data: plain lists, mappings and values; None where it is empty.
    """

    name: str
    data: Any
    _top: yaml.Node | None

    def place(self, keys: Keys) -> str:
        """The file, and the line of the key at the end of `keys`, or of the last of them that is there."""
        node, line = self._top, None
        for key in keys:
            found = _below(node, key)
            if found is None:
                break
            line, node = found
        return self.name if line is None else f"{self.name}, line {line}"


def read_document(path: Path) -> Document:
    """A YAML file.

    Raises:
        ConfigError: it cannot be read, or is no YAML; says the line.
    """
    return parse_document(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """What a file says.

    Raises:
        ConfigError: it cannot be read, or is far too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAXIMUM_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}", "Give the path of a rules file.") from error
    if len(data) > _MAXIMUM_BYTES:
        raise ConfigError(f"{path}: larger than {_MAXIMUM_BYTES // 1_000_000} MB", "Is it the right file?")
    return data


def parse_document(data: bytes, name: str) -> Document:
    """As `read_document`, of what a file called `name` says."""
    try:
        loader = _Loader(data.decode("utf-8-sig"))
        try:
            top = loader.get_single_node()
            return Document(name, None if top is None else loader.construct_document(top), top)
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 text (byte {error.start})", "Save it as UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            f"{name}{where}: {error.problem or error.context}", "Mend the YAML there."
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{name}: nested too deeply", "Mend the YAML there.") from error
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a date that only looks like one, as 2025-13-01.
        raise ConfigError(f"{name}: {' '.join(str(error).split())}", "Mend the YAML there.") from error


def _below(node: yaml.Node | None, key: str | int) -> tuple[int, yaml.Node] | None:
    """Line and value of `key` in a mapping or list."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        item = node.value[key]
        return item.start_mark.line + 1, item
    if isinstance(node, yaml.MappingNode):
        for name, value in reversed(node.value):  # what was merged in (<<) stands first and counts least
            if getattr(name, "value", None) == str(key):
                return name.start_mark.line + 1, value
    return None


class _Loader(StrictLoader):
    """Safe YAML without the traps of YAML 1.1: `on` for true, 1e-4 for a text, 1:30 for a number."""

    yaml_implicit_resolvers = resolvers_without("bool", "int", "float")


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_FIRST = list("-+.0123456789")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)|\d+\.\d*|\.\d+|\.inf)$"),
    _FIRST,
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9]\d*)$"), _FIRST)
