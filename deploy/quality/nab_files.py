"""Folders of series as NAB has them: CSV files `timestamp,value`, and the labelled windows in `windows.json`.

Every mistake is an `InputError` with file, line and remedy; nothing is written before all of it was read.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from producers.times import TimeParser
from schemas.errors import InputError

TIME, VALUE, SCORE = "timestamp", "value", "score"
WINDOWS = "windows.json"

Windows = list[tuple[int, int]]
"""The first and the last row of each, by place."""

_LARGEST = 1e150
"""What a reading may be (`schemas.dead_letters`)."""


@dataclass(frozen=True, slots=True)
class SeriesFile:
    """A series as its file has it.

    Attributes:
        name: its path in the folder, with slashes.
        cells: (timestamp, value) of each row, as they are written.
        times_us: µs since 1970, the timestamps read as UTC.
        values: likewise.
    """

    name: str
    cells: Sequence[tuple[str, str]]
    times_us: Sequence[int]
    values: Sequence[float]


def read_series(folder: Path) -> list[SeriesFile]:
    """All series of a folder, by name.

    Raises:
        InputError: there is none, or a file cannot be read.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder", "Give the folder with the series, in folders or not, as CSV files."
        )
    paths = sorted(folder.rglob("*.csv"))
    if not paths:
        raise InputError(
            f"{folder} has no CSV file", f"Series are files NAME.csv with the columns {TIME},{VALUE}."
        )
    return [_read(path, path.relative_to(folder).as_posix()) for path in paths]


def _read(path: Path, name: str) -> SeriesFile:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _parse(path, name, file)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason}", "Save it as UTF-8.") from error
    except csv.Error as error:
        raise InputError(f"{path} is no CSV: {error}", "Repair or remove it.") from error


def _parse(path: Path, name: str, file: TextIO) -> SeriesFile:
    rows = csv.reader(file)
    places = _places(path, next(rows, None))
    parser, cells, times, values = TimeParser(), [], [], []
    for row in rows:
        if not row:
            continue
        where = f"{path}, line {rows.line_num}"
        if len(row) <= max(places):
            raise InputError(f"{where}: {len(row)} columns", "Each row needs a timestamp and a value.")
        time, value = (row[place] for place in places)
        cells.append((time, value))
        times.append(_time(where, parser, time))
        values.append(_value(where, value))
    if not cells:
        raise InputError(f"{path} has no reading", "Put rows under its header, or remove it.")
    return SeriesFile(name, cells, times, values)


def _places(path: Path, header: list[str] | None) -> tuple[int, int]:
    if not header:
        raise InputError(f"{path} is empty", f"Its first line should be {TIME},{VALUE}.")
    names = [name.strip() for name in header]
    for wanted in (TIME, VALUE):
        if wanted not in names:
            raise InputError(
                f"{path}, line 1: no column {wanted} among {', '.join(names)}",
                f"The first line should be {TIME},{VALUE}.",
            )
    return names.index(TIME), names.index(VALUE)


def _time(where: str, parser: TimeParser, text: str) -> int:
    try:
        return parser.parse(text)
    except ValueError as error:
        raise InputError(f"{where}: {error}", "Write times as 2026-01-31 12:00:00.") from error


def _value(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LARGEST:
        raise InputError(
            f"{where}: the value {text.strip()!r} is not a finite number of at most {_LARGEST:g} in size",
            "Correct the row, or leave it out.",
        )
    return value


def read_windows(folder: Path, series: Sequence[SeriesFile]) -> dict[str, Windows]:
    """The labelled windows of each series; none where the folder has no `windows.json`.

    Raises:
        InputError: the file makes no sense, or does not fit the series.
    """
    path = folder / WINDOWS
    if not path.exists():
        return {}
    try:
        said = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(
            f"{path} is no JSON: {error}", "Repair it, or remove it to do without a score."
        ) from error
    if not isinstance(said, Mapping):
        raise InputError(f"{path} is no object", 'Write {"folder/series.csv": [["FIRST", "LAST"]]}.')
    by_name = {one.name: one for one in series}
    if missing := sorted(said.keys() - by_name.keys()):
        raise InputError(
            f"{path}: there is no {missing[0]} beside it", "Bring the file, or take its entry away."
        )
    found = {name: _windows(path, by_name[name], windows) for name, windows in said.items()}
    if not any(found.values()):
        raise InputError(f"{path} has no window", "Without one there is nothing to score: remove it.")
    return found


def _windows(path: Path, series: SeriesFile, windows: Any) -> Windows:
    rows: dict[datetime, int] = {}
    for number, (time, _) in enumerate(series.cells):
        rows.setdefault(_moment(time), number)
    found = [
        _window(f"{path}, {series.name}", rows, window) for window in _listed(path, series.name, windows)
    ]
    if any(later[0] <= earlier[1] for earlier, later in pairwise(found)):
        raise InputError(f"{path}, {series.name}: windows overlap or are not in order", "Sort and join them.")
    return found


def _listed(path: Path, name: str, windows: Any) -> Iterator[tuple[str, str]]:
    for window in windows if isinstance(windows, list) else [windows]:
        if not (
            isinstance(window, list) and len(window) == 2 and all(isinstance(one, str) for one in window)
        ):
            raise InputError(f"{path}, {name}: {window!r} is no window", "A window is [FIRST, LAST].")
        yield window[0], window[1]


def _window(where: str, rows: Mapping[datetime, int], window: tuple[str, str]) -> tuple[int, int]:
    places = []
    for text in window:
        try:
            places.append(rows[_moment(text)])
        except (ValueError, KeyError):
            raise InputError(
                f"{where}: no reading has the time {text}", "A window begins and ends at a reading."
            ) from None
    if places[0] > places[1]:
        raise InputError(f"{where}: the window ends before it begins", "A window is [FIRST, LAST].")
    return places[0], places[1]


def _moment(text: str) -> datetime:
    """A time to the second: the windows are written with fractions, the series without."""
    return datetime.fromisoformat(text.strip()).replace(microsecond=0, tzinfo=None)


def write_scores(folder: Path, series: SeriesFile, scores: Sequence[float]) -> None:
    """Write a series with a score beside each reading to its place in a folder of results."""
    path = folder / series.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([TIME, VALUE, SCORE])
        writer.writerows((*cells, repr(score)) for cells, score in zip(series.cells, scores, strict=True))
