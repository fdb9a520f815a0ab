"""Rows from the database's cursor into a file's encoder."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Any

import psycopg

from sinks.export.labels import Labeller, episodes_query
from sinks.export.parquet import ParquetRows
from sinks.export.text import CsvReadings, CsvRows, Encoder, JsonReadings, JsonRows, Row
from sinks.queries.query import Query
from sinks.queries.selection import Selection
from sinks.queries.streaming import (
    ANOMALY_COLUMNS,
    READING_COLUMNS,
    anomalies_stream_query,
    estimated_rows,
    readings_stream_query,
    stream,
)

LABEL_COLUMNS = ("anomaly_id", "anomaly_kind")


class Format(StrEnum):
    """What a file is made of."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class What(StrEnum):
    """Which rows."""

    READINGS = "readings"
    ANOMALIES = "anomalies"


@dataclass(frozen=True, slots=True)
class Export:
    """What is exported.

    Attributes:
        selection: which rows.
        what: readings or anomalies.
        form: of the file.
        labelled: whether readings have `LABEL_COLUMNS` behind.
    """

    selection: Selection
    what: What = What.READINGS
    form: Format = Format.CSV
    labelled: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        if self.what is What.ANOMALIES:
            return ANOMALY_COLUMNS
        return READING_COLUMNS + (LABEL_COLUMNS if self.labelled else ())

    @property
    def query(self) -> Query:
        """The rows, readings by device, metric and time, anomalies by opening."""
        if self.what is What.ANOMALIES:
            return anomalies_stream_query(self.selection)
        return readings_stream_query(self.selection, "series")


def about(connection: psycopg.Connection, export: Export) -> int:
    """About how many rows it has, for a progress bar."""
    return estimated_rows(connection, export.query)


def write_export(
    connection: psycopg.Connection,
    export: Export,
    target: IO[bytes],
    tell: Callable[[int], None] = lambda _rows: None,
    is_over: Callable[[], bool] = lambda: False,
) -> int:
    """Write an export; gives the number of rows. Blocks; all rows are of one moment.

    Args:
        connection: without a limit on its statements (`sinks.queries.connection.reader`).
        export: what.
        target: takes the bytes.
        tell: hears how many rows so far.
        is_over: asked after each block whether to end early.

    Raises:
        psycopg.Error: the database went away.
    """
    rows = 0
    with ExitStack() as stack:
        blocks = stack.enter_context(closing(_blocks(connection, export)))
        if export.form is Format.PARQUET:
            sorted_by = ("device_id", "metric", "time") if export.what is What.READINGS else ()
            parquet = ParquetRows(export.columns, target, sorted_by)
            write: Callable[[Sequence[Row]], Any] = parquet.write
            stack.callback(parquet.close)
        else:
            encoder = _encoder(export)
            target.write(encoder.head())
            write = _writes(encoder, target)
        for block in blocks:
            write(block)
            rows += len(block)
            tell(rows)
            if is_over():
                break
    return rows


def _writes(encoder: Encoder, target: IO[bytes]) -> Callable[[Sequence[Row]], Any]:
    return lambda block: target.write(encoder.encode(block))


def _encoder(export: Export) -> Encoder:
    kinds: dict[tuple[What, Format], Callable[[tuple[str, ...]], Encoder]] = {
        (What.READINGS, Format.CSV): CsvReadings,
        (What.READINGS, Format.JSONL): JsonReadings,
        (What.ANOMALIES, Format.CSV): CsvRows,
        (What.ANOMALIES, Format.JSONL): JsonRows,
    }
    return kinds[export.what, export.form](export.columns)


def _blocks(connection: psycopg.Connection, export: Export) -> Generator[Sequence[Row], None, None]:
    if export.what is What.ANOMALIES or not export.labelled:
        yield from stream(connection, export.query)
        return
    # One snapshot for both cursors.
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        labeller = Labeller(_episodes(connection, export.selection))
        for block in stream(connection, export.query):
            labels = labeller.labels(block)
            yield [(*row, *label) for row, label in zip(block, labels, strict=True)]


def _episodes(connection: psycopg.Connection, selection: Selection) -> Iterator[list[tuple[Any, ...]]]:
    query = episodes_query(selection)
    with connection.cursor(name="sigmawatch_episodes", binary=True) as cursor:
        cursor.execute(query.text.encode(), query.parameters)
        while block := cursor.fetchmany(2000):
            yield block
