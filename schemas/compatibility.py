"""Whether messages of one schema can be read with another: Avro's schema resolution, checked without a message.

A new version is BACKWARD compatible where it reads what the old one wrote: a consumer may be upgraded before
its producers. Rules: Avro specification, "Schema Resolution"; beyond it, a field must keep its logical type, or
milliseconds would be read as microseconds without a word.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.catalogue import Catalogue, Schema

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_NAMED = {"record", "error", "enum", "fixed"}


def backward_problems(new: Schema, old: Schema) -> list[str]:
    """Why `new` cannot read what `old` wrote, one sentence each; empty where it can.

    Both are valid Avro schemas in JSON form.
    """
    return list(_Resolution(new, old).compare(new, old, ""))


def catalogue_problems(catalogue: Catalogue) -> list[str]:
    """Versions of the catalogue that cannot read every earlier version of their subject."""
    problems = []
    for new in catalogue.versions:
        for old in catalogue.versions:
            if old.subject == new.subject and old.version < new.version:
                problems += [
                    f"{new.subject} version {new.version} cannot read version {old.version}: {problem}"
                    for problem in backward_problems(new.schema, old.schema)
                ]
    return problems


class _Resolution:
    def __init__(self, reader: Schema, writer: Schema) -> None:
        self._readers = _named_types(reader)
        self._writers = _named_types(writer)
        self._compared: set[tuple[str, str]] = set()

    def compare(self, reader: Any, writer: Any, path: str) -> Iterable[str]:
        """Problems of reading a `writer` value at `path` as `reader`."""
        reader, writer = self._readers.get(_key(reader), reader), self._writers.get(_key(writer), writer)
        if isinstance(writer, list):
            for branch in writer:
                yield from self.compare(reader, branch, path)
        elif isinstance(reader, list):
            attempts = [list(self.compare(branch, writer, path)) for branch in reader]
            if all(attempts):
                # The likeliest branch tells most: one of the same type, else there is none.
                same = [
                    found
                    for branch, found in zip(reader, attempts, strict=True)
                    if _type(branch) == _type(writer)
                ]
                yield from same[0] if same else [f"{_at(path)} {_type(writer)} is none of {_types(reader)}"]
        else:
            yield from self._compare_single(reader, writer, path)

    def _compare_single(self, reader: Any, writer: Any, path: str) -> Iterable[str]:
        kind, written = _type(reader), _type(writer)
        if kind != written:
            if kind not in _PROMOTIONS.get(written, set()):
                yield f"{_at(path)} {written} cannot be read as {kind}"
            return
        ours, theirs = _logical_type(reader), _logical_type(writer)
        if ours != theirs:
            yield f"{_at(path)} logical type {theirs} cannot be read as {ours}"
        if kind in _NAMED:
            yield from self._compare_named(kind, reader, writer, path)
        elif kind == "array":
            yield from self.compare(reader["items"], writer["items"], f"{path}[]")
        elif kind == "map":
            yield from self.compare(reader["values"], writer["values"], f"{path}{{}}")

    def _compare_named(self, kind: str, reader: Schema, writer: Schema, path: str) -> Iterable[str]:
        name, written = _short(reader["name"]), _short(writer["name"])
        if name != written and written not in {_short(alias) for alias in reader.get("aliases", [])}:
            yield f"{_at(path)} {kind} {written} cannot be read as {name}"
        elif kind == "fixed":
            if reader["size"] != writer["size"]:
                yield f"{_at(path)} fixed {name} has {writer['size']} bytes, not {reader['size']}"
        elif kind == "enum":
            unknown = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
            if unknown and "default" not in reader:
                yield f"{_at(path)} enum {name} has no symbol {', '.join(unknown)}, and no default"
        elif (name, written) not in self._compared:
            self._compared.add((name, written))
            yield from self._compare_fields(reader, writer, path)

    def _compare_fields(self, reader: Schema, writer: Schema, path: str) -> Iterable[str]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            names = [field["name"], *field.get("aliases", [])]
            found = next((written[name] for name in names if name in written), None)
            below = f"{path}.{field['name']}" if path else field["name"]
            if found is not None:
                yield from self.compare(field["type"], found["type"], below)
            elif "default" not in field:
                yield f"{_at(below)} was not written and has no default"


def _named_types(schema: Any, namespace: str = "") -> dict[str, Schema]:
    """Named types inside a schema, by full and by short name."""
    found: dict[str, Schema] = {}
    if isinstance(schema, list):
        for branch in schema:
            found |= _named_types(branch, namespace)
    elif isinstance(schema, Mapping):
        if schema.get("type") in _NAMED:
            namespace = schema.get("namespace", namespace)
            found |= {
                _short(schema["name"]): dict(schema),
                f"{namespace}.{_short(schema['name'])}": dict(schema),
            }
        for inner in (schema.get("type"), schema.get("items"), schema.get("values")):
            if not isinstance(inner, str):
                found |= _named_types(inner, namespace)
        for field in schema.get("fields", []):
            found |= _named_types(field["type"], namespace)
    return found


def _key(schema: Any) -> str:
    return schema if isinstance(schema, str) else ""


def _type(schema: Any) -> str:
    """The innermost type's word: {"type": {"type": "long"}} is long."""
    while isinstance(schema, Mapping):
        schema = schema["type"]
    return "union" if isinstance(schema, list) else str(schema)


def _types(union: list[Any]) -> str:
    return ", ".join(_type(branch) for branch in union)


def _logical_type(schema: Any) -> str | None:
    return schema.get("logicalType") if isinstance(schema, Mapping) else None


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _at(path: str) -> str:
    return f"field {path}:" if path else "the record:"
