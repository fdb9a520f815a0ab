"""The detector's channels: each a small pure module over one series' state.

A channel has a `STATE` (numpy record, part of the series' state) and a compiled `step`, which judges one value by what the
series did before, learns from it, and gives q = statistic / threshold: 1 is the alarm level. The series' q is
the largest of its channels'; `Channel` numbers them.
"""

from enum import IntEnum


class Channel(IntEnum):
    """Which channel speaks; the value channels first, those about the data's quality behind."""

    WINDOW = 0
    SPIKE = 1
    JUMP = 2
    RANGE = 3
    RARE = 4
    ENERGY = 5
    PATTERN = 6
    SHIFT = 7
    MODEL = 8
    STUCK = 9
    FLICKER = 10
    DWELL = 11
    INVALID = 12
    GAP = 13


VALUE_CHANNELS = 9
"""How many channels, from the first, judge a value; the rest judge the data's quality."""

QUALITY_NAMES = frozenset(channel.name.lower() for channel in Channel if channel >= VALUE_CHANNELS)
"""Names of the channels that judge the data's quality, as anomalies say them."""
