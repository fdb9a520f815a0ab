"""At which line of a YAML file a key stands: for errors that are found only after the file was read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from producers.documents import read_yaml


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A YAML file and what it says."""

    path: Path
    data: Any

    @classmethod
    def read(cls, path: Path) -> "YamlFile":
        """Read a file.

        Raises:
            ConfigError: it cannot be read, or is no YAML.
        """
        return cls(path, read_yaml(path))

    def place(self, keys: Sequence[Any] = ()) -> str:
        """The file, and the line of the key at the end of `keys`, or of the last of them that is there."""
        line = self._line(keys)
        return str(self.path) if line is None else f"{self.path}, line {line}"

    def _line(self, keys: Sequence[Any]) -> int | None:
        try:
            node = yaml.compose(self.path.read_text("utf-8-sig"), yaml.SafeLoader)
        except (OSError, ValueError, yaml.YAMLError):
            return None  # the file was changed since
        line = None
        for key in keys:
            found = _below(node, key)
            if found is None:
                break
            line, node = found
        return line


def _below(node: yaml.Node | None, key: Any) -> tuple[int, yaml.Node] | None:
    """Line and value of `key` in a mapping or list."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        item = node.value[key]
        return item.start_mark.line + 1, item
    if not isinstance(node, yaml.MappingNode):
        return None
    merged: list[yaml.Node] = []
    for name, value in node.value:
        if name.tag == "tag:yaml.org,2002:merge":
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        elif getattr(name, "value", None) == str(key):
            return name.start_mark.line + 1, value
    return next((found for other in merged if (found := _below(other, key))), None)
