"""Engines outside Kafka: readings in, anomalies and states out."""

import itertools
from functools import lru_cache

import numpy as np

from processors.engine.batch import ReadingBatch
from processors.engine.book import OneProfile, moving_average
from processors.engine.partition import PartitionEngine
from processors.engine.profile import (
    AlarmLimits,
    DwellLimits,
    EnergyLimits,
    FlickerLimits,
    GapLimits,
    JumpLimits,
    ModelLimits,
    PatternLimits,
    Profile,
    RangeLimits,
    RareLimits,
    ShiftLimits,
    SpikeLimits,
    StuckLimits,
    ValueMeaning,
)
from processors.engine.record import pack
from processors.engine.series_index import SeriesName
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.columns import decode_readings
from schemas.dead_letters import TimeBounds
from schemas.readings import AnomalyState, Reading

CODEC = Codec(Catalogue())
SECOND = 1_000_000
START = 1_700_000_000 * SECOND
SERIES = SeriesName("d", "m")
STAMP_MS = 4_000_000_000_000
"""Kafka timestamp of the first record, so far on that no event time is ahead of it; each next one is a millisecond later."""

WINDOW_US, PANES = 60 * SECOND, 6
WINDOWED = moving_average(WINDOW_US, PANES, k=4.0, minimum_readings=10)
QUICK = Profile(
    meaning=ValueMeaning(pane_s=2.0),
    alarm=AlarmLimits(warmup=12, calm=2, accept=20, refractory=10, heat_decay_s=60.0),
    flicker=FlickerLimits(warmup=10),
    dwell=DwellLimits(threshold=15.0, stays=4.0, warmup=20.0),
)
"""All channels, with patience for short tests."""

PRESETS = {"standard": Profile(), "quick": QUICK, "moving-average": WINDOWED}

_OFF = {
    "spike": SpikeLimits(on=False),
    "jump": JumpLimits(on=False),
    "range": RangeLimits(on=False),
    "rare": RareLimits(on=False),
    "energy": EnergyLimits(on=False),
    "pattern": PatternLimits(on=False),
    "shift": ShiftLimits(on=False),
    "model": ModelLimits(on=False),
    "stuck": StuckLimits(on=False),
    "flicker": FlickerLimits(on=False),
    "dwell": DwellLimits(on=False),
    "gap": GapLimits(on=False),
}


def only(**parts):
    """A profile in which the channels named are alone."""
    return Profile(**{**_OFF, **parts})


def engine_of(profile):
    """An engine with one profile for all series."""
    return PartitionEngine(OneProfile(profile))


@lru_cache(maxsize=10_000)
def _message(reading):
    return CODEC.encode_reading(reading)


def batch(readings, first_offset=0, stamps_ms=None):
    """Consecutive records of a partition; what is no `Reading` is a message as it is."""
    values = [_message(r) if isinstance(r, Reading) else r for r in readings]
    offsets = np.arange(first_offset, first_offset + len(values), dtype=np.int64)
    stamps = STAMP_MS + offsets if stamps_ms is None else np.array(stamps_ms, np.int64)
    return ReadingBatch(
        offsets,
        stamps,
        decode_readings(values, stamps, CODEC, TimeBounds()),
    )


def apply_in(engine, readings, cuts=(), first_offset=0):
    """Apply readings cut into batches at `cuts`: all anomalies."""
    return judged_in(engine, readings, cuts, first_offset)[0]


def judged_in(engine, readings, cuts=(), first_offset=0):
    """The same, with each reading's q."""
    edges = [0, *sorted(cuts), len(readings)]
    anomalies, q = [], []
    for begin, end in itertools.pairwise(edges):
        applied = engine.apply(batch(readings[begin:end], first_offset + begin))
        anomalies += applied.anomalies
        q.append(applied.q)
    return anomalies, np.concatenate(q)


def series(values, *, device="d", metric="m", step=SECOND, start=START, fault=None):
    """A reading of each value, one after the other."""
    return [Reading(device, metric, start + i * step, float(v), fault) for i, v in enumerate(values)]


def record(engine, name=SERIES):
    """The bytes that a checkpoint writes of a series."""
    number = engine.index.get(name)
    (packed,) = pack(engine.states, np.array([number]), {number: engine.faults_of(number)})
    return packed


def all_records(engine):
    """The same of all series, by name."""
    return {name: record(engine, name) for name in engine.index.names}


def opened(anomalies):
    """Those that opened an episode."""
    return [a for a in anomalies if a.state is AnomalyState.OPENED]


def cleared(anomalies):
    """Those that ended one."""
    return [a for a in anomalies if a.state is AnomalyState.CLEARED]


def second_of(time_us):
    """Seconds since `START`."""
    return (time_us - START) / SECOND
