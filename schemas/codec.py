"""The wire codec: messages to bytes and back, one at a time (`schemas.columns` does many readings at once).

The wire format is Confluent's: a zero byte, the schema's id in four bytes big-endian, the Avro body. Bodies are
read with the schema they were written in and resolved against our newest, so older and newer messages are
read side by side.

Logical types stay what they annotate: a time is an int of µs however far away it is, never a datetime that overflows.
"""

import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro

from schemas.catalogue import Schema, SchemaSource, Subject, layout, packaged_versions
from schemas.dead_letters import DeadLetterReason
from schemas.errors import CodecError
from schemas.readings import Anomaly, AnomalySeverity, AnomalyState, Device, Location, Reading
from schemas.wire_check import Check, body_check

MAGIC = 0
HEADER = struct.Struct(">bI")
"""Magic byte and schema id, in front of every body."""


@dataclass(frozen=True, slots=True)
class _Writer:
    """A schema that messages are written in, prepared."""

    schema_id: int
    name: str
    parsed: Any
    check: Check
    units: Mapping[str, str]
    """Field name -> logical type."""
    like_reading: bool


class Codec:
    """Encodes with the newest schemas of `source`, decodes whatever ids `source` knows.

    Blocks only where `source` does (a registry, at the first message of each schema). Not locked: one thread
    at a time, or one codec a thread.
    """

    def __init__(self, source: SchemaSource) -> None:
        self._source = source
        self._writers: dict[int, _Writer] = {}
        self._own: dict[str, tuple[bytes, Any]] = {}
        self._prefix_ids: frozenset[int] = frozenset()
        self._readers = {
            Subject(entry.subject): _prepare(entry.schema_id, entry.schema) for entry in packaged_versions()
        }

    def encode_reading(self, reading: Reading) -> bytes:
        """A reading as a message value.

        Raises:
            CodecError: a field does not fit (text that is no Unicode, a time beyond 64 bits).
            RegistryError: the registry does not have the schema, or does not answer.
        """
        return self._encode(
            Subject.READING,
            {
                "device_id": reading.device_id,
                "metric": reading.metric,
                "time": reading.time,
                "value": reading.value,
                "fault": reading.fault,
            },
        )

    def encode_device(self, device: Device) -> bytes:
        """A device as a message value; errors as `encode_reading`."""
        return self._encode(Subject.DEVICE, asdict(device))

    def encode_anomaly(self, anomaly: Anomaly) -> bytes:
        """An anomaly as a message value; errors as `encode_reading`."""
        record = {field.name: getattr(anomaly, field.name) for field in fields(anomaly)}
        storm = None if anomaly.storm_id is None else str(anomaly.storm_id)
        return self._encode(
            Subject.ANOMALY, record | {"anomaly_id": str(anomaly.anomaly_id), "storm_id": storm}
        )

    def decode_reading(self, data: bytes | None) -> Reading:
        """A message value as a reading; a non-finite value or an empty id is not judged here.

        Raises:
            CodecError: whatever is wrong with the bytes.
            RegistryUnavailableError: an outage, nothing is wrong with the bytes.
        """
        record = self._decode_as(Subject.READING, data)
        return Reading(
            record["device_id"], record["metric"], record["time"], float(record["value"]), record["fault"]
        )

    def decode_device(self, data: bytes | None) -> Device:
        """A message value as a device; errors as `decode_reading`."""
        record = self._decode_as(Subject.DEVICE, data)
        location = record.pop("location")
        return Device(
            location=None if location is None else Location(**_known(location, Location)),
            **_known(record, Device),
        )

    def decode_anomaly(self, data: bytes | None) -> Anomaly:
        """A message value as an anomaly; errors as `decode_reading`."""
        record = _known(self._decode_as(Subject.ANOMALY, data), Anomaly)
        try:
            record["anomaly_id"] = UUID(record["anomaly_id"])
            record["storm_id"] = None if record["storm_id"] is None else UUID(record["storm_id"])
            record["state"] = AnomalyState(record["state"])
            record["severity"] = AnomalySeverity(record["severity"])
        except ValueError as error:
            raise CodecError(f"no Anomaly: {error}") from error
        return Anomaly(**record)

    def decode(self, data: bytes | None) -> tuple[str, dict[str, Any]]:
        """Any message: (unqualified name of its record, its fields as its own schema has them).

        Times are int µs, UUIDs text. Errors as `decode_reading`.
        """
        writer, value = self._checked(data)
        return writer.name, _read(value, writer, None)

    def reading_prefix_ids(self) -> frozenset[int]:
        """Ids of the schemas met so far, or at hand, whose bodies are byte for byte laid out as reading/1.

        Never blocks: a registry's id is among them once a message of it has been decoded here.
        """
        for schema_id in self._source.known_ids():
            if schema_id not in self._writers:
                try:
                    self._writer(schema_id)
                except CodecError:  # a foreign schema; said when a message comes in it
                    continue
        return self._prefix_ids

    def _encode(self, subject: Subject, record: dict[str, Any]) -> bytes:
        if subject not in self._own:
            schema_id = self._source.id_for(subject)
            self._own[subject] = HEADER.pack(MAGIC, schema_id), self._writer(schema_id).parsed
        header, schema = self._own[subject]
        out = BytesIO(header)
        out.seek(HEADER.size)
        try:
            fastavro.schemaless_writer(out, schema, record)
        except Exception as error:
            raise CodecError(f"cannot write this as {subject}: {error}") from error
        return out.getvalue()

    def _decode_as(self, subject: Subject, data: bytes | None) -> dict[str, Any]:
        writer, value = self._checked(data)
        reader = self._readers[subject]
        if writer.name != reader.name:
            raise CodecError(f"schema {writer.schema_id} is {writer.name}, expected {reader.name}")
        if writer.units != reader.units:
            _require_same_units(writer, reader)
        return _read(value, writer, reader)

    def _checked(self, data: bytes | None) -> tuple[_Writer, bytes]:
        """The schema of a message whose body is well-formed."""
        if data is None:
            raise CodecError("no value", DeadLetterReason.NULL_VALUE)
        if len(data) < HEADER.size:
            raise CodecError(f"{len(data)} bytes", DeadLetterReason.TOO_SHORT)
        magic, schema_id = HEADER.unpack_from(data)
        if magic != MAGIC:
            raise CodecError(f"first byte {data[0]}", DeadLetterReason.BAD_MAGIC)
        writer = self._writers.get(schema_id) or self._writer(schema_id)
        try:
            end = writer.check(data, HEADER.size, 0)
        except Exception as error:
            raise CodecError(f"not a {writer.name} of schema {schema_id}: {error}") from error
        if end != len(data):
            raise CodecError(f"{len(data) - end} bytes too many", DeadLetterReason.TRAILING_BYTES)
        return writer, data

    def _writer(self, schema_id: int) -> _Writer:
        if schema_id not in self._writers:
            writer = _prepare(schema_id, self._source.schema(schema_id))
            self._writers[schema_id] = writer
            if writer.like_reading:
                self._prefix_ids |= {schema_id}
        return self._writers[schema_id]


def _prepare(schema_id: int, schema: Schema) -> _Writer:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise CodecError(f"schema {schema_id} is no Avro record")
    try:
        return _Writer(
            schema_id=schema_id,
            name=str(schema["name"]).rpartition(".")[2],
            parsed=fastavro.parse_schema(_without_logical_types(schema)),
            check=body_check(schema),
            units=_logical_types(schema),
            like_reading=layout(schema) == _READING_LAYOUT
            and _logical_types(schema) == _logical_types(_READING),
        )
    except Exception as error:
        raise CodecError(f"schema {schema_id} is no Avro schema: {error}") from error


def _read(data: bytes, writer: _Writer, reader: _Writer | None) -> dict[str, Any]:
    body = BytesIO(data)
    body.seek(HEADER.size)
    try:
        record = fastavro.schemaless_reader(body, writer.parsed, reader.parsed if reader else None)
    except Exception as error:
        raise CodecError(f"cannot read schema {writer.schema_id} as {writer.name}: {error}") from error
    assert isinstance(record, dict)
    return record


def _known(record: Mapping[str, Any], message: type) -> dict[str, Any]:
    """The fields of a record that the dataclass has."""
    return {field.name: record[field.name] for field in fields(message) if field.name in record}


def _without_logical_types(schema: Any) -> Any:
    """A copy in which a type says only how it is laid out."""
    if isinstance(schema, list):
        return [_without_logical_types(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_logical_types(value) if key in {"type", "fields", "items", "values"} else value
        for key, value in schema.items()
        if key != "logicalType"
    }


def _logical_types(schema: Schema) -> dict[str, str]:
    """Field name -> logical type, where it has one (also inside a union with null)."""
    found = {}
    for field in schema["fields"]:
        branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
        for branch in branches:
            if isinstance(branch, dict) and "logicalType" in branch:
                found[field["name"]] = branch["logicalType"]
    return found


def _require_same_units(writer: _Writer, reader: _Writer) -> None:
    """Refuse what Avro itself would do without a word: read ms as µs."""
    for name, ours in reader.units.items():
        theirs = writer.units.get(name, ours)
        if theirs != ours:
            raise CodecError(f"schema {writer.schema_id}: {name} is {theirs}, expected {ours}")


_READING: Schema = next(
    entry.schema for entry in packaged_versions() if (entry.subject, entry.version) == (Subject.READING, 1)
)
_READING_LAYOUT = layout(_READING)
