"""Which columns of a file are what: as the options say, otherwise by sensible guesses, which are said."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from producers.options import ReplayOptions
from producers.replay.rows import Table, cell_at, is_empty, number_reader
from schemas.errors import ConfigError

_TIMES = ("timestamp", "time", "ts", "datetime", "date_time", "event_time", "@timestamp", "date")
_DEVICES = (
    "device_id",
    "device",
    "deviceid",
    "sensor_id",
    "sensor",
    "sensorid",
    "station",
    "station_id",
    "host",
)
_METRICS = ("metric", "metric_name", "measurement", "measure", "variable", "parameter", "quantity")
_VALUES = ("value", "val", "reading", "measured_value")
_FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same text for all rows."""

    text: str

    def __str__(self) -> str:
        return f"={self.text}"


@dataclass(frozen=True, slots=True)
class Named:
    """A column; several are joined by a space (date+time)."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return "+".join(self.names)


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """What each column is.

    Attributes:
        device: where the device id is.
        time: where the time is.
        metric: where the metric is; None in wide files, where each value's column is one.
        values: columns of values; one, if the file is not wide. Empty: every numeric field of a row (wide JSON).
        fault: column of the fault's name, if any.
        guessed: what was guessed, for people.
    """

    device: Fixed | Named
    time: Named
    metric: Fixed | Named | None
    values: tuple[str, ...]
    fault: str | None
    guessed: tuple[str, ...]

    @property
    def wide(self) -> bool:
        """Whether each column of values is a metric."""
        return self.metric is None

    @property
    def taken(self) -> set[str]:
        """Columns that are no values."""
        parts = [part.names for part in (self.device, self.time, self.metric) if isinstance(part, Named)]
        return {name for names in parts for name in names} | ({self.fault} if self.fault else set())


def plan_columns(options: ReplayOptions, table: Table, default_device: str) -> ColumnPlan:
    """Find out which column is what.

    Args:
        options: What the user said.
        table: The file's columns and first rows.
        default_device: Device id where no column gives one.

    Raises:
        ConfigError: a column is not in the file, or it is not clear which to take; names the candidates.
    """
    return _Planner(options, table, default_device).plan()


class _Planner:
    def __init__(self, options: ReplayOptions, table: Table, default_device: str) -> None:
        self._options = options
        self._table = table
        self._default_device = default_device
        self._columns = table.columns
        self._lower = {name.lower(): name for name in reversed(table.columns)}
        self._guessed: list[str] = []

    def plan(self) -> ColumnPlan:
        options = self._options
        if options.wide and options.metric is not None:
            raise ConfigError(
                "--wide and --metric together", "In a wide file the columns' names are the metrics."
            )
        time = self._time()
        device = self._named("--device", options.device) or self._guess_device()
        metric = self._named("--metric", options.metric)
        fault = options.fault
        if fault is not None:
            self._check("--fault", fault)
        elif _FAULT in self._columns:
            fault = _FAULT
        taken = {
            *time.names,
            *(device.names if isinstance(device, Named) else ()),
            *([fault] if fault else ()),
        }
        if options.wide or (len(options.value) > 1 and metric is None):
            return ColumnPlan(device, time, None, self._wide_values(taken), fault, tuple(self._guessed))
        if len(options.value) > 1:
            raise ConfigError("several --value columns and a --metric", "Give one --value, or --wide.")
        if metric is None and (found := self._first_of(_METRICS, taken)):
            metric = Named((found,))
            if found != "metric":
                self._say("metric", f"column {found}")
        if isinstance(metric, Named):
            taken |= set(metric.names)
        value = options.value[0] if options.value else self._guess_value(taken)
        self._check("--value", value)
        if metric is None:
            metric = Fixed(value)
            self._say("metric", f"{value!r}, the value column's name")
        return ColumnPlan(device, time, metric, (value,), fault, tuple(self._guessed))

    def _say(self, what: str, taken: str) -> None:
        self._guessed.append(f"{what}: {taken}")

    def _first_of(self, names: tuple[str, ...], taken: set[str]) -> str | None:
        found = (self._lower.get(name) for name in names)
        return next((name for name in found if name is not None and name not in taken), None)

    def _named(self, option: str, given: str | None) -> Fixed | Named | None:
        if given is None:
            return None
        if given.startswith("="):
            if not given[1:]:
                raise ConfigError(f"{option} = without a text behind it")
            return Fixed(given[1:])
        self._check(option, given)
        return Named((given,))

    def _check(self, option: str, name: str) -> None:
        """Refuse a column that the file does not have: no header, or none of the first rows, names it."""
        if name in self._columns:
            return
        if self._table.typed and any(not is_empty(cell_at(row.cells, name)) for row in self._table.sample()):
            return
        near = difflib.get_close_matches(name, self._columns, 1, 0.5)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise ConfigError(f"{option}: there is no column {name!r}", f"{hint}There are: {self._listed()}.")

    def _listed(self) -> str:
        shown = ", ".join(self._columns[:20]) or "none"
        return shown + (f" and {len(self._columns) - 20} more" if len(self._columns) > 20 else "")

    def _time(self) -> Named:
        given = self._options.time
        if given is not None:
            if given not in self._columns and "+" in given:
                names = tuple(name.strip() for name in given.split("+"))
                for name in names:
                    self._check("--time", name)
                return Named(names)
            self._check("--time", given)
            return Named((given,))
        both = tuple(self._lower[name] for name in ("date", "time") if name in self._lower)
        found = self._first_of(_TIMES, set())
        if found is None:
            raise ConfigError(
                f"no column looks like a time; there are: {self._listed()}",
                "Give --time COLUMN (and --no-header if the first line is data).",
            )
        named = Named(both if len(both) == 2 and found.lower() == "time" else (found,))
        if found != "time" or len(named.names) == 2:
            self._say("time", f"column {named}")
        return named

    def _guess_device(self) -> Fixed | Named:
        if found := self._first_of(_DEVICES, set()):
            if found != "device_id":
                self._say("device", f"column {found}")
            return Named((found,))
        self._say("device", f"{self._default_device!r}, the file's name")
        return Fixed(self._default_device)

    def _guess_value(self, taken: set[str]) -> str:
        found = self._first_of(_VALUES, taken)
        if found is None:
            numeric = [name for name in self._columns if name not in taken and self._is_numeric(name)]
            if len(numeric) != 1:
                what = f"several could be: {', '.join(numeric[:20])}" if numeric else f"of {self._listed()}"
                raise ConfigError(
                    f"it is not clear which column is the value; {what}",
                    "Give --value COLUMN, or --wide if each column is a metric.",
                )
            found = numeric[0]
        if found != "value":
            self._say("value", f"column {found}")
        return found

    def _wide_values(self, taken: set[str]) -> tuple[str, ...]:
        if self._options.value:
            for name in self._options.value:
                self._check("--value", name)
            return self._options.value
        if self._table.typed:
            self._say("metrics", "every numeric field")
            return ()
        numeric = [name for name in self._columns if name not in taken and self._is_numeric(name)]
        if not numeric:
            raise ConfigError(f"no column is numeric; there are: {self._listed()}", "Give --value COLUMN.")
        self._say("metrics", f"columns {', '.join(numeric[:20])}" + (", ..." if len(numeric) > 20 else ""))
        rest = [name for name in self._columns if name not in taken and name not in numeric]
        if rest:
            self._say("left out", f"columns {', '.join(rest[:20])}, not numeric in the first rows")
        return tuple(numeric)

    def _is_numeric(self, name: str) -> bool:
        """Whether half the cells of the first rows are numbers: the others are then errors of their rows."""
        read = number_reader(self._table.typed, self._options.decimal)
        cells = [cell_at(row.cells, name) for row in self._table.sample()]
        filled = [cell for cell in cells if not is_empty(cell)]
        return bool(filled) and sum(_reads(read, cell) for cell in filled) * 2 >= len(filled)


def _reads(read: Callable[[object], float], cell: object) -> bool:
    try:
        read(cell)
    except ValueError:
        return False
    return True
