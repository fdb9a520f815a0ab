"""Recorded topics: Kafka messages in an Avro container file, with everything that a replay needs.

One record a message: topic, partition, offset, timestamp and its type, key, value, headers; any Avro tool shows
them. Each block is whole in itself, so a file that ends early can be read up to there.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Any

import fastavro
from fastavro.write import Writer

from schemas.errors import InputError

RECORDING_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "RecordedMessage",
    "namespace": "sigmawatch",
    "doc": "A Kafka message as it was read from a topic.",
    "fields": [
        {"name": "topic", "type": "string"},
        {"name": "partition", "type": "int"},
        {"name": "offset", "type": "long"},
        {"name": "timestamp_ms", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {
            "name": "timestamp_type",
            "type": {
                "type": "enum",
                "name": "TimestampType",
                "symbols": ["NOT_AVAILABLE", "CREATE_TIME", "LOG_APPEND_TIME"],
            },
        },
        {"name": "key", "type": ["null", "bytes"]},
        {"name": "value", "type": ["null", "bytes"]},
        {
            "name": "headers",
            "doc": "In their order; a name may come more than once.",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Header",
                    "fields": [
                        {"name": "name", "type": "string"},
                        {"name": "value", "type": ["null", "bytes"]},
                    ],
                },
            },
        },
    ],
}
RECORDING_NAME = "sigmawatch.RecordedMessage"

_PARTITIONS = "sigmawatch.partitions"
# Large enough to deflate well, small enough that a reader holds little.
_BLOCK_BYTES = 256_000

Header = tuple[str, bytes | None]


class TimestampType(StrEnum):
    """Who set a message's timestamp; the members' order is that of Kafka's numbers for it."""

    NOT_AVAILABLE = "NOT_AVAILABLE"
    CREATE_TIME = "CREATE_TIME"
    LOG_APPEND_TIME = "LOG_APPEND_TIME"


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """A message as it lay in its topic; null and empty are told apart in key, value and headers."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    timestamp_type: TimestampType
    key: bytes | None
    value: bytes | None
    headers: list[Header] = field(default_factory=list)


class RecordingWriter:
    """Writes messages into an open binary file; call `flush` at the end.

    Args:
        file: Where to.
        partitions: How many partitions each recorded topic has.
    """

    def __init__(self, file: IO[bytes], partitions: dict[str, int]) -> None:
        self._writer = Writer(
            file,
            fastavro.parse_schema(RECORDING_SCHEMA),
            codec="deflate",
            sync_interval=_BLOCK_BYTES,
            metadata={_PARTITIONS: json.dumps(partitions)},
        )

    def write(self, message: RecordedMessage) -> None:
        """Append a message; it may stay in memory until the block is full.

        Raises:
            OSError: the file cannot be written.
        """
        self._writer.write(
            {
                "topic": message.topic,
                "partition": message.partition,
                "offset": message.offset,
                "timestamp_ms": message.timestamp_ms,
                "timestamp_type": message.timestamp_type.value,
                "key": message.key,
                "value": message.value,
                "headers": [{"name": name, "value": value} for name, value in message.headers],
            }
        )

    def flush(self) -> None:
        """Write out what is in memory.

        Raises:
            OSError: the file cannot be written.
        """
        self._writer.flush()


class RecordingReader:
    """Reads the messages of an open recording, once, in constant memory.

    Args:
        file: The recording, at its start.
        name: What errors call it.

    Attributes:
        partitions: how many partitions each recorded topic has; without those a foreign writer did not say.

    Raises:
        InputError: it is no recording.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._name = name
        try:
            self._blocks = fastavro.block_reader(file)
            written: Any = self._blocks.writer_schema
            self._written = fastavro.parse_schema(_without_logical_types(written))
            self._wanted = fastavro.parse_schema(_without_logical_types(RECORDING_SCHEMA))
            partitions: Any = json.loads(self._blocks.metadata.get(_PARTITIONS, "{}"))
            self.partitions: dict[str, int] = {str(topic): int(count) for topic, count in partitions.items()}
        except Exception as error:  # fastavro raises whatever the bytes make its code raise
            raise InputError(f"{name} is not a readable Avro container file: {error}") from error
        if written.get("name") != RECORDING_NAME:
            raise InputError(f"{name} is not a recorded topic, but records of {written.get('name')}")

    def __iter__(self) -> Iterator[RecordedMessage]:
        """The messages in the order in which they were recorded.

        Raises:
            InputError: the file is damaged; names the record.
        """
        number = 1
        try:
            for block in self._blocks:
                body: Any = block.bytes_  # type: ignore[attr-defined]
                for _ in range(block.num_records):
                    yield _message(fastavro.schemaless_reader(body, self._written, self._wanted))
                    number += 1
        except GeneratorExit:
            raise
        except Exception as error:
            raise InputError(
                f"{self._name}, record {number}: the recording is damaged from here on: {error}"
            ) from error


def is_recording(file: IO[bytes]) -> bool:
    """Whether an open file begins as a recording does; reads its header away."""
    try:
        schema: Any = fastavro.block_reader(file).writer_schema
    except Exception:  # noqa: BLE001 - whatever it is, it is no recording
        return False
    return isinstance(schema, dict) and schema.get("name") == RECORDING_NAME


def _message(fields: Any) -> RecordedMessage:
    headers = [(header["name"], header["value"]) for header in fields.pop("headers")]
    return RecordedMessage(
        timestamp_type=TimestampType(fields.pop("timestamp_type")), headers=headers, **fields
    )


def _without_logical_types(schema: Any) -> Any:
    """Timestamps as the integers they are: any 64-bit number comes back, in the range of dates or not."""
    if isinstance(schema, list):
        return [_without_logical_types(part) for part in schema]
    if isinstance(schema, dict):
        return {
            name: _without_logical_types(part)
            for name, part in schema.items()
            if name != "logicalType" and not name.startswith("__")
        }
    return schema
