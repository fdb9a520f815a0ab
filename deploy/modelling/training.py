"""From a database to models in a folder: one for each type of device and metric that has enough of a history."""

import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deploy.modelling.fitting import fit
from deploy.modelling.gathering import Gatherer
from deploy.modelling.measuring import SeriesPanes, measure
from processors.detection.facts import DeviceFacts, KnownDevices
from processors.engine.book import ProfileBook
from processors.engine.channels.model import FEATURES
from processors.engine.collecting_kernel import PANE
from processors.engine.profile import Table
from processors.engine.series_index import SeriesName
from processors.models.files import file_name, pack_forest, save
from processors.models.info import Meaning, ModelInfo, ModelKey
from processors.profiles import profile_book
from schemas.durations import format_duration
from schemas.errors import InputError, SigmawatchError
from sinks.timescale.history import StoredSeries, anomalous_times, readings_of, stored_series, stored_types

if TYPE_CHECKING:
    import psycopg

    from schemas.settings import Settings

HELD_OUT = 0.2
"""Share of the history's time, the last, that the model is measured on and not trained on."""
LEAST_PANES = 1000
"""Healthy panes that a model is trained on at least: less says little of what happens once a day."""
WARMUP_DAYS = 1.5
"""Until a series' panes can be described: its day must be known."""
MOST_SERIES = 500
"""Series of a type and metric that are taken at most, at random: what bounds time and memory."""

Progress = Callable[[float], None]
"""Called with the share that is done."""


class NothingTrainedError(SigmawatchError):
    """No model could be made; says why."""


@dataclass(frozen=True, slots=True)
class Training:
    """What to train.

    Attributes:
        begin_us, end_us: readings of begin <= time < end.
        folder: where models go.
        types: of devices; None for all that there are.
        seed: same seed and data, same model.
        alarms_per_day: how often a healthy series may alarm.
        now: said in the model.
    """

    begin_us: int
    end_us: int
    folder: Path
    now: datetime
    types: Sequence[str] | None = None
    seed: int = 1
    alarms_per_day: float = 0.03


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a type and metric: a model and its file, or why there is none."""

    key: ModelKey
    info: ModelInfo | None = None
    path: Path | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Group:
    """Series of one type and metric that share a meaning: those taken, with their profiles, and how many there are."""

    key: ModelKey
    series: Sequence[tuple[StoredSeries, Table]]
    known: int
    meaning: Meaning


def train(
    connection: "psycopg.Connection", training: Training, settings: "Settings", progress: Progress
) -> list[Outcome]:
    """Train and save all models; what has too little of a history, or is none for models, is passed over.

    Blocks. Reads one state of the database, whatever is written meanwhile; keeps the panes of one type and metric.

    Raises:
        InputError: a type that no device has.
        NothingTrainedError: no model came of it.
        ModelError: the folder cannot be written.
        psycopg.Error: the server refuses or is gone.
    """
    with connection.transaction():
        connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        _require_types(connection, training.types)
        series = stored_series(connection, training.types)
        facts = {one.device_id: DeviceFacts(type=one.type) for one in series}
        book = profile_book(settings, KnownDevices(facts))
        outcomes: list[Outcome] = []
        done = 0
        for key, found in groupby(series, lambda one: ModelKey(one.type, one.metric)):
            all_of_it = list(found)

            def step(part: float, done: int = done, size: int = len(all_of_it)) -> None:
                progress((done + part * size) / len(series))

            group = _group(key, all_of_it, book, training.seed)
            outcomes.append(
                Outcome(key, reason="the rules, or the preset, switch models off for it")
                if group is None
                else _train_group(connection, training, group, step)
            )
            done += len(all_of_it)
    if not any(outcome.info for outcome in outcomes):
        raise NothingTrainedError(_why_nothing(outcomes), "See docs/models.md for what it takes.")
    return outcomes


def _require_types(connection: "psycopg.Connection", types: Sequence[str] | None) -> None:
    known = stored_types(connection)
    unknown = [name for name in types or () if name not in known]
    if unknown:
        there = f"There are {', '.join(known)}." if known else "There are no devices in the database."
        raise InputError(f"no device is of type {', '.join(unknown)}", there)


def _why_nothing(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return "nothing to train on: no device in the database has readings"
    return "; ".join(f"{' '.join(outcome.key)}: {outcome.reason}" for outcome in outcomes)


def _group(key: ModelKey, series: Sequence[StoredSeries], book: ProfileBook, seed: int) -> _Group | None:
    """The series to take; None where their profiles want no model."""
    numbers = [(one, book.number(SeriesName(one.device_id, one.metric))) for one in series]
    wanting = [(one, book.table[number]) for one, number in numbers if _wants_model(book.table[number])]
    if not wanting:
        return None
    meaning = Meaning.of(wanting[0][1])
    taken = [(one, profile) for one, profile in wanting if Meaning.of(profile) == meaning]
    if len(taken) > MOST_SERIES:
        places = np.random.default_rng(seed).choice(len(taken), MOST_SERIES, replace=False)
        taken = [taken[place] for place in sorted(places)]
    return _Group(key, taken, len(series), meaning)


def _wants_model(profile: Table) -> bool:
    return bool(profile["model"]["on"]) and not profile["window"]["on"]


def _train_group(
    connection: "psycopg.Connection", training: Training, group: _Group, progress: Progress
) -> Outcome:
    gathered = []
    for place, (series, profile) in enumerate(group.series):
        found = _gather(connection, series, profile, training)
        if found is not None:
            gathered.append(found)
        progress((place + 1) / len(group.series))
    if not gathered:
        return Outcome(group.key, reason="it has no readings in that time")
    begin, end = min(one.first_us for one in gathered), max(one.last_us for one in gathered)
    held_out = end - round(HELD_OUT * (end - begin))
    panes = np.concatenate([one.panes[one.panes["closed"] < held_out] for one in gathered])
    healthy = panes[panes["excluded"] == 0]
    if len(healthy) < LEAST_PANES:
        return Outcome(group.key, reason=_too_little(gathered, len(healthy), end - begin, group.meaning))
    forest, make = fit(healthy, training.seed, training.alarms_per_day, group.meaning.pane_s)
    quality, scores = measure(forest, gathered, group.key.metric, held_out)
    content = pack_forest(forest)
    info = ModelInfo(
        **_provenance(),
        type=group.key.type,
        metric=group.key.metric,
        features=FEATURES,
        meaning=group.meaning,
        trained_from=_time(begin),
        trained_to=_time(end),
        held_out_from=_time(held_out),
        trained_at=training.now,
        readings=sum(one.readings for one in gathered),
        series=len(gathered),
        series_known=group.known,
        panes=len(healthy),
        excluded=len(panes) - len(healthy),
        usual=forest.usual,
        threshold=forest.threshold,
        seed=training.seed,
        forest=make,
        quality=quality,
        scores=scores,
        file=file_name(group.key, content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    return Outcome(group.key, info, save(training.folder, info, content))


def _too_little(gathered: Sequence[SeriesPanes], panes: int, span_us: int, meaning: Meaning) -> str:
    if not panes and not any(len(one.panes) for one in gathered) and span_us > 2 * 86_400_000_000:
        return "none of its series has panes to learn from: they say on or off, or hardly anything"
    days = (WARMUP_DAYS + LEAST_PANES * meaning.pane_s / 86_400.0 / len(gathered)) / (1.0 - HELD_OUT)
    return (
        f"{panes:,} healthy panes behind the first {WARMUP_DAYS:g} days of {len(gathered):,} series, over"
        f" {format_duration(round(span_us / 60e6) * 60)}; it takes {LEAST_PANES:,}, which so many series have after"
        f" about {format_duration(round(days * 24.0) * 3600)}"
    )


def _gather(
    connection: "psycopg.Connection", series: StoredSeries, profile: Table, training: Training
) -> SeriesPanes | None:
    """A series' panes; None where it has no readings."""
    anomalous = anomalous_times(connection, series, training.begin_us, training.end_us)
    gatherer = Gatherer(profile)
    panes, faulty = [np.zeros(0, PANE)], [np.zeros(0, np.int64)]
    first = last = interval = readings = 0
    for history in readings_of(connection, series, training.begin_us, training.end_us):
        if not readings:
            first = int(history.time[0])
            gaps = np.diff(history.time[:100])
            interval = int(statistics.median_low(gaps.tolist())) if len(gaps) else 0
        last = int(history.time[-1])
        readings += len(history.time)
        faulty.append(history.time[history.faulty])
        panes.append(gatherer.take(history, anomalous))
    if not readings:
        return None
    return SeriesPanes(
        series.device_id, np.concatenate(panes), first, last, interval, np.concatenate(faulty), readings
    )


def _provenance() -> Mapping[str, str]:
    try:
        software = version("sigmawatch")
    except PackageNotFoundError:  # run from a source tree that was not installed
        software = "unknown"
    return {"software": software, "scikit_learn": version("scikit-learn")}


def _time(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
