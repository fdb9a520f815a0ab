"""How a rules file is read: YAML in which plain words are what people mean by them."""

import re
from pathlib import Path

from schemas.strict_yaml import StrictLoader, resolvers_without
from schemas.yaml_document import Document, parse_document, read_bytes


def rules_bytes(path: Path) -> bytes:
    """What a rules file says.

    Raises:
        ConfigError: it cannot be read, or is far too large.
    """
    return read_bytes(path, "Give the path of a rules file.")


def rules_document(data: bytes, name: str) -> Document:
    """A rules file's content as a document; `name` is what errors call it.

    Raises:
        ConfigError: it is no YAML; says the line.
    """
    return parse_document(data, name, _Loader)


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
