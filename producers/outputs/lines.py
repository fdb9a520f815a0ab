"""Readings as lines of CSV or JSON."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from producers.batches import ReadingBatch, SeriesTable
from producers.outputs.checks import checked_faults, checked_names, require_finite
from producers.outputs.lines_kernel import NUMBER_BYTES, TIME_BYTES, count_decimals, write_lines
from producers.packed import PackedTexts
from schemas.errors import InputError

_FIRST_US = -62_135_596_800_000_000
_LAST_US = 253_402_300_799_999_999


@dataclass(frozen=True, slots=True)
class LineForm:
    """What stands around time and value in a line: head of the file, text before the time, between, and behind."""

    header: bytes
    name: Callable[[str, str], str]
    middle: bytes
    tail: Callable[[str | None], str]


class Lines:
    """Writes batches over one `SeriesTable` as lines; times in ISO-8601, values in the shortest form that reads back.

    Raises (from `rows`):
        ConfigError: a device id, metric or fault would not read back as it is.
        InputError: a value is not finite, or a time is not in the years 1 to 9999.
    """

    def __init__(self, table: SeriesTable, form: LineForm) -> None:
        self._table = table
        self._form = form
        self._middle = np.frombuffer(form.middle, np.uint8).copy()
        self._names = PackedTexts()
        self._tails = PackedTexts([form.tail(None).encode()])

    def head(self) -> bytes:
        """What the file begins with."""
        return self._form.header

    def rows(self, batch: ReadingBatch) -> Iterable[memoryview]:
        """The lines of a batch."""
        if not len(batch):
            return
        self._extend()
        require_finite(batch, self._table)
        if batch.time.min() < _FIRST_US or batch.time.max() > _LAST_US:
            raise InputError("a reading's time is not in the years 1 to 9999, so it has no ISO-8601 text")
        decimals = np.empty(len(batch), np.int64)
        count_decimals(batch.value, decimals)
        numbers = PackedTexts([repr(number).encode() for number in batch.value[decimals < 0].tolist()])
        out = np.empty(self._bound(batch), np.uint8)
        end = write_lines(
            self._names.data,
            self._names.start,
            self._middle,
            self._tails.data,
            self._tails.start,
            numbers.data,
            numbers.start,
            batch.series,
            batch.time,
            batch.value,
            batch.fault,
            decimals,
            out,
        )
        yield out[:end].data

    def rest(self) -> Iterable[memoryview]:
        """Nothing: every line is out."""
        return ()

    def _extend(self) -> None:
        """Take the table's new names over."""
        names = checked_names(self._table, len(self._names))
        self._names.extend(self._form.name(device, metric).encode() for device, metric in names)
        faults = checked_faults(self._table, len(self._tails) - 1)
        self._tails.extend(self._form.tail(fault).encode() for fault in faults)

    def _bound(self, batch: ReadingBatch) -> int:
        """Bytes that the lines have at most."""
        fixed = (TIME_BYTES + NUMBER_BYTES + len(self._middle)) * len(batch)
        names = np.diff(self._names.start)[batch.series]
        tails = np.diff(self._tails.start)[batch.fault + 1]
        return fixed + int(names.sum()) + int(tails.sum())


def _csv_cells(*cells: str) -> str:
    text = io.StringIO()
    # Before Python 3.13, cells with line ends are quoted only where the terminator has such characters.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")


def _json(text: str | None) -> str:
    return json.dumps(text, ensure_ascii=False)


CSV = LineForm(
    header=b"device_id,metric,time,value,fault\n",
    name=lambda device, metric: _csv_cells(device, metric) + ",",
    middle=b",",
    tail=lambda fault: f",{_csv_cells(fault) if fault else ''}\n",
)
# The fault stands in every line, null in most: replay sees from a file's first lines which columns it has.
JSONL = LineForm(
    header=b"",
    name=lambda device, metric: f'{{"device_id":{_json(device)},"metric":{_json(metric)},"time":"',
    middle=b'","value":',
    tail=lambda fault: f',"fault":{_json(fault)}}}\n',
)
