"""Rows as CSV and JSON lines. Pure.

Values are in the shortest form that reads back as the very same float, times in ISO-8601 with microseconds, UTC.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

Row = Sequence[Any]


class Encoder(Protocol):
    """Makes bytes of rows, in their order."""

    def head(self) -> bytes:
        """What the file begins with."""
        ...

    def encode(self, rows: Sequence[Row]) -> bytes:
        """Rows, one a line."""
        ...


class CsvReadings:
    """Readings, with a label behind or without, as CSV; the series' cells are made once for a run of rows."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._series: tuple[str, str] | None = None
        self._begin = ""

    def head(self) -> bytes:
        """The header line."""
        return (",".join(self._columns) + "\n").encode()

    def encode(self, rows: Sequence[Row]) -> bytes:
        """As `Encoder.encode`."""
        lines = []
        for device_id, metric, time, value, *labels in rows:
            if self._series != (device_id, metric):
                self._series = device_id, metric
                self._begin = csv_cells(device_id, metric)
            tail = csv_cells(*labels) if any(labels) else "," * (len(labels) - 1)
            lines.append(f"{self._begin},{iso(time)},{value!r},{tail}\n")
        return "".join(lines).encode()


class JsonReadings:
    """Readings, with a label behind or without, as JSON lines."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._names = [f',"{name}":' for name in columns[4:]]
        self._none = "".join(f"{name}null" for name in self._names)
        self._series: tuple[str, str] | None = None
        self._begin = ""

    def head(self) -> bytes:
        """Nothing."""
        return b""

    def encode(self, rows: Sequence[Row]) -> bytes:
        """As `Encoder.encode`."""
        lines = []
        for device_id, metric, time, value, *labels in rows:
            if self._series != (device_id, metric):
                self._series = device_id, metric
                self._begin = f'{{"device_id":{_text(device_id)},"metric":{_text(metric)},"time":"'
            tail = self._none
            if any(labels):
                tail = "".join(name + _text(label) for name, label in zip(self._names, labels, strict=True))
            number = repr(value) if math.isfinite(value) else "null"
            lines.append(f'{self._begin}{iso(time)}","value":{number}{tail}}}\n')
        return "".join(lines).encode()


class CsvRows:
    """Rows of any columns as CSV; null is an empty cell."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns

    def head(self) -> bytes:
        """The header line."""
        return (csv_cells(*self._columns) + "\n").encode()

    def encode(self, rows: Sequence[Row]) -> bytes:
        """As `Encoder.encode`."""
        return "".join(csv_cells(*map(_csv_value, row)) + "\n" for row in rows).encode()


class JsonRows:
    """Rows of any columns as JSON lines."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns

    def head(self) -> bytes:
        """Nothing."""
        return b""

    def encode(self, rows: Sequence[Row]) -> bytes:
        """As `Encoder.encode`."""
        values = (dict(zip(self._columns, map(_json_value, row), strict=True)) for row in rows)
        return "".join(f"{_dumps(value)}\n" for value in values).encode()


def iso(time: datetime) -> str:
    """2026-01-31T23:59:59.123456Z."""
    return f"{time.astimezone(UTC).isoformat(timespec='microseconds')[:26]}Z"


def csv_cells(*cells: str | None) -> str:
    """Cells with commas between, quoted where they must be."""
    text = io.StringIO()
    # Before Python 3.13, cells with line ends are quoted only where the terminator has such characters.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")


_dumps: Callable[[Any], str] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode
_text = _dumps


def _csv_value(value: Any) -> Any:
    return iso(value) if isinstance(value, datetime) else value


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
