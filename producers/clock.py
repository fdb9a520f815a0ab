"""Time for the producers: the clock, which tests replace, and the pace at which virtual time runs."""

import math
import time
from threading import Event
from typing import Protocol

from schemas.errors import ConfigError

MAX_SPEED = math.inf
"""As fast as the broker takes it."""


class Clock(Protocol):
    """What producers ask of the time."""

    def now_us(self) -> int:
        """Wall clock, µs since 1970 UTC; may jump when the machine's clock is set."""

    def monotonic(self) -> float:
        """Seconds that only ever grow."""

    def wait(self, seconds: float, stop: Event) -> None:
        """Block for `seconds`, or until `stop` is set."""


class SystemClock:
    """The machine's time."""

    def now_us(self) -> int:
        """As `Clock.now_us`."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """As `Clock.monotonic`."""
        return time.monotonic()

    def wait(self, seconds: float, stop: Event) -> None:
        """As `Clock.wait`."""
        stop.wait(max(0.0, seconds))


class Pace:
    """Virtual time that starts at `start_us` when this is made and runs `speed` times as fast as real time."""

    def __init__(self, start_us: int, speed: float, clock: Clock) -> None:
        self._start = start_us
        self._speed = speed
        self._clock = clock
        self._began = clock.monotonic()

    def due_us(self) -> int | None:
        """The virtual time now; None at `MAX_SPEED`, where everything is due."""
        if self._speed == MAX_SPEED:
            return None
        return self._start + int((self._clock.monotonic() - self._began) * self._speed * 1e6)

    def seconds_until(self, time_us: int) -> float:
        """Real seconds until `time_us` is due; zero or less when it is."""
        if self._speed == MAX_SPEED:
            return 0.0
        passed = self._clock.monotonic() - self._began
        return (time_us - self._start) / (self._speed * 1e6) - passed


def parse_speed(text: str) -> float:
    """`max`, or a positive number, with or without an x behind it.

    Raises:
        ConfigError: it is neither.
    """
    if text.strip().lower() == "max":
        return MAX_SPEED
    try:
        speed = float(text.strip().removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not (speed > 0.0 and math.isfinite(speed)):
        raise ConfigError(
            f"speed {text!r}", "Give max, or a positive number: 1 is real time, 60 a minute a second."
        )
    return speed
