"""Helpers for tests of programs that use these packages; nothing but the package itself is needed.

Builders take what a test is about and fill in the rest:

    >>> reading(value=21.5).device_id
    'device-1'
    >>> [item.time - START_US for item in readings([1.0, 2.0, 3.0])]
    [0, 1000000, 2000000]

`ManualClock` stands still until it is told to go on.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from schemas.readings import Anomaly, AnomalyState, Device, Reading

START_US = 1_700_000_000_000_000
"""2023-11-14 22:13:20 UTC in µs: where builders and clock begin."""


class ManualClock:
    """A `Clock` that moves only by `advance` and `sleep`; sleeping takes no real time.

    Attributes:
        slept: every length that was asked of `sleep`, seconds.
    """

    def __init__(self, now_us: int = START_US) -> None:
        self._start_us = now_us
        self._passed_us = 0
        self.slept: list[float] = []

    def now_us(self) -> int:
        """As `Clock.now_us`."""
        return self._start_us + self._passed_us

    def monotonic(self) -> float:
        """As `Clock.monotonic`; begins at zero."""
        return self._passed_us / 1e6

    def sleep(self, seconds: float) -> None:
        """Note `seconds` and let them pass at once."""
        self.slept.append(seconds)
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: time does not run backwards; `set_wall_clock` is for clocks that are put back.
        """
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._passed_us += round(seconds * 1e6)

    def set_wall_clock(self, now_us: int) -> None:
        """Let `now_us()` jump, in either direction; `monotonic()` does not notice."""
        self._start_us = now_us - self._passed_us


def reading(
    device_id: str = "device-1",
    metric: str = "temperature",
    time: int = START_US,
    value: float = 20.0,
    fault: str | None = None,
) -> Reading:
    """A reading; `time` in µs since 1970 UTC."""
    return Reading(device_id, metric, time, value, fault)


def readings(
    values: Iterable[float],
    *,
    device_id: str = "device-1",
    metric: str = "temperature",
    start_us: int = START_US,
    interval_us: int = 1_000_000,
) -> list[Reading]:
    """One series: a reading for each value, `interval_us` apart."""
    return [
        Reading(device_id, metric, start_us + index * interval_us, value)
        for index, value in enumerate(values)
    ]


def device(device_id: str = "device-1", **fields: Any) -> Device:
    """A device; `fields` as of `schemas.readings.Device`."""
    return replace(Device(device_id, "thermometer", units={"temperature": "°C"}), **fields)


def anomaly(device_id: str = "device-1", **fields: Any) -> Anomaly:
    """An open episode six std above a mean of 20; `fields` as of `schemas.readings.Anomaly`."""
    return replace(
        Anomaly(
            anomaly_id=UUID(int=1),
            device_id=device_id,
            metric="temperature",
            kind="deviation",
            state=AnomalyState.OPENED,
            opened_at=START_US,
            cleared_at=None,
            value=26.0,
            score=6.0,
            mean=20.0,
            std=1.0,
            lower=16.0,
            upper=24.0,
            readings=1,
            fault=None,
            detected_at=START_US,
        ),
        **fields,
    )
