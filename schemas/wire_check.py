"""Whether bytes are one well-formed Avro body of a schema: the gate in front of fastavro.

fastavro trusts its input: a negative length reads to the end, a count of 2^60 nulls is built in memory, a deep
list runs off the stack, an endless varint wraps around. So every body is walked first, with lengths, counts, depth
and varints bounded by the bytes that are there; the walk builds nothing.
"""

from collections.abc import Callable
from typing import Any

Check = Callable[[bytes, int, int], int]
"""(data, position, depth) -> position behind the value; raises `MalformedError`."""

MAX_DEPTH = 64
"""Values inside values; ours have three. Far from what the C stack holds."""

_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1
_LONG_BITS = 64


class MalformedError(Exception):
    """The bytes are not what the schema says, or the schema is not one that can be checked."""


def body_check(schema: Any) -> Check:
    """Compile the check of a schema (JSON form, unparsed).

    Raises:
        MalformedError: the schema is not Avro.
    """
    return _Compiler().compile(schema, "")


class _Compiler:
    def __init__(self) -> None:
        self._named: dict[str, Check] = {}

    def compile(self, schema: Any, namespace: str) -> Check:
        if isinstance(schema, list):
            return _union([self.compile(branch, namespace) for branch in schema])
        if isinstance(schema, str):
            return _PRIMITIVES[schema] if schema in _PRIMITIVES else self._reference(schema, namespace)
        if not isinstance(schema, dict):
            raise MalformedError(f"{schema!r} is no Avro type")
        kind = schema.get("type")
        if kind == "array":
            return _blocks(self.compile(schema.get("items"), namespace))
        if kind == "map":
            value = self.compile(schema.get("values"), namespace)
            return _blocks(lambda data, at, depth: value(data, _sized(data, at, depth), depth))
        if kind in {"record", "error", "enum", "fixed"}:
            return self._define(kind, schema, namespace)
        return self.compile(kind, namespace)

    def _reference(self, name: str, namespace: str) -> Check:
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        if full not in self._named and name not in self._named:
            raise MalformedError(f"{name!r} is no Avro type")
        named, key = self._named, full if full in self._named else name
        return lambda data, at, depth: named[key](data, at, depth)  # noqa: PLW0108 -- may be unfinished now

    def _define(self, kind: str, schema: dict[str, Any], namespace: str) -> Check:
        try:
            name = str(schema["name"])
            if "." in name:
                namespace = name.rpartition(".")[0]
            else:
                namespace = schema.get("namespace", namespace)
                name = f"{namespace}.{name}" if namespace else name
            if kind == "enum":
                check = _enum(len(schema["symbols"]))
            elif kind == "fixed":
                check = _fixed(int(schema["size"]))
            else:
                self._named[name] = _unfinished
                check = _record([self.compile(field["type"], namespace) for field in schema["fields"]])
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedError(f"not an Avro {kind}: {error!r}") from error
        self._named[name] = check
        return check


def _unfinished(_data: bytes, _at: int, _depth: int) -> int:
    raise AssertionError  # replaced before any check runs


def _long(data: bytes, at: int, _depth: int = 0) -> int:
    return _varint(data, at)[1]


def _int(data: bytes, at: int, _depth: int) -> int:
    value, at = _varint(data, at)
    if not _INT_MIN <= value <= _INT_MAX:
        raise MalformedError(f"{value} is no 32-bit integer")
    return at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    raw = shift = 0
    while shift < _LONG_BITS:
        if at >= len(data):
            raise MalformedError("the bytes end inside a number")
        byte = data[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            if raw >> _LONG_BITS:
                break
            return raw >> 1 ^ -(raw & 1), at
        shift += 7
    raise MalformedError("a number is longer than 64 bits")


def _sized(data: bytes, at: int, _depth: int) -> int:
    size, at = _varint(data, at)
    if not 0 <= size <= len(data) - at:
        raise MalformedError(f"a text says it is {size} bytes long, {len(data) - at} are left")
    return at + size


def _boolean(data: bytes, at: int, _depth: int) -> int:
    if at >= len(data) or data[at] > 1:
        raise MalformedError("not a boolean")
    return at + 1


def _null(_data: bytes, at: int, _depth: int) -> int:
    return at


def _fixed(size: int) -> Check:
    def check(data: bytes, at: int, _depth: int) -> int:
        if at + size > len(data):
            raise MalformedError(f"{size} bytes are due, {len(data) - at} are left")
        return at + size

    return check


def _enum(symbols: int) -> Check:
    def check(data: bytes, at: int, _depth: int) -> int:
        index, at = _varint(data, at)
        if not 0 <= index < symbols:
            raise MalformedError(f"an enum of {symbols} symbols has no symbol {index}")
        return at

    return check


def _union(branches: list[Check]) -> Check:
    def check(data: bytes, at: int, depth: int) -> int:
        index, at = _varint(data, at)
        if not 0 <= index < len(branches):
            raise MalformedError(f"a union of {len(branches)} types has no type {index}")
        return branches[index](data, at, _deeper(depth))

    return check


def _record(fields: list[Check]) -> Check:
    def check(data: bytes, at: int, depth: int) -> int:
        depth = _deeper(depth)
        for field in fields:
            at = field(data, at, depth)
        return at

    return check


def _blocks(item: Check) -> Check:
    """Arrays and maps. Items of no bytes (an array of nulls) are refused: a few bytes could ask for any number."""

    def check(data: bytes, at: int, depth: int) -> int:
        depth = _deeper(depth)
        while True:
            count, at = _varint(data, at)
            if count == 0:
                return at
            end = None
            if count < 0:
                size, at = _varint(data, at)
                count, end = -count, at + size
            for _ in range(count):
                before = at
                at = item(data, at, depth)
                if at == before:
                    raise MalformedError("an array of nothing")
            if end is not None and at != end:
                raise MalformedError("a block is not as long as it says")

    return check


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise MalformedError(f"values are nested deeper than {MAX_DEPTH}")
    return depth + 1


_PRIMITIVES: dict[str, Check] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "float": _fixed(4),
    "double": _fixed(8),
    "bytes": _sized,
    "string": _sized,
}
