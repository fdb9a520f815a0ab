"""Readings on their way to Kafka, as columns: which series, when, what value, which fault."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """n readings; `series` and `fault` are numbers in a `SeriesTable`.

    Attributes:
        series: (n,) series numbers.
        time: (n,) event times, µs since 1970 UTC.
        value: (n,) values.
        fault: (n,) fault numbers, -1 where there is none.
        fault_end: (n,) µs, when the fault of a reading was to end, as it stood at that reading; the largest integer for
            one without end; of no meaning where there is no fault. None where nobody knows.
    """

    series: NDArray[np.int64]
    time: NDArray[np.int64]
    value: NDArray[np.float64]
    fault: NDArray[np.int64]
    fault_end: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.time)

    @classmethod
    def of(
        cls,
        series: list[int],
        time: list[int],
        value: list[float],
        fault: list[int],
        fault_end: list[int] | None = None,
    ) -> Self:
        """A batch of lists of the same length."""
        return cls(
            np.array(series, np.int64),
            np.array(time, np.int64),
            np.array(value, np.float64),
            np.array(fault, np.int64),
            None if fault_end is None else np.array(fault_end, np.int64),
        )

    @classmethod
    def joined(cls, batches: Sequence[Self]) -> Self:
        """One batch of several, one behind the other."""
        ends = [batch.fault_end for batch in batches if batch.fault_end is not None]
        return cls(
            np.concatenate([batch.series for batch in batches]),
            np.concatenate([batch.time for batch in batches]),
            np.concatenate([batch.value for batch in batches]),
            np.concatenate([batch.fault for batch in batches]),
            np.concatenate(ends) if len(ends) == len(batches) else None,
        )

    def rows(self, start: int, stop: int) -> Self:
        """Readings `start` to `stop - 1`, sharing memory."""
        return type(self)(
            self.series[start:stop],
            self.time[start:stop],
            self.value[start:stop],
            self.fault[start:stop],
            None if self.fault_end is None else self.fault_end[start:stop],
        )


class SeriesTable:
    """Numbers for series and faults; grows as new ones are met, by some hundred bytes each.

    Attributes:
        device_ids: device id of each series.
        metrics: metric of each series.
        keys: message key of each series: its device id in UTF-8.
        faults: name of each fault.
    """

    def __init__(self) -> None:
        self.device_ids: list[str] = []
        self.metrics: list[str] = []
        self.keys: list[bytes] = []
        self.faults: list[str] = []
        self._series: dict[tuple[str, str], int] = {}
        self._faults: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def series(self, device_id: str, metric: str) -> int:
        """The number of a series, a new one if it was not met before.

        Raises:
            UnicodeEncodeError: an id is not encodable (it holds half a surrogate pair).
        """
        number = self._series.get((device_id, metric))
        if number is None:
            key = device_id.encode()
            metric.encode()
            number = self._series[device_id, metric] = len(self.keys)
            self.device_ids.append(device_id)
            self.metrics.append(metric)
            self.keys.append(key)
        return number

    def fault(self, name: str | None) -> int:
        """The number of a fault, -1 for none.

        Raises:
            UnicodeEncodeError: as `series`.
        """
        if name is None:
            return -1
        number = self._faults.get(name)
        if number is None:
            name.encode()
            number = self._faults[name] = len(self.faults)
            self.faults.append(name)
        return number
