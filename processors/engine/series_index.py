"""Which row of the columns a series has: names (device, metric) to numbers, looked up a batch at a time."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processors.engine.index_kernel import EMPTY, find_series, insert_series
from schemas.columns import ReadingColumns

_FIRST_SLOTS = 1024


class SeriesName(NamedTuple):
    """A series: one metric of one device."""

    device_id: str
    metric: str


class SeriesIndex:
    """Numbers series from 0 in the order in which they were first seen; never forgets one."""

    def __init__(self) -> None:
        self.names: list[SeriesName] = []
        self._numbers: dict[SeriesName, int] = {}
        self._slots = np.full(_FIRST_SLOTS, EMPTY, np.int64)
        self._arena = np.empty(_FIRST_SLOTS, np.uint8)
        self._arena_size = 0
        self._begin = np.zeros(_FIRST_SLOTS, np.int64)
        self._size = np.zeros(_FIRST_SLOTS, np.int64)
        self._device_size = np.zeros(_FIRST_SLOTS, np.int64)

    def __len__(self) -> int:
        return len(self.names)

    def get(self, name: SeriesName) -> int | None:
        """Number of a series, None where it was never seen."""
        return self._numbers.get(name)

    def number(self, name: SeriesName) -> int:
        """Number of a series, a new one for a new series."""
        known = self._numbers.get(name)
        return self._add(name) if known is None else known

    def numbers(self, readings: ReadingColumns, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(len(readings),) series numbers of `rows`; new series get theirs in the order of the rows."""
        spans = (readings.device_start, readings.device_end, readings.metric_start, readings.metric_end)
        series = np.full(len(readings), EMPTY, np.int64)
        if self._find(readings.data, spans, rows, series):
            for row in rows[series[rows] == EMPTY]:
                series[row] = self.number(SeriesName(readings.device_id(row), readings.metric(row)))
        return series

    def _find(
        self,
        data: NDArray[np.uint8],
        spans: tuple[NDArray[np.int64], ...],
        rows: NDArray[np.int64],
        series: NDArray[np.int64],
    ) -> int:
        return int(find_series(self._slots, self._arena, self._begin, self._size, data, spans, rows, series))

    def _add(self, name: SeriesName) -> int:
        number = len(self.names)
        self.names.append(name)
        self._numbers[name] = number
        device = name.device_id.encode()
        packed = np.frombuffer(device + b"\0" + name.metric.encode(), np.uint8)
        self._reserve(number + 1, self._arena_size + len(packed))
        self._arena[self._arena_size : self._arena_size + len(packed)] = packed
        self._begin[number], self._size[number] = self._arena_size, len(packed)
        self._device_size[number] = len(device)
        self._arena_size += len(packed)
        insert_series(self._slots, self._arena, self._begin, self._size, number, len(device))
        return number

    def _reserve(self, series: int, arena_bytes: int) -> None:
        """Make room; the table stays at most half full."""
        if arena_bytes > len(self._arena):
            self._arena = np.resize(self._arena, 2 * arena_bytes)
        if series > len(self._begin):
            self._begin, self._size, self._device_size = (
                np.resize(column, 2 * series) for column in (self._begin, self._size, self._device_size)
            )
        if 2 * series > len(self._slots):
            self._slots = np.full(2 * len(self._slots), EMPTY, np.int64)
            for number in range(series - 1):
                insert_series(
                    self._slots, self._arena, self._begin, self._size, number, self._device_size[number]
                )
