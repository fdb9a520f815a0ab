"""NAB's score of a detector: early detections in labelled windows earn, false alarms and missed windows cost. Pure.

A. Lavin, S. Ahmad, Evaluating real-time anomaly detection algorithms - the Numenta Anomaly Benchmark, ICMLA 2015. A
detection weighs by a scaled sigmoid of its place in the window, of a window several detections the heaviest one counts;
a false alarm weighs more the further it is behind the last window. 0 is the score of a detector that never alarms, 100 of one
that alarms exactly where each window begins.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

PROBATION_SHARE, PROBATION_READINGS = 0.15, 5000
"""Of each series' first 5,000 readings this share is for learning: alarms in it do not count."""

HALF = 0.5
"""The fixed threshold: at this score the engine alarms."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a true alarm earns, a false one and a missed window cost."""

    true_alarm: float
    false_alarm: float
    missed: float


PROFILES: Mapping[str, Profile] = {
    "standard": Profile(1.0, 0.11, 1.0),
    "reward_low_FP": Profile(1.0, 0.22, 1.0),
    "reward_low_FN": Profile(1.0, 0.11, 2.0),
}


@dataclass(frozen=True, slots=True)
class Score:
    """Of one profile: at the threshold that is best over all series, and at 0.5."""

    best: float
    threshold: float | None
    at_half: float


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """A series: its scores, (n,), and the windows, as first and last row, by place."""

    scores: Sequence[float]
    windows: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Row:
    """A reading: what an alarm there weighs, and in which of all windows it lies, if in any."""

    score: float
    weight: float
    window: int | None


def scaled_sigmoid(position: float) -> float:
    """Weight of an alarm: -1 at a window's beginning, 0 at its end, 1 one width behind it -> from 1 over 0 to -1."""
    return -1.0 if position > 3.0 else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


_EARLIEST = scaled_sigmoid(-1.0)


def weights(readings: int, windows: Sequence[tuple[int, int]]) -> list[tuple[float, int | None]]:
    """For each row what an alarm there weighs, and the number of its window."""
    found: list[tuple[float, int | None]] = []
    last: tuple[int, int] | None = None  # the window that is over
    coming = list(enumerate(windows))
    for row in range(readings):
        if coming and row > coming[0][1][1]:
            last = coming.pop(0)[1]
        if coming and row >= coming[0][1][0]:
            number, (begin, end) = coming[0]
            position = -(end - row + 1) / (end - begin + 1)
            found.append((scaled_sigmoid(position) / _EARLIEST, number))
        else:
            found.append((-1.0 if last is None else _behind(row, last), None))
    return found


def _behind(row: int, window: tuple[int, int]) -> float:
    begin, end = window
    # A window of one reading has no width to measure the distance by.
    return scaled_sigmoid((row - end) / (end - begin)) if end > begin else -1.0


def nab_scores(series: Iterable[LabelledScores]) -> dict[str, Score]:
    """The score of each profile over all series.

    Raises:
        ValueError: there is no window at all.
    """
    rows: list[_Row] = []
    windows = 0
    for one in series:
        probation = min(math.floor(PROBATION_SHARE * len(one.scores)), PROBATION_SHARE * PROBATION_READINGS)
        placed = zip(one.scores, weights(len(one.scores), one.windows), strict=True)
        rows += [
            _Row(score, weight, None if window is None else windows + window)
            for number, (score, (weight, window)) in enumerate(placed)
            if number >= probation
        ]
        windows += len(one.windows)
    if not windows:
        raise ValueError("no series has a window")
    rows.sort(key=lambda row: -row.score)
    return {name: _score(rows, windows, profile) for name, profile in PROFILES.items()}


def _score(rows: Sequence[_Row], windows: int, profile: Profile) -> Score:
    """Lower the threshold from one score to the next, row by row, and keep the sum."""
    found = {row.window: -profile.missed for row in rows if row.window is not None}
    total = best = at_half = sum(found.values())
    threshold = None
    for number, row in enumerate(rows):
        if row.window is None:
            total += row.weight * profile.false_alarm
        else:
            gain = row.weight * profile.true_alarm
            total += max(0.0, gain - found[row.window])
            found[row.window] = max(gain, found[row.window])
        if number + 1 < len(rows) and rows[number + 1].score == row.score:
            continue
        if row.score >= HALF:
            at_half = total
        if total > best:
            best, threshold = total, row.score
    perfect, none = windows * profile.true_alarm, -windows * profile.missed

    def normalised(raw: float) -> float:
        return 100.0 * (raw - none) / (perfect - none)

    return Score(normalised(best), threshold, normalised(at_half))
