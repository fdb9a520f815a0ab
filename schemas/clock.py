"""Time, injected: what decides takes a `Clock`, so that tests (`schemas.testing.ManualClock`) turn it."""

import time
from typing import Protocol


class Clock(Protocol):
    """What is asked of the time."""

    def now_us(self) -> int:
        """Wall clock, µs since 1970 UTC; may jump when the machine's clock is set."""

    def monotonic(self) -> float:
        """Seconds that only ever grow."""

    def sleep(self, seconds: float) -> None:
        """Block for `seconds`; not at all for zero or less."""


class SystemClock:
    """The machine's time."""

    def now_us(self) -> int:
        """As `Clock.now_us`."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """As `Clock.monotonic`."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """As `Clock.sleep`."""
        if seconds > 0:
            time.sleep(seconds)
