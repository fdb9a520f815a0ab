"""Replaying a file of readings: CSV, JSON lines or Avro, row by row to the readings' topic."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from rich.console import Console

from producers.batches import ReadingBatch, SeriesTable
from producers.clock import MAX_SPEED, Clock, Pace
from producers.encode import ReadingCodec
from producers.options import ReplayOptions, default_device
from producers.progress import progress_bar
from producers.publish import Outlet, PartitionCounts, ReadingPublisher
from producers.replay.avro_table import AvroTable
from producers.replay.columns import ColumnPlan, plan_columns
from producers.replay.convert import RowConverter
from producers.replay.csv_table import CsvTable
from producers.replay.files import SourceFile, guess_format
from producers.replay.json_table import JsonTable
from producers.replay.rows import BadRow, Row, Table
from producers.times import TimeParser
from schemas.dead_letters import TimeBounds
from schemas.errors import ConfigError, InputError
from schemas.readings import Reading

# Readings that are encoded and sent at once; a paced replay sends sooner, when the next one is not due yet.
_PIECE_READINGS = 5_000
_PROGRESS_ROWS = 1_000
_SHOWN_ERRORS = 5


@dataclass(slots=True)
class ReplaySummary:
    """What a replay did.

    Attributes:
        rows: rows of the file that gave readings; messages, where it was a recorded topic.
        produced: readings (messages) that the broker acknowledged.
        by_partition: the same, by partition.
        skipped: bad rows, or bad cells of wide files, with `on_error` skip.
        first_errors: what was wrong with the first of them.
        notes: what was guessed, and what could not be brought back as it was; for people.
        first_us, last_us: earliest and latest event time published (timestamps, for a recorded topic).
        seconds: real time it took.
        stopped: whether it ended before the file did, on request.
    """

    rows: int = 0
    produced: int = 0
    by_partition: PartitionCounts = field(default_factory=dict)
    skipped: int = 0
    first_errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    first_us: int | None = None
    last_us: int | None = None
    seconds: float = 0.0
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class OpenedTable:
    """A file ready to be read: its rows, and what its columns are."""

    table: Table
    plan: ColumnPlan
    time_format: str | None
    notes: tuple[str, ...]


def open_table(source: SourceFile, options: ReplayOptions) -> OpenedTable:
    """See what is in a file.

    Raises:
        InputError: the file is not usable.
        ConfigError: the options do not fit it.
    """
    notes = []
    form = options.format or guess_format(source)
    table: Table
    if form == "csv":
        table = csv = CsvTable(source, _delimiter(options.delimiter), header=not options.no_header)
        if options.delimiter is None and csv.delimiter != ",":
            notes.append(f"delimiter: {csv.delimiter!r}")
    elif form == "jsonl":
        table = JsonTable(source)
    elif form == "avro":
        table = AvroTable(source)
    else:
        raise ConfigError(f"format {form!r}", "Give csv, jsonl or avro.")
    plan = plan_columns(options, table, default_device(source.path))
    time_format = options.time_format or table.time_formats.get(str(plan.time))
    return OpenedTable(table, plan, time_format, (*notes, *plan.guessed))


def file_readings(
    path: Path, options: ReplayOptions, now_us: int, bounds: TimeBounds | None = None
) -> Iterator[Reading | BadRow]:
    """What a replay of `path` would publish, without a broker; bad rows in their places.

    Raises:
        InputError: the file is not usable, or damaged.
        ConfigError: the options do not fit it.
    """
    series = SeriesTable()
    with SourceFile(path) as source:
        opened = open_table(source, options)
        converter = _converter(opened, options, series, bounds or TimeBounds())
        for row in opened.table.rows():
            if isinstance(row, BadRow):
                yield row
                continue
            converted = converter.convert(row, now_us)
            for number, value, fault in converted.readings:
                kind = None if fault < 0 else series.faults[fault]
                names = series.device_ids[number], series.metrics[number]
                yield Reading(*names, converted.time, value, kind)
            yield from converted.bad


def replay_readings(
    path: Path,
    options: ReplayOptions,
    publisher: Outlet,
    codec: ReadingCodec,
    clock: Clock,
    *,
    topic: str,
    bounds: TimeBounds,
    stop: Event,
    console: Console | None = None,
) -> ReplaySummary:
    """Publish a file's readings, in the file's order, each to the partition of its key.

    Blocks until all is acknowledged. `stop` ends it early, likewise with everything sent acknowledged.

    Raises:
        InputError: a bad row with `on_error` stop, or a damaged file; what came before is acknowledged, and the
            message says how many readings that were.
        ConfigError: the options do not fit the file; nothing was sent.
        PublishError: the broker refused a message for good.
    """
    began = clock.monotonic()
    span = _time_span(path, options, stop, console) if options.shift_to_now else None
    with SourceFile(path) as source:
        opened = open_table(source, options)
        run = _Run(path, options, opened, publisher, codec, clock, topic, bounds, stop)
        if span is not None:
            run.shift(*span)
        with progress_bar(console, path.name, source.size or None, in_bytes=True) as bar:
            rows = opened.table.rows()
            for count in itertools.count():
                try:
                    row = next(rows, None)
                except InputError as error:
                    raise run.failed(error.message, error.remedy) from error
                if row is None:
                    break
                if stop.is_set():
                    run.summary.stopped = True
                    break
                if count % _PROGRESS_ROWS == 0:
                    bar(source.position(), f"{run.summary.rows:,} rows")
                run.take(row)
            run.finish()
    run.summary.seconds = clock.monotonic() - began
    return run.summary


class _Run:
    """The state of one replay."""

    def __init__(
        self,
        path: Path,
        options: ReplayOptions,
        opened: OpenedTable,
        publisher: Outlet,
        codec: ReadingCodec,
        clock: Clock,
        topic: str,
        bounds: TimeBounds,
        stop: Event,
    ) -> None:
        self.summary = ReplaySummary(notes=list(opened.notes))
        self._path = path
        self._options = options
        self._unit = opened.table.place_unit
        self._clock = clock
        self._stop = stop
        self._series = SeriesTable()
        self._converter = _converter(opened, options, self._series, bounds)
        self._readings = ReadingPublisher(publisher, codec, topic, self._series)
        self._shift_us = 0
        self._pace: Pace | None = None
        self._columns: tuple[list[int], list[int], list[float], list[int]] = ([], [], [], [])

    def shift(self, first_us: int, last_us: int) -> None:
        """Move times so that the last reading's is the moment at which it will be sent."""
        lasts_us = 0 if self._options.speed == MAX_SPEED else int((last_us - first_us) / self._options.speed)
        self._shift_us = self._clock.now_us() + lasts_us - last_us
        moved = datetime.fromtimestamp((last_us + self._shift_us) // 1_000_000, UTC)
        self.summary.notes.append(f"times: moved so that the last is {moved:%Y-%m-%d %H:%M:%S} UTC")

    def take(self, row: Row | BadRow) -> None:
        """Publish a row's readings, when they are due."""
        if isinstance(row, BadRow):
            self._refuse([row])
            return
        converted = self._converter.convert(row, self._clock.now_us(), self._shift_us)
        if converted.bad:
            self._refuse(converted.bad)
        if not converted.readings:
            return
        self._wait_for(converted.time)
        if self._stop.is_set():
            self.summary.stopped = True
            return
        summary, time = self.summary, converted.time
        summary.rows += 1
        summary.first_us = time if summary.first_us is None else min(summary.first_us, time)
        summary.last_us = time if summary.last_us is None else max(summary.last_us, time)
        series, times, values, faults = self._columns
        for number, value, fault in converted.readings:
            series.append(number)
            times.append(time)
            values.append(value)
            faults.append(fault)
        if len(series) >= _PIECE_READINGS:
            self._publish()

    def finish(self) -> None:
        """Publish what is left, wait for all acknowledgements, and count them."""
        self._publish()
        self._readings.flush()
        self.summary.produced = self._readings.delivery.total()
        self.summary.by_partition = self._readings.delivery.by_partition()
        if self._converter.times_found:
            self.summary.notes.append(f"times: {self._converter.times_found}")

    def failed(self, message: str, remedy: str) -> InputError:
        """The error to end with, once everything before it is acknowledged."""
        self.finish()
        count = self.summary.produced
        return InputError(f"{message}; the {count} readings before it are published and acknowledged", remedy)

    def _wait_for(self, time_us: int) -> None:
        if self._options.speed == MAX_SPEED:
            return
        if self._pace is None:
            self._pace = Pace(time_us, self._options.speed, self._clock)
        delay = self._pace.seconds_until(time_us)
        if delay > 0.0:
            self._publish()
            self._clock.wait(delay, self._stop)

    def _publish(self) -> None:
        if self._columns[0]:
            self._readings.publish(ReadingBatch.of(*self._columns), self._clock.now_us())
            self._columns = ([], [], [], [])

    def _refuse(self, bad: list[BadRow]) -> None:
        if self._options.on_error == "stop":
            raise self.failed(
                f"{self._path}, {bad[0].text(self._unit)}",
                "Correct the row, or leave bad rows out with --on-error skip.",
            )
        self.summary.skipped += len(bad)
        room = max(0, _SHOWN_ERRORS - len(self.summary.first_errors))
        self.summary.first_errors += [row.text(self._unit) for row in bad[:room]]


def _converter(
    opened: OpenedTable, options: ReplayOptions, series: SeriesTable, bounds: TimeBounds
) -> RowConverter:
    times = TimeParser(opened.time_format, options.timezone)
    return RowConverter(opened.plan, times, series, bounds, typed=opened.table.typed, decimal=options.decimal)


def _time_span(
    path: Path, options: ReplayOptions, stop: Event, console: Console | None
) -> tuple[int, int] | None:
    """Time of the first row and latest time of a file; None where it has no usable row."""
    first = last = None
    with SourceFile(path) as source:
        opened = open_table(source, options)
        converter = _converter(opened, options, SeriesTable(), TimeBounds())
        with progress_bar(console, f"{path.name}: times", source.size or None, in_bytes=True) as bar:
            for count, row in enumerate(opened.table.rows()):
                if stop.is_set():
                    break
                if count % _PROGRESS_ROWS == 0:
                    bar(source.position())
                time = None if isinstance(row, BadRow) else converter.time(row)
                if time is None:
                    if options.on_error == "stop":
                        break
                    continue
                first = time if first is None else first
                last = time if last is None else max(last, time)
    return None if first is None or last is None else (first, last)


def _delimiter(given: str | None) -> str | None:
    if given is None:
        return None
    delimiter = "\t" if given.lower() in ("\\t", "tab") else given
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ConfigError(f"delimiter {given!r}", "Give one character; tab is written \\t.")
    return delimiter
