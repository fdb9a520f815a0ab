"""The bytes of a message, field by field up to the first fault. Pure but for the schema, which may be asked of a registry.

Bytes that are hostile are bounded as in `schemas.wire_check`: nothing is built that is larger than they are.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from schemas.catalogue import Schema
from schemas.dead_letters import DeadLetterReason, TimeBounds
from schemas.errors import CodecError

HEADER_BYTES = 5
_MAX_DEPTH = 64
_MOST_FIELDS = 2000
_LONG_BITS = 64
_WIDTHS = {"float": ("<f", 4), "double": ("<d", 8)}
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "bytes", "string", *_WIDTHS})

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Field:
    """A value that could be read: its path (`location.latitude`), its bytes from `start` to before `end`, and itself."""

    path: str
    start: int
    end: int
    value: Value


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong: at which byte, in which field (empty for none), and how."""

    at: int
    path: str
    what: str
    reason: DeadLetterReason


@dataclass(slots=True)
class Dissection:
    """What bytes say.

    Attributes:
        size: of the value, None for a tombstone.
        schema_id: of the wire format's header, None where there is none.
        record: name of the schema's record, empty where it is not known.
        fields: those before the fault.
        fault: the first one, None where the bytes are a whole message.
    """

    size: int | None
    schema_id: int | None = None
    record: str = ""
    fields: list[Field] = field(default_factory=list)
    fault: Fault | None = None


class _FaultError(Exception):
    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at, self.what = at, what


def dissect(
    value: bytes | None,
    schema_of: Callable[[int], Schema],
    timestamp_ms: int | None = None,
    bounds: TimeBounds | None = None,
) -> Dissection:
    """Read a message's value as far as possible.

    Args:
        value: the bytes; None is a tombstone.
        schema_of: gives the schema of an id.
        timestamp_ms: of the message, which a reading's time is judged against.
        bounds: which times of readings are believed.

    Raises:
        RegistryUnavailableError: `schema_of` could not ask. Nothing else, whatever the bytes are.
    """
    if value is None:
        return Dissection(None, fault=Fault(0, "", "there is no value", DeadLetterReason.NULL_VALUE))
    found = Dissection(len(value))
    found.fault = _header(value, found)
    if found.fault is not None or found.schema_id is None:
        return found
    try:
        schema = schema_of(found.schema_id)
    except CodecError as error:
        found.fault = Fault(1, "", str(error), error.reason)
        return found
    _body(value, schema, found)
    if found.fault is None and found.record == "Reading":
        found.fault = _judge(found, timestamp_ms, bounds or TimeBounds())
    return found


def _header(value: bytes, found: Dissection) -> Fault | None:
    if len(value) < HEADER_BYTES:
        what = f"{len(value)} bytes, where the header alone has {HEADER_BYTES}"
        return Fault(len(value), "", what, DeadLetterReason.TOO_SHORT)
    if value[0] != 0:
        what = f"the first byte is {value[0]}, where 0 begins a message"
        return Fault(0, "", what, DeadLetterReason.BAD_MAGIC)
    found.schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")
    return None


def _body(value: bytes, schema: Schema, found: Dissection) -> None:
    walk = _Walk(value, found.fields)
    try:
        found.record = str(schema.get("name", "")).rpartition(".")[2]
        end = walk.read(schema, HEADER_BYTES, "", "", 0)
    except _FaultError as error:
        found.fault = Fault(error.at, walk.path, error.what, DeadLetterReason.UNDECODABLE)
    except (RecursionError, AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"schema {found.schema_id} cannot be followed: {error!r}"
        found.fault = Fault(HEADER_BYTES, walk.path, what, DeadLetterReason.UNDECODABLE)
    else:
        if end != len(value):
            what = f"{len(value) - end} bytes are left over"
            found.fault = Fault(end, "", what, DeadLetterReason.TRAILING_BYTES)


class _Walk:
    """One walk over one body, along its schema."""

    def __init__(self, data: bytes, fields: list[Field]) -> None:
        self.path = ""
        self._data = data
        self._fields = fields
        self._named: dict[str, Any] = {}

    def read(self, schema: Any, at: int, path: str, namespace: str, depth: int) -> int:
        """Read a value of a schema; gives the position behind it."""
        self.path = path
        if depth > _MAX_DEPTH:
            raise _FaultError(at, f"values are nested deeper than {_MAX_DEPTH}")
        if isinstance(schema, list):
            index, behind = self._varint(at)
            if not 0 <= index < len(schema):
                raise _FaultError(at, f"a union of {len(schema)} types has no type {index}")
            return self.read(schema[index], behind, path, namespace, depth + 1)
        if isinstance(schema, str):
            return self._named_or_primitive(schema, at, path, namespace, depth)
        kind = schema["type"]
        if kind in ("enum", "fixed"):
            return self._enum(schema, at, path) if kind == "enum" else self._fixed(schema, at, path)
        if kind in ("record", "error", "array", "map"):
            walk = self._blocks if kind in ("array", "map") else self._record
            return walk(schema, at, path, namespace, depth)
        return self.read(kind, at, path, namespace, depth + 1)

    def _enum(self, schema: Any, at: int, path: str) -> int:
        index, behind = self._varint(at)
        if not 0 <= index < len(schema["symbols"]):
            raise _FaultError(at, f"an enum of {len(schema['symbols'])} symbols has no symbol {index}")
        return self._keep(path, at, behind, str(schema["symbols"][index]))

    def _fixed(self, schema: Any, at: int, path: str) -> int:
        return self._bytes(at, path, int(schema["size"]), at)

    def _record(self, schema: Any, at: int, path: str, namespace: str, depth: int) -> int:
        namespace = str(schema.get("namespace", namespace))
        self._named[str(schema["name"]).rpartition(".")[2]] = schema
        for one in schema["fields"]:
            name = str(one["name"])
            at = self.read(one["type"], at, f"{path}.{name}" if path else name, namespace, depth + 1)
        return at

    def _blocks(self, schema: Any, at: int, path: str, namespace: str, depth: int) -> int:
        number = 0
        while True:
            count, behind = self._varint(at)
            if count == 0:
                if number == 0:
                    self._keep(path, at, behind, "empty")
                return behind
            at = behind
            if count < 0:
                _, at = self._varint(at)
                count = -count
            for _ in range(count):
                before = at
                name = str(number)
                if schema["type"] == "map":
                    size, at = self._size(at)
                    name, at = self._data[at : at + size].decode("utf-8", "backslashreplace"), at + size
                key = "items" if schema["type"] == "array" else "values"
                at = self.read(schema[key], at, f"{path}[{name}]", namespace, depth + 1)
                if at == before:
                    raise _FaultError(at, "an array of nothing")
                number += 1

    def _named_or_primitive(self, name: str, at: int, path: str, namespace: str, depth: int) -> int:
        if name in _PRIMITIVES:
            return self._primitive(name, at, path)
        return self.read(self._named[name.rpartition(".")[2]], at, path, namespace, depth + 1)

    def _primitive(self, name: str, at: int, path: str) -> int:
        value: Value = None
        behind = at
        if name == "boolean":
            if at >= len(self._data) or self._data[at] > 1:
                raise _FaultError(at, "not a boolean")
            value, behind = self._data[at] == 1, at + 1
        elif name in ("int", "long"):
            value, behind = self._varint(at)
        elif name in _WIDTHS:
            form, width = _WIDTHS[name]
            if at + width > len(self._data):
                raise _FaultError(at, f"{width} bytes are due, {len(self._data) - at} are left")
            value, behind = struct.unpack_from(form, self._data, at)[0], at + width
        elif name == "bytes":
            size, behind = self._size(at)
            return self._bytes(behind, path, size, at)
        elif name == "string":
            return self._string(at, path)
        return self._keep(path, at, behind, value)

    def _string(self, at: int, path: str) -> int:
        size, begin = self._size(at)
        raw = self._data[begin : begin + size]
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise _FaultError(begin + error.start, "the text is not UTF-8") from None
        return self._keep(path, at, begin + size, text)

    def _bytes(self, begin: int, path: str, size: int, at: int) -> int:
        if size < 0 or begin + size > len(self._data):
            raise _FaultError(at, f"{size} bytes are due, {len(self._data) - begin} are left")
        return self._keep(path, at, begin + size, "0x" + self._data[begin : begin + size].hex())

    def _size(self, at: int) -> tuple[int, int]:
        size, behind = self._varint(at)
        left = len(self._data) - behind
        if not 0 <= size <= left:
            raise _FaultError(at, f"a text says it is {size} bytes long, {left} are left")
        return size, behind

    def _varint(self, at: int) -> tuple[int, int]:
        raw = shift = 0
        position = at
        while shift < _LONG_BITS:
            if position >= len(self._data):
                raise _FaultError(position, "the bytes end inside a number")
            byte = self._data[position]
            position += 1
            raw |= (byte & 0x7F) << shift
            if byte < 0x80:
                if raw >> _LONG_BITS:
                    break
                return raw >> 1 ^ -(raw & 1), position
            shift += 7
        raise _FaultError(at, "a number is longer than 64 bits")

    def _keep(self, path: str, start: int, end: int, value: Value) -> int:
        if len(self._fields) >= _MOST_FIELDS:
            raise _FaultError(start, f"more than {_MOST_FIELDS} values: the rest is not shown")
        self._fields.append(Field(path, start, end, value))
        return end


def _judge(found: Dissection, timestamp_ms: int | None, bounds: TimeBounds) -> Fault | None:
    """What is wrong with a well-formed reading, by the rules of `schemas.columns_kernel`."""
    # Here: it needs the compiler, and messages of other kinds do not.
    from schemas.columns_kernel import LARGEST_VALUE, LATEST_TIMESTAMP_MS, MAX_ID_BYTES  # noqa: PLC0415

    by_path = {one.path: one for one in found.fields}
    for path, reason in (
        ("device_id", DeadLetterReason.BAD_DEVICE_ID),
        ("metric", DeadLetterReason.BAD_METRIC),
    ):
        one = by_path.get(path)
        text = str(one.value) if one else ""
        if one and (not text or len(text.encode()) > MAX_ID_BYTES or "\0" in text):
            return Fault(one.start, path, f"{path} {_id_problem(text)}", reason)
    value, time = by_path.get("value"), by_path.get("time")
    number = value.value if value else 0.0
    if value and isinstance(number, float | int) and not abs(number) <= LARGEST_VALUE:
        what = f"value is {_number_text(float(number))}"
        return Fault(value.start, "value", what, DeadLetterReason.NON_FINITE_VALUE)
    if time and isinstance(time.value, int):
        latest = LATEST_TIMESTAMP_MS if timestamp_ms is None else min(timestamp_ms, LATEST_TIMESTAMP_MS)
        if time.value < bounds.earliest_us:
            return Fault(time.start, "time", "time is before 1970", DeadLetterReason.TIME_OUT_OF_BOUNDS)
        if time.value > latest * 1000 + bounds.max_ahead_us:
            ahead = (time.value / 1e6 - latest / 1e3) / 3600
            what = f"time is {ahead:.1f} h ahead of the message's own timestamp"
            return Fault(time.start, "time", what, DeadLetterReason.TIME_OUT_OF_BOUNDS)
    return None


def _id_problem(text: str) -> str:
    if not text:
        return "is empty"
    return "has a NUL in it" if "\0" in text else "is longer than 255 bytes"


def _number_text(number: float) -> str:
    return "NaN" if math.isnan(number) else f"{number:g}, beyond 1e150"
