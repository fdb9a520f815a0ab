"""Avro object container files as rows: one record each."""

from collections.abc import Iterator
from typing import Any

import fastavro

from producers.replay.files import SourceFile
from producers.replay.json_table import leaves
from producers.replay.rows import BadRow, Row, SampledRows
from schemas.errors import InputError

_EPOCHS = {
    "timestamp-millis": "epoch_ms",
    "timestamp-micros": "epoch_us",
    "timestamp-nanos": "epoch_ns",
}


class AvroTable:
    """An Avro container file as a `Table`; places are numbers of records, from 1.

    Timestamps are read as the integers they are, so that one out of the range of dates spoils one record only.

    Raises:
        InputError: it is no container file of records.
    """

    place_unit = "record"
    typed = True

    def __init__(self, source: SourceFile) -> None:
        self._path = source.path
        try:
            self._blocks = fastavro.block_reader(source.stream)
            self.writer_schema: Any = self._blocks.writer_schema
            self.time_formats: dict[str, str] = {}
            self._schema = fastavro.parse_schema(_without_epochs(self.writer_schema, "", self.time_formats))
        except Exception as error:  # fastavro raises whatever the bytes make its code raise
            raise InputError(f"{source.path} is not a readable Avro container file: {error}") from error
        if not isinstance(self.writer_schema, dict) or self.writer_schema.get("type") != "record":
            raise InputError(f"{source.path}: its Avro schema is not a record")
        self._sampled = SampledRows(self._rows())
        declared = (field["name"] for field in self.writer_schema["fields"])
        found = (path for row in self.sample() for path in leaves(row.cells))
        self.columns = list(dict.fromkeys(found)) or list(declared)

    def sample(self) -> list[Row]:
        """As `Table.sample`."""
        return self._sampled.sample()

    def rows(self) -> Iterator[Row | BadRow]:
        """As `Table.rows`."""
        return self._sampled.rows()

    def _rows(self) -> Iterator[Row | BadRow]:
        done = 0
        blocks = iter(self._blocks)
        while True:
            try:
                block = next(blocks, None)
            except Exception as error:
                raise InputError(
                    f"{self._path}, record {done + 1}: the file is damaged from here on: {error}"
                ) from error
            if block is None:
                return
            body: Any = block.bytes_  # type: ignore[attr-defined]
            for number in range(block.num_records):
                try:
                    cells = fastavro.schemaless_reader(body, self._schema, None)
                except Exception as error:  # noqa: BLE001 - whatever the bytes provoke
                    rest = block.num_records - number
                    yield BadRow(
                        done + number + 1,
                        "",
                        f"cannot be decoded, nor can the rest of its block ({rest} records): {error}",
                    )
                    break
                assert isinstance(cells, dict)
                yield Row(done + number + 1, cells)
            done += block.num_records


def _without_epochs(schema: Any, path: str, epochs: dict[str, str]) -> Any:
    """The schema with its timestamps as plain integers; `epochs` gets the format of each, by path."""
    if isinstance(schema, list):
        return [_without_epochs(branch, path, epochs) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("logicalType") in _EPOCHS:
        epochs[path] = _EPOCHS[schema["logicalType"]]
        return schema["type"]
    plain = {name: part for name, part in schema.items() if not name.startswith("__")}
    if schema.get("type") == "record":
        prefix = f"{path}." if path else ""
        plain["fields"] = [
            {**field, "type": _without_epochs(field["type"], prefix + field["name"], epochs)}
            for field in schema["fields"]
        ]
    elif isinstance(schema.get("type"), dict | list):
        plain["type"] = _without_epochs(schema["type"], path, epochs)
    return plain
