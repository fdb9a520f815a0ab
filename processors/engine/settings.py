"""Which deviations count."""

from enum import IntEnum


class Sides(IntEnum):
    """Of what is expected."""

    BELOW = -1
    BOTH = 0
    ABOVE = 1
