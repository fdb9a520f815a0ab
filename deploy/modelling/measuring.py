"""How good a model is on history that it was not trained on. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.modelling.fitting import scores_of
from deploy.quality.model import DEFAULT_RULES, Episode, FaultEvent, Watched
from deploy.quality.scoring import score
from deploy.quality.truth import MERGED_INTERVALS, runs
from processors.engine.forests import Forest
from processors.engine.profile import Table
from processors.models.info import Quality, Scores

APART_US = 3_600_000_000
"""Alarms closer together than an hour are one."""

_QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)
_EDGES = np.linspace(0.3, 0.9, 25)


@dataclass(frozen=True, eq=False, slots=True)
class SeriesPanes:
    """What training has of one series.

    Attributes:
        device_id: whose.
        panes: (m,) of `PANE`.
        first_us, last_us: its first and last reading.
        interval_us: usual time between two.
        faulty_us: (k,) times of the readings with a fault.
        readings: how many.
    """

    device_id: str
    panes: Table
    first_us: int
    last_us: int
    interval_us: int
    faulty_us: NDArray[np.int64]
    readings: int


def measure(
    forest: Forest, series: Sequence[SeriesPanes], metric: str, from_us: int
) -> tuple[Quality, Scores]:
    """Judge all panes that were complete at `from_us` or later; a series' first day does not count.

    Ground truth counts where any reading of the series, at whatever time, has a fault.
    """
    judged = {one.device_id: one.panes[one.panes["closed"] >= from_us] for one in series}
    scores = {device_id: scores_of(forest, panes) for device_id, panes in judged.items()}
    episodes = [
        Episode(device_id, metric, "pattern", opened)
        for device_id, panes in judged.items()
        for opened in openings(panes["closed"][scores[device_id] >= forest.threshold])
    ]
    watched = [Watched(one.device_id, one.first_us, from_us, one.last_us, one.interval_us) for one in series]
    rated = score([event for one in series for event in _faults(one)], episodes, watched, DEFAULT_RULES)
    knows = any(len(one.faulty_us) for one in series)
    alarms = rated.true_alarms + rated.false_alarms
    quality = Quality(
        panes=sum(map(len, judged.values())),
        alarms=alarms,
        series_days=round(rated.device_days, 6),
        faults=rated.events if knows else None,
        detected=rated.detected if knows else None,
        true_alarms=rated.true_alarms if knows else None,
        false_alarms=rated.false_alarms if knows else None,
    )
    return quality, _distribution(judged, scores)


def openings(alarming_us: NDArray[np.int64]) -> list[int]:
    """When alarms begin, of (k,) ascending times at which panes are at or above the threshold."""
    if not len(alarming_us):
        return []
    begins = np.ones(len(alarming_us), np.bool_)
    begins[1:] = np.diff(alarming_us) > APART_US
    return [int(time) for time in alarming_us[begins]]


def _faults(one: SeriesPanes) -> list[FaultEvent]:
    same = np.zeros(len(one.faulty_us), np.int64)
    return [
        FaultEvent(one.device_id, "fault", int(one.faulty_us[rows][0]), int(one.faulty_us[rows][-1]))
        for rows in runs(same, same, one.faulty_us, MERGED_INTERVALS * one.interval_us)
    ]


def _distribution(judged: Mapping[str, Table], scores: Mapping[str, NDArray[np.float64]]) -> Scores:
    everything = np.concatenate([np.zeros(0), *scores.values()])
    excluded = np.concatenate([np.zeros(0, np.bool_), *(panes["excluded"] == 1 for panes in judged.values())])
    healthy, faulty = (
        np.histogram(np.clip(some, _EDGES[0], _EDGES[-1]), _EDGES)[0]
        for some in (everything[~excluded], everything[excluded])
    )
    known = everything[~excluded]
    return Scores(
        quantiles={f"{share:g}": round(float(np.quantile(known, share)), 6) for share in _QUANTILES}
        if len(known)
        else {},
        edges=tuple(round(float(edge), 6) for edge in _EDGES),
        healthy=tuple(int(count) for count in healthy),
        faulty=tuple(int(count) for count in faulty),
    )
