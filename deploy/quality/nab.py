"""The series of a folder through the real engine, each as a device of its own with a fresh engine; NAB's score of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deploy.quality.engine import MeasuredEngine
from deploy.quality.nab_files import SeriesFile, Windows, read_series, read_windows, write_scores
from deploy.quality.nab_scoring import LabelledScores, Score, nab_scores
from processors.engine.book import ProfileBook
from processors.engine.channels import QUALITY_NAMES
from processors.profiles import profile_book
from producers.batches import ReadingBatch, SeriesTable
from producers.encode import ReadingEncoder
from schemas.errors import InputError
from schemas.readings import Anomaly, AnomalyState

if TYPE_CHECKING:
    from schemas.codec import Codec
    from schemas.settings import Settings

METRIC = "value"


@dataclass(frozen=True, slots=True)
class NabResult:
    """What came of a folder; `scores` by profile, None where it has no windows."""

    series: int
    readings: int
    alarms: int
    windows: int
    scores: dict[str, Score] | None


def evaluate_nab(
    folder: Path,
    out: Path,
    settings: "Settings",
    codec: "Codec",
    progress: Callable[[float], None],
) -> NabResult:
    """Score every series of `folder`, and write the scores to `out`, which mirrors it.

    Blocks. Nothing is written before all of `folder` was read.

    Raises:
        InputError: a file of it cannot be used, or `out` lies in it.
        OSError: `out` cannot be written.
    """
    _require_apart(folder, out)
    found = read_series(folder)
    windows = read_windows(folder, found)
    book = profile_book(settings)
    scored, alarms = {}, 0
    for number, series in enumerate(found, start=1):
        scores, opened = score_series(series, book, codec)
        write_scores(out, series, scores)
        scored[series.name] = scores
        alarms += opened
        progress(number / len(found))
    return NabResult(
        series=len(found),
        readings=sum(len(series.values) for series in found),
        alarms=alarms,
        windows=sum(map(len, windows.values())),
        scores=_scores(windows, scored) if windows else None,
    )


def _scores(windows: Mapping[str, Windows], scored: Mapping[str, list[float]]) -> dict[str, Score]:
    return nab_scores(LabelledScores(scored[name], of_series) for name, of_series in sorted(windows.items()))


def _require_apart(folder: Path, out: Path) -> None:
    source, target = folder.resolve(), out.resolve()
    if target == source or source in target.parents:
        raise InputError(
            f"--out {out} lies in {folder}, whose series would be taken for results and the other way round",
            "Name a folder beside it.",
        )


def score_series(series: SeriesFile, book: ProfileBook, codec: "Codec") -> tuple[list[float], int]:
    """The score of each reading, 0 to 1, and how many episodes opened."""
    table = SeriesTable()
    number = table.series(series.name.removesuffix(".csv"), METRIC)
    time_us = np.array(series.times_us, np.int64)
    readings = len(time_us)
    batch = ReadingBatch(
        np.full(readings, number, np.int64),
        time_us,
        np.array(series.values),
        np.full(readings, -1, np.int64),
    )
    anomalies = MeasuredEngine(book, codec).apply(ReadingEncoder(table, codec).encode(batch), time_us)
    opened = [anomaly for anomaly in anomalies if anomaly.state is AnomalyState.OPENED]
    return row_scores(opened, time_us), len(opened)


def row_scores(opened: Sequence[Anomaly], time_us: NDArray[np.int64]) -> list[float]:
    """The score of each of n readings: 0, or where an episode about a value opens the anomaly's own.

    Episodes about the data's quality (stuck, missing) are events in their own right, which NAB does not label.
    """
    first_row: dict[int, int] = {}
    for row, time in enumerate(time_us.tolist()):
        first_row.setdefault(time, row)
    scores = [0.0] * len(time_us)
    for anomaly in opened:
        if anomaly.channel not in QUALITY_NAMES:
            row = first_row[anomaly.opened_at]
            scores[row] = max(scores[row], anomaly.score)
    return scores
