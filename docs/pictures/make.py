"""Draw the pictures of detection.md: `python docs/pictures/make.py DIR`, DIR laid out like the Numenta Anomaly Benchmark.

Needs matplotlib, which nothing else here does. For each channel it takes the clearest alarm that the engine with its
defaults raises within a labelled window, of a series of real data if there is one.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from deploy.quality.engine import MeasuredEngine
from deploy.quality.nab_files import SeriesFile, read_series, read_windows
from processors.profiles import profile_book
from producers.batches import ReadingBatch, SeriesTable
from producers.encode import ReadingEncoder
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.readings import Anomaly, AnomalyState
from schemas.settings import load_settings

HERE = Path(__file__).parent
BEFORE, BEHIND = 300, 120
CHANNELS = ("spike", "jump", "range", "rare", "energy", "pattern", "shift", "stuck", "gap")


@dataclass(frozen=True)
class Example:
    """An alarm and the series that it is of."""

    series: SeriesFile
    windows: list[tuple[int, int]]
    anomaly: Anomaly
    row: int
    labelled: bool

    @property
    def merit(self) -> tuple[bool, bool, float]:
        """What makes a good picture: a labelled window, real data, a clear score."""
        return self.labelled, not self.series.name.startswith("artificial"), self.anomaly.score


def examples(folder: Path) -> Iterator[Example]:
    """Every alarm of every series."""
    found = read_series(folder)
    windows = read_windows(folder, found)
    settings, codec = load_settings(None, {}, {}), Codec(Catalogue())
    for series in found:
        table = SeriesTable()
        number = table.series(series.name, "value")
        times = np.array(series.times_us, np.int64)
        none = np.full(len(times), -1, np.int64)
        batch = ReadingBatch(np.full(len(times), number, np.int64), times, np.array(series.values), none)
        engine = MeasuredEngine(profile_book(settings), codec)
        for anomaly in engine.apply(ReadingEncoder(table, codec).encode(batch), times):
            if anomaly.state is AnomalyState.OPENED:
                row = int(np.searchsorted(times, anomaly.opened_at))
                of_series = list(windows.get(series.name, ()))
                labelled = any(first <= row <= last for first, last in of_series)
                yield Example(series, of_series, anomaly, row, labelled)


def draw(example: Example, path: Path) -> None:
    """The readings about an alarm, the expected band at the alarm, the labelled window."""
    series, anomaly, row = example.series, example.anomaly, example.row
    begin, end = max(0, row - BEFORE), min(len(series.values), row + BEHIND)
    figure, axes = plt.subplots(figsize=(8, 2.6), dpi=100)
    hours = (np.array(series.times_us[begin:end]) - anomaly.opened_at) / 3.6e9
    for first, last in example.windows:
        if first < end and last >= begin:
            edges = hours[max(first, begin) - begin], hours[min(last, end - 1) - begin]
            axes.axvspan(*edges, color="#f3d9a4", alpha=0.6, lw=0, label="labelled as anomalous")
    if anomaly.expected is not None:
        axes.axhspan(
            anomaly.lower, anomaly.upper, color="#9ecae1", alpha=0.45, lw=0, label="expected at the alarm"
        )
    axes.plot(hours, series.values[begin:end], color="#333333", lw=0.9)
    axes.axvline(0, color="#d62728", lw=1.2, label=f"alarm: {anomaly.kind}")
    axes.set_xlabel("hours from the alarm")
    axes.set_title(f"{anomaly.channel}: {series.name.removesuffix('.csv')}", fontsize=9, loc="left")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), fontsize=7, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Draw all of them."""
    mpl.use("Agg")
    best: dict[str, Example] = {}
    for example in examples(Path(sys.argv[1])):
        known = best.get(example.anomaly.channel)
        if known is None or example.merit > known.merit:
            best[example.anomaly.channel] = example
    for channel in CHANNELS:
        if channel in best:
            draw(best[channel], HERE / f"{channel}.png")


if __name__ == "__main__":
    main()
