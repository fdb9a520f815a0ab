"""What the deviation detector can be told."""

from dataclasses import dataclass
from enum import IntEnum


class Sides(IntEnum):
    """Which deviations count."""

    BELOW = -1
    BOTH = 0
    ABOVE = 1


@dataclass(frozen=True, slots=True)
class DeviationSettings:
    """A reading further than `k` std from the mean of the sliding window is a deviation.

    Attributes:
        window_us: length of the window, µs of event time.
        panes: how many panes it is made of; it slides by one pane.
        k: multiple of the std.
        minimum_readings: readings in the window before it judges; until then the series is WARMING.
        sides: which deviations count.
    """

    window_us: int = 600_000_000
    panes: int = 10
    k: float = 4.0
    minimum_readings: int = 30
    sides: Sides = Sides.BOTH

    @property
    def pane_us(self) -> int:
        """Length of a pane, µs."""
        return self.window_us // self.panes
