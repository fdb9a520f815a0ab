"""What all file formats have in common: rows with cells, and rows that are not usable."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from itertools import chain, islice
from typing import Protocol

from producers.times import kind_of

MAX_ID_BYTES = 255


class Missing(Enum):
    """The one value of a cell that a row does not have."""

    MISSING = "missing"


MISSING = Missing.MISSING


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `place` is its line in the file (its number in an Avro container), `cells` what the format gives."""

    place: int
    cells: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row, or a cell of it, that is not usable; `column` is "" where it is the row as a whole."""

    place: int
    column: str
    reason: str

    def text(self, unit: str) -> str:
        """For people: `line 17, column value: 'abc' is not a number`."""
        column = f", column {self.column}" if self.column else ""
        return f"{unit} {self.place}{column}: {self.reason}"


SAMPLE_ROWS = 100
"""Rows that guesses about columns are made from."""


class Table(Protocol):
    """A file that is being read, row by row, in constant memory."""

    place_unit: str
    """What places count: line or record."""
    typed: bool
    """Whether numbers and texts differ (JSON, Avro), or all cells are text (CSV)."""

    @property
    def time_formats(self) -> Mapping[str, str]:
        """Columns whose form of time the file itself says: column -> `TimeParser` format."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the file's order; where rows differ, of those among the first rows."""

    def sample(self) -> list[Row]:
        """The first rows; they come again from `rows`."""

    def rows(self) -> Iterator[Row | BadRow]:
        """All rows, once.

        Raises:
            InputError: the file is damaged from here on.
        """


class SampledRows:
    """Rows whose first `SAMPLE_ROWS` are read ahead: the sample, which comes again from `rows`."""

    def __init__(self, source: Iterator[Row | BadRow]) -> None:
        self._source = source
        self._ahead = list(islice(source, SAMPLE_ROWS))

    def sample(self) -> list[Row]:
        """As `Table.sample`."""
        return [row for row in self._ahead if isinstance(row, Row)]

    def rows(self) -> Iterator[Row | BadRow]:
        """As `Table.rows`."""
        ahead, self._ahead = self._ahead, []
        return chain(ahead, self._source)


def cell_at(cells: Mapping[str, object], path: str) -> object:
    """The cell of a column: its name as it is, or else a path into nested objects (`location.name`)."""
    cell = cells.get(path, MISSING)
    if cell is not MISSING or "." not in path:
        return cell
    inner: object = cells
    for name in path.split("."):
        if not isinstance(inner, Mapping):
            return MISSING
        inner = inner.get(name, MISSING)
    return inner


def is_empty(cell: object) -> bool:
    """Whether there is nothing in a cell: missing, null, or blank."""
    return cell is MISSING or cell is None or (isinstance(cell, str) and not cell.strip())


_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


def number_reader(typed: bool, decimal: str = ".") -> Callable[[object], float]:
    """The function that reads a value's cell; it raises ValueError with the reason."""

    def from_text(cell: object) -> float:
        text = str(cell).strip()
        if decimal != ".":
            text = text.replace(".", "\0").replace(decimal, ".")
        if not _DECIMAL.fullmatch(text):
            if is_empty(cell):
                raise ValueError("the value is missing")
            if _NOT_FINITE.fullmatch(text):
                raise ValueError(f"{text} is not a finite number")
            raise ValueError(f"{_short(str(cell))} is not a number")
        return _finite(float(text))

    def from_typed(cell: object) -> float:
        if is_empty(cell) and not isinstance(cell, str):
            raise ValueError("the value is missing" if cell is MISSING else "the value is null")
        if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
            shown = f" ({_short(cell)})" if isinstance(cell, str) else ""
            raise ValueError(f"the value is {kind_of(cell)}{shown}, not a number")  # noqa: TRY004 - as all bad cells
        try:
            return _finite(float(cell))
        except OverflowError as error:
            raise ValueError("the value is too large for a 64-bit float") from error

    return from_typed if typed else from_text


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return number


def read_id(cell: object, what: str) -> str:
    """A device id, metric or fault of a cell: text, or a whole number.

    Raises:
        ValueError: it is none; the message is the reason.
    """
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell)
    if is_empty(cell):
        raise ValueError(f"the {what} is missing")
    if not isinstance(cell, str):
        raise ValueError(f"the {what} is {kind_of(cell)}, not a text")  # noqa: TRY004 - as above
    text = cell.strip()
    if "\0" in text:
        raise ValueError(f"the {what} has a NUL in it")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"the {what} is not valid Unicode") from error
    if size > MAX_ID_BYTES:
        raise ValueError(f"the {what} is longer than {MAX_ID_BYTES} bytes")
    return text


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
