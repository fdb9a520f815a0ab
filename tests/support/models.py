"""Histories with a day's pattern, and models trained on them."""

import hashlib
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

from deploy.modelling.fitting import fit
from deploy.modelling.gathering import Gatherer
from deploy.modelling.measuring import SeriesPanes, measure
from processors.engine.channels.model import FEATURES
from processors.engine.profile import Profile, ValueMeaning, records
from processors.models.files import file_name, pack_forest
from processors.models.info import Meaning, ModelInfo, ModelKey
from sinks.timescale.history import History

MINUTE, DAY = 60_000_000, 86_400_000_000
BEGIN = 1_767_571_200_000_000
"""A midnight, UTC."""
NOT_ANOMALOUS = np.zeros((0, 2), np.int64)
KEY = ModelKey("oven", "temperature")
USUAL_MEANING = Meaning(pane_s=ValueMeaning().pane_s, counter=False, period=0.0)


def day_after_day(days, seed=1, noise=0.5):
    """(n,) values, one a minute: a wave of a day with noise."""
    minutes = np.arange(round(days * 1440))
    random = np.random.default_rng(seed)
    return 50.0 + 10.0 * np.sin(2 * np.pi * minutes / 1440) + noise * random.standard_normal(len(minutes))


def history(values, faulty=None, begin=BEGIN):
    """A reading a minute."""
    faults = np.zeros(len(values), np.bool_)
    if faulty is not None:
        faults[faulty] = True
    return History(begin + MINUTE * np.arange(len(values)), np.asarray(values, np.float64), faults)


def panes_of(values, faulty=None, profile=None):
    """Panes of a series as training has them."""
    return Gatherer(records([profile or Profile()])[0]).take(history(values, faulty), NOT_ANOMALOUS)


@lru_cache
def healthy_panes():
    """Panes of four healthy devices over a week."""
    return np.concatenate([panes_of(day_after_day(7, seed)) for seed in range(1, 5)])


@lru_cache
def a_forest(seed=1):
    """A forest of them, and its make."""
    return fit(healthy_panes(), seed, alarms_per_day=0.1, pane_s=USUAL_MEANING.pane_s)


def info_and_content(forest=None, make=None, key=KEY, **changes):
    """What is written of a model."""
    if forest is None:
        forest, make = a_forest()
    content = pack_forest(forest)
    one = SeriesPanes(
        "oven-1", panes_of(day_after_day(3, 9)), BEGIN, BEGIN + 3 * DAY, MINUTE, np.zeros(0, np.int64), 4320
    )
    quality, scores = measure(forest, [one], key.metric, BEGIN)
    moment = datetime(2026, 1, 12, tzinfo=UTC)
    said = {
        "software": "0.1.0", "scikit_learn": "1.9.1", "type": key.type, "metric": key.metric, "features": FEATURES,
        "meaning": USUAL_MEANING, "trained_from": moment, "trained_to": moment, "held_out_from": moment,
        "trained_at": moment, "readings": 4320, "series": 1, "series_known": 1, "panes": 100, "excluded": 0,
        "usual": forest.usual, "threshold": forest.threshold, "seed": 1, "forest": make, "quality": quality,
        "scores": scores, "file": file_name(key, content), "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    return ModelInfo(**{**said, **changes}), content
