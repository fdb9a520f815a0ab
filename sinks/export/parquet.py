"""Rows as Parquet: typed columns, texts by dictionary, packed with zstd."""

from collections.abc import Sequence
from typing import IO, Any
from uuid import UUID

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from sinks.export.text import Row

_GROUP_ROWS = 262_144
"""Rows of a row group: what is held in memory, some 30 MB, and what a reader can pass over."""

_TIME = pa.timestamp("us", tz="UTC")
_NAME = pa.dictionary(pa.int32(), pa.string())
_TYPES = {
    **dict.fromkeys(("time", "opened_at", "cleared_at", "detected_at"), _TIME),
    **dict.fromkeys(("value", "expected", "score", "mean", "std", "lower", "upper"), pa.float64()),
    **dict.fromkeys(("anomaly_id", "storm_id", "reason"), pa.string()),
    "readings": pa.int64(),
}


class ParquetRows:
    """Writes rows to a binary stream, which needs no seeking. Close it, or the file has no end.

    Args:
        columns: names; times, numbers and texts are known by them.
        stream: where to.
        sorted_by: leading columns that the rows come sorted by, for readers.
    """

    def __init__(self, columns: Sequence[str], stream: IO[bytes], sorted_by: Sequence[str] = ()) -> None:
        self._schema = pa.schema([(name, _TYPES.get(name, _NAME)) for name in columns])
        order = [pq.SortingColumn(columns.index(name)) for name in sorted_by]
        self._writer = pq.ParquetWriter(
            stream, self._schema, compression="zstd", sorting_columns=order or None, version="2.6"
        )
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows; a row group is written when it is full."""
        columns = zip(*rows, strict=True)
        arrays = [
            pa.array(_plain(column), field.type) for column, field in zip(columns, self._schema, strict=True)
        ]
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows += len(rows)
        if self._rows >= _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the file's end."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting).unify_dictionaries().combine_chunks()
            self._writer.write_table(table, row_group_size=_GROUP_ROWS)
            self._waiting.clear()
            self._rows = 0


def _plain(column: Sequence[Any]) -> Sequence[Any]:
    """A column as pyarrow takes it: UUIDs as text."""
    if any(isinstance(value, UUID) for value in column):
        return [None if value is None else str(value) for value in column]
    return column
