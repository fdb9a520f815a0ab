"""A YAML file that somebody wrote, read strictly and with the line of each key, so that errors can name it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import ConfigError
from schemas.strict_yaml import StrictLoader

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


def read_bytes(path: Path, remedy: str) -> bytes:
    """What a file says.

    Args:
        path: the file.
        remedy: said where it cannot be read.

    Raises:
        ConfigError: it cannot be read, or is far too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAXIMUM_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}", remedy) from error
    if len(data) > _MAXIMUM_BYTES:
        raise ConfigError(f"{path}: larger than {_MAXIMUM_BYTES // 1_000_000} MB", "Is it the right file?")
    return data


def parse_document(data: bytes | str, name: str, loader: type[StrictLoader]) -> Document:
    """A document from a file's bytes or text.

    Args:
        data: YAML; as bytes it is UTF-8, with or without a byte order mark.
        name: what errors call the file.
        loader: says what plain words are.

    Raises:
        ConfigError: it is no YAML; says the line.
    """
    try:
        reading = loader(data if isinstance(data, str) else data.decode("utf-8-sig"))
        try:
            top = reading.get_single_node()
            return Document(name, None if top is None else reading.construct_document(top), top)
        finally:
            reading.dispose()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 text (byte {error.start})", "Save it as UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            f"{name}{where}: {error.problem or error.context}", "Mend the YAML there."
        ) from None
    except RecursionError:
        raise ConfigError(f"{name}: nested too deeply", "Mend the YAML there.") from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a date that only looks like one, as 2025-13-01.
        raise ConfigError(f"{name}: {' '.join(str(error).split())}", "Mend the YAML there.") from None


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
