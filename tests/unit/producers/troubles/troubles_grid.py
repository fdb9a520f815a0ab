"""A plain stream for the troubles' tests: every series once an interval, each device at its own moment of it."""

import numpy as np

from producers.batches import ReadingBatch, SeriesTable

START_US = 1_700_000_000_000_000
INTERVAL_US = 1_000_000


class Grid:
    """Devices d0, d1, ... with the metrics a and b; `between` as `Fleet.between`."""

    def __init__(self, devices=20, interval_us=INTERVAL_US, first=0):
        self.table = SeriesTable()
        self.table.fault("spike")
        self.interval_us = interval_us
        names = [f"d{number}" for number in range(first, first + devices)]
        for name in names:
            for metric in ("a", "b"):
                self.table.series(name, metric)
        offset = [int(name[1:]) * 7_919 % interval_us for name in names]
        self._offset = np.repeat(np.array(offset, np.int64), 2)

    def between(self, begin_us, end_us):
        steps = np.arange(begin_us // self.interval_us - 1, end_us // self.interval_us + 1)
        time = (steps[:, None] * self.interval_us + self._offset).ravel()
        series = np.tile(np.arange(len(self._offset)), len(steps))
        inside = (begin_us <= time) & (time < end_us)
        time, series = time[inside], series[inside]
        order = np.lexsort((series, time))
        time, series = time[order], series[order]
        fault = np.where(time // self.interval_us % 50 == 7, 0, -1)
        return ReadingBatch(series, time, np.round(series + time % 86_400_000_001 / 1e9, 4), fault)
