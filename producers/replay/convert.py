"""Rows to readings: every cell checked, every fault named by its column."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from producers.batches import SeriesTable
from producers.replay.columns import ColumnPlan, Fixed, Named
from producers.replay.json_table import leaves
from producers.replay.rows import BadRow, Row, cell_at, is_empty, number_reader, read_id
from producers.times import TimeParser
from schemas.dead_letters import TimeBounds


@dataclass(frozen=True, slots=True)
class Converted:
    """What a row gave.

    Attributes:
        time: of all its readings, µs.
        readings: (series, value, fault) of each, numbers of a `SeriesTable`.
        bad: what was wrong. In a wide file a bad cell takes nothing from the row's other cells; anything else
            spoils the whole row.
    """

    time: int
    readings: list[tuple[int, float, int]]
    bad: list[BadRow]


class _CellError(Exception):
    def __init__(self, column: str, reason: object) -> None:
        super().__init__(column, str(reason))
        self.column, self.reason = column, str(reason)


class RowConverter:
    """Turns rows into readings.

    Args:
        plan: Which column is what.
        times: Reads the times; keeps what it learnt of their form.
        series: Gets the series and faults that are met.
        bounds: Which times are believed.
        typed: Whether the file's numbers and texts differ.
        decimal: Decimal mark of text.
    """

    def __init__(
        self,
        plan: ColumnPlan,
        times: TimeParser,
        series: SeriesTable,
        bounds: TimeBounds,
        *,
        typed: bool,
        decimal: str = ".",
    ) -> None:
        self._plan = plan
        self._times = times
        self._series = series
        self._bounds = bounds
        self._read_number = number_reader(typed, decimal)
        self._known: dict[tuple[str, str], int] = {}
        self._not_values = plan.taken
        self._time_column = str(plan.time)

    @property
    def times_found(self) -> str | None:
        """What was guessed of the times' form, for people; None if nothing was."""
        return self._times.found

    def time(self, row: Row) -> int | None:
        """The row's time as the file has it, None if it has no usable one."""
        try:
            return self._time(row)
        except _CellError:
            return None

    def convert(self, row: Row, now_us: int, shift_us: int = 0) -> Converted:
        """The row's readings, their times moved by `shift_us`; `now_us` is what times are judged against."""
        try:
            time = self._time(row) + shift_us
            self._check_bounds(time, now_us)
            device = self._cell(self._plan.device, row)
            if self._plan.metric is not None:
                metric = self._cell(self._plan.metric, row)
                column = self._plan.values[0]
                reading = self._reading(
                    device, metric, str(self._plan.metric), column, cell_at(row.cells, column)
                )
                return Converted(time, [(*reading, self._fault(row))], [])
            fault = self._fault(row)
            self._checked_id(device, str(self._plan.device), "device id")
        except _CellError as error:
            return Converted(0, [], [BadRow(row.place, error.column, error.reason)])
        readings, bad = [], []
        for column in self._wide_columns(row):
            cell = cell_at(row.cells, column)
            if is_empty(cell):
                continue
            try:
                readings.append((*self._reading(device, column, column, column, cell), fault))
            except _CellError as error:
                bad.append(BadRow(row.place, error.column, error.reason))
        return Converted(time, readings, bad)

    def _time(self, row: Row) -> int:
        names = self._plan.time.names
        cell = cell_at(row.cells, names[0])
        if len(names) > 1:
            cell = " ".join(str(cell_at(row.cells, name)) for name in names)
        if is_empty(cell):
            raise _CellError(self._time_column, "the time is missing")
        key = None
        if self._times.needs_keys:
            metric = None if self._plan.metric is None else self._cell(self._plan.metric, row)
            key = f"{self._cell(self._plan.device, row)}\0{metric}"
        try:
            return self._times.parse(cell, key)
        except ValueError as error:
            raise _CellError(self._time_column, error) from error

    def _check_bounds(self, time: int, now_us: int) -> None:
        if time < self._bounds.earliest_us:
            raise _CellError(self._time_column, "the time is before 1970")
        if time > now_us + self._bounds.max_ahead_us:
            hours = self._bounds.max_ahead_us / 3.6e9
            raise _CellError(
                self._time_column,
                f"the time is more than {hours:g} hours in the future (--shift-to-now moves it)",
            )

    def _cell(self, source: Fixed | Named, row: Row) -> object:
        return source.text if isinstance(source, Fixed) else cell_at(row.cells, source.names[0])

    def _reading(
        self, device: object, metric: object, metric_column: str, column: str, cell: object
    ) -> tuple[int, float]:
        try:
            value = self._read_number(cell)
        except ValueError as error:
            raise _CellError(column, error) from error
        names = (device, metric) if isinstance(device, str) and isinstance(metric, str) else None
        series = self._known.get(names) if names else None
        if series is None:
            series = self._series.series(
                self._checked_id(device, str(self._plan.device), "device id"),
                self._checked_id(metric, metric_column, "metric"),
            )
            if names:
                self._known[names] = series
        return series, value

    def _checked_id(self, cell: object, column: str, what: str) -> str:
        try:
            return read_id(cell, what)
        except ValueError as error:
            raise _CellError(column, error) from error

    def _fault(self, row: Row) -> int:
        column = self._plan.fault
        cell = None if column is None else cell_at(row.cells, column)
        if column is None or is_empty(cell):
            return -1
        return self._series.fault(self._checked_id(cell, column, "fault"))

    def _wide_columns(self, row: Row) -> Iterator[str]:
        if self._plan.values:
            yield from self._plan.values
            return
        for path in leaves(row.cells):
            cell = cell_at(row.cells, path)
            if (
                path not in self._not_values
                and isinstance(cell, int | float | Decimal)
                and not isinstance(cell, bool)
            ):
                yield path
