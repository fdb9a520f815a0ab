"""Logs of a partition, drawn by hypothesis: several devices of several kinds, and what befalls them on the way."""

import random
from dataclasses import dataclass
from functools import cached_property

from hypothesis import strategies as st

from schemas.readings import Reading
from tests.support.engines import SECOND, START

EXTREMES = (1e150, -1e150, -0.0, 5e-324, 3.5e38, -1e-300)
KINDS = ("noise", "constant", "switch", "counter", "steps", "extreme")
TROUBLES = ("spike", "level", "gap", "late", "repeated", "stuck")


def _value(kind, rng, tick):
    if kind == "noise":
        return rng.gauss(50, 1)
    if kind == "constant":
        return 7.25
    if kind == "switch":
        return float(tick // rng.choice([3, 4]) % 2)
    if kind == "counter":
        return 1000.0 + tick * 0.5
    if kind == "steps":
        return round(rng.gauss(20, 2))
    return rng.choice(EXTREMES) if rng.random() < 0.1 else rng.gauss(0, 1)


def _device(name, kind, ahead_s, seed, ticks, troubles):
    """(when it arrives, reading) of a device: a reading a second."""
    rng = random.Random(seed)
    by_tick = {tick: (what, length) for tick, what, length in troubles}
    level, silent, stuck, frozen = 0.0, 0, 0, 0.0
    for tick in range(ticks):
        what, length = by_tick.get(tick, ("", 0))
        if what == "level":
            level += 20.0
        silent = length if what == "gap" else max(silent - 1, 0)
        value = _value(kind, rng, tick) + (level if kind not in ("switch", "constant") else 0.0)
        if what == "spike":
            value += 40.0
        if what == "stuck":
            stuck, frozen = length, value
        value, stuck = (frozen, stuck - 1) if stuck else (value, 0)
        if silent:
            continue
        arrives = tick + (length if what == "late" else 0)
        reading = Reading(
            name, kind, START + (tick + ahead_s) * SECOND, value, "spike" if what == "spike" else None
        )
        yield arrives, reading
        if what == "repeated":
            yield tick + length, reading


@dataclass(frozen=True)
class Story:
    """What happens: `devices` (kind, clock ahead in s, seed); `troubles` (device, tick, what, length in ticks)."""

    devices: list
    ticks: int
    troubles: list

    @cached_property
    def readings(self):
        """In the order of the log."""
        rows = []
        for number, (kind, ahead_s, seed) in enumerate(self.devices):
            mine = [trouble[1:] for trouble in self.troubles if trouble[0] % len(self.devices) == number]
            rows += _device(f"device-{number}", kind, ahead_s, seed, self.ticks, mine)
        return [reading for _, reading in sorted(rows, key=lambda row: row[0])]


def _troubles(kinds, most):
    lengths = st.sampled_from([1, 5, 15, 30])
    return st.lists(
        st.tuples(st.integers(0, 3), st.integers(22, 80), st.sampled_from(kinds), lengths),
        min_size=1,
        max_size=most,
    )


_DEVICE = st.tuples(st.sampled_from(KINDS), st.sampled_from([0, 0, -40, 500]), st.integers(0, 99))

SILENCES = st.builds(
    Story,
    st.lists(_DEVICE, min_size=3, max_size=4),
    st.just(100),
    _troubles(("gap", "gap", "late", "spike", "level"), 6),
)
"""Devices that fall silent while others go on."""

STORIES = SILENCES | st.builds(
    Story,
    st.lists(_DEVICE, min_size=1, max_size=4),
    st.sampled_from([3, 60, 100]),
    _troubles(TROUBLES, 8),
)
