"""The expected band of a diagram: where a series was to be, by what it did before. Pure.

For people's eyes, made of what the diagram shows; what the detectors expected of an episode stands in its row (expected,
lower, upper). Of each bucket it is the median of the buckets before it, and about it a multiple of their usual distance
(median absolute distance), so that an episode does not pull its own band along.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_BUCKETS = 60
"""How far a bucket's band looks back."""

_FEWEST = 8
"""Buckets before there is a band."""

_NORMAL = 1.4826
"""Std of a normal distribution, in median absolute distances."""


@dataclass(frozen=True, eq=False, slots=True)
class Band:
    """(n,) expected value, lower and upper bound of each bucket; NaN where there is none."""

    expected: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


def expected_band(
    mean: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], k: float = 4.0
) -> Band:
    """The band of n buckets in the order of time.

    Args:
        mean: (n,) mean of each bucket.
        low, high: (n,) extremes of each bucket.
        k: half the band's width, in std.
    """
    n = len(mean)
    none = np.full(n, np.nan)
    if n <= _FEWEST:
        return Band(none, none.copy(), none.copy())
    with np.errstate(over="ignore", invalid="ignore"):
        before = sliding_window_view(np.concatenate([np.full(_BUCKETS, np.nan), mean[:-1]]), _BUCKETS)
        centre = _medians(before)
        # The extent of the buckets counts in: a diagram of a month shows each day's swing as extremes, not as means.
        above = np.concatenate([np.full(_BUCKETS, np.nan), (high - mean)[:-1]])
        below = np.concatenate([np.full(_BUCKETS, np.nan), (mean - low)[:-1]])
        spread = k * _NORMAL * _medians(np.abs(before - centre[:, None]))
        upper = centre + spread + _medians(sliding_window_view(above, _BUCKETS))
        lower = centre - spread - _medians(sliding_window_view(below, _BUCKETS))
    early = np.arange(n) < _FEWEST
    return Band(*(np.where(early | ~np.isfinite(line), np.nan, line) for line in (centre, lower, upper)))


def _medians(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) medians of the numbers in each of n windows; NaN where a window has none."""
    ordered = np.sort(windows, axis=1)  # NaN come last
    counts = np.sum(~np.isnan(windows), axis=1)
    rows = np.arange(len(windows))
    return np.asarray((ordered[rows, np.maximum(counts - 1, 0) // 2] + ordered[rows, counts // 2]) / 2)
