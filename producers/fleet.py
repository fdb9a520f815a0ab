"""Fleets: which devices there are, and what they read at what time. Pure: no clock, no I/O.

A fleet's virtual time is a fixed grid: every series is read once per interval, the devices spread evenly over
it, at times that do not depend on when the simulation began. So two runs of the same fleet over the same time
give the same readings, and a run that was stopped and started again goes on where the other left off.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from producers.batches import ReadingBatch, SeriesTable
from producers.signals import SPIKE, Shape, make_signals
from schemas.errors import ConfigError
from schemas.readings import Device

Ints = NDArray[np.int64]

MAX_SERIES = 1_000_000


class Fleet(Protocol):
    """What the simulator needs of a fleet."""

    @property
    def devices(self) -> list[Device]:
        """The devices, as they are announced before their first reading."""

    @property
    def table(self) -> SeriesTable:
        """Names of the series and faults that the batches number."""

    @property
    def rate(self) -> float:
        """Readings per second of virtual time."""

    def between(self, begin_us: int, end_us: int) -> ReadingBatch:
        """All readings with begin <= time < end, by time, then by series.

        Cutting a stretch of time into pieces, in whatever way, changes no reading.
        """

    def next_time(self, time_us: int) -> int:
        """When the first reading at or after `time_us` is due."""


class SignalFleet:
    """Devices of type "signal", each with the metrics `sinusoid` and `trend`.

    Args:
        device_count: How many.
        interval_us: µs between two readings of one series.
        seed: Same seed, same readings, to the bit.
        anomaly_probability: Chance that a reading is an outlier, 0 to 1.
        normal_range: Range of normal values.

    Raises:
        ConfigError: an argument makes no sense.
    """

    METRICS = len(Shape)
    """Series of each device."""

    def __init__(
        self,
        device_count: int,
        interval_us: int,
        seed: int,
        anomaly_probability: float,
        normal_range: tuple[float, float] = (40.0, 50.0),
    ) -> None:
        if not 1 <= device_count <= MAX_SERIES // len(Shape):
            raise ConfigError(f"{device_count} devices", f"Give 1 to {MAX_SERIES // len(Shape)}.")
        if interval_us < 1:
            raise ConfigError(
                "readings of one series are less than a microsecond apart",
                "Take more devices or a lower rate.",
            )
        if not 0.0 <= anomaly_probability <= 1.0:
            raise ConfigError(f"anomaly probability {anomaly_probability}", "It is a share between 0 and 1.")
        low, high = normal_range
        if not (np.isfinite(normal_range).all() and low < high):
            raise ConfigError(f"range of normal values {low} to {high}", "Give two numbers, the lower first.")
        digits = max(3, len(str(device_count)))
        self.devices = [_device(number, digits) for number in range(1, device_count + 1)]
        self.table = SeriesTable()
        self.table.fault(SPIKE)
        names = [(device.device_id, shape.metric) for device in self.devices for shape in Shape]
        for name in names:
            self.table.series(*name)
        self._signals = make_signals(
            seed, names, list(Shape) * device_count, normal_range, anomaly_probability
        )
        self._interval = interval_us
        # Ascending, so that reading number step * series + i of the grid is never earlier than the one before.
        self._offset: Ints = np.repeat(
            np.array([i * interval_us // device_count for i in range(device_count)], np.int64), len(Shape)
        )

    @property
    def rate(self) -> float:
        """Readings per second of virtual time."""
        return len(self.table) * 1e6 / self._interval

    def between(self, begin_us: int, end_us: int) -> ReadingBatch:
        """As `Fleet.between`."""
        first, last = self._first_at(begin_us), self._first_at(end_us)
        step, series = np.divmod(np.arange(first, max(first, last), dtype=np.int64), len(self.table))
        time = step * self._interval + self._offset[series]
        value, outlier = self._signals.values(series, time)
        return ReadingBatch(series, time, value, np.where(outlier, 0, -1).astype(np.int64))

    def step(self, time_us: int) -> ReadingBatch:
        """One reading of every series: those of the interval that begins at the last grid time <= `time_us`."""
        begin = time_us - time_us % self._interval
        return self.between(begin, begin + self._interval)

    def next_time(self, time_us: int) -> int:
        """As `Fleet.next_time`."""
        step, series = divmod(self._first_at(time_us), len(self.table))
        return step * self._interval + int(self._offset[series])

    def _first_at(self, time_us: int) -> int:
        """Number of the first reading at or after `time_us`, counted along the grid from time 0."""
        step, rest = divmod(time_us, self._interval)
        return step * len(self.table) + int(np.searchsorted(self._offset, rest))


def _device(number: int, digits: int) -> Device:
    return Device(
        device_id=f"signal-{number:0{digits}}",
        type="signal",
        name=f"Signal {number}",
        manufacturer="Sigmawatch",
        model="sinusoid and trend",
        units={shape.metric: "1" for shape in Shape},
        attributes={"simulated": "true"},
    )
