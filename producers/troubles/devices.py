"""What troubles a device as a whole, as columns by series: its clock and its link. Both are functions of the time alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from producers.batches import SeriesTable
from producers.exact import key_of
from producers.troubles.draws import TroubleStream, between, draw, microseconds
from producers.troubles.settings import Burst, ClockSkew

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]

_DAY_US = 86_400_000_000
_BILLION = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of the draws of n series: `series`, and `device` (the same for all series of a device), both (n,)."""

    series: Words
    device: Words

    @classmethod
    def of(cls, table: SeriesTable, seed: int, known: "Keys | None" = None) -> "Keys":
        """Keys of all series of a table; those that are `known` are not made again."""
        start = 0 if known is None else len(known.series)
        names = list(zip(table.device_ids[start:], table.metrics[start:], strict=True))
        devices = {
            device: key_of(seed, "troubles", device) for device in dict.fromkeys(table.device_ids[start:])
        }
        series = np.array([key_of(seed, "troubles", device, metric) for device, metric in names], np.uint64)
        device = np.array([devices[device] for device, _ in names], np.uint64)
        if known is None:
            return cls(series, device)
        return cls(np.concatenate([known.series, series]), np.concatenate([known.device, device]))


@dataclass(frozen=True, slots=True)
class Clocks:
    """The devices' clocks, as columns by series, (n,).

    A wrong clock is off by a constant, and drifts: for half a day it gains, for the next it loses, as a crystal does by
    day and night. So it stays within bounds whenever a simulation begins; and as it never jumps, times of a series
    that are 2 µs or more apart stay distinct.

    Attributes:
        wrong: whose clock is.
        offset: µs that it is ahead.
        drift: µs that it gains or loses in 1000 seconds.
        phase: µs by which its half days are moved.
    """

    wrong: Flags
    offset: Ints
    drift: Ints
    phase: Ints

    @classmethod
    def of(cls, settings: ClockSkew, device: Words) -> "Clocks":
        """The clocks of devices with these keys."""
        once = np.zeros(len(device), np.int64)
        turned = draw(device, once, TroubleStream.CLOCK_DIRECTION) < 0.5
        behind = (
            turned if settings.direction == "both" else np.full(len(device), settings.direction == "behind")
        )
        offset = between(draw(device, once, TroubleStream.CLOCK_OFFSET), *microseconds(settings.offset))
        low, high = settings.drift_ppm
        return cls(
            draw(device, once, TroubleStream.CLOCK) < settings.share,
            np.where(behind, -offset, offset),
            between(draw(device, once, TroubleStream.CLOCK_DRIFT), round(low * 1000), round(high * 1000)),
            between(draw(device, once, TroubleStream.CLOCK_PHASE), 0, _DAY_US - 1),
        )

    def shown(self, series: Ints, time: Ints) -> Ints:
        """What the wrong clocks of these series show at the true times, both (k,)."""
        of_day = (time + self.phase[series]) % _DAY_US
        gaining = np.minimum(of_day, _DAY_US - of_day) - _DAY_US // 4
        shown: Ints = time + self.offset[series] + gaining * self.drift[series] // _BILLION
        return shown


@dataclass(frozen=True, slots=True)
class Links:
    """The devices' links, as columns by series, (n,).

    Time is cut into stretches, other ones for each device; in each, an unstable link is lost once.

    Attributes:
        unstable: whose link is.
        phase: µs by which its stretches are moved.
        key: the device's key.
        every: µs of a stretch.
        hold: shortest and longest loss, µs.
    """

    unstable: Flags
    phase: Ints
    key: Words
    every: int
    hold: tuple[int, int]

    @classmethod
    def of(cls, settings: Burst, device: Words) -> "Links":
        """The links of devices with these keys."""
        once, every = np.zeros(len(device), np.int64), round(settings.every * 1e6)
        return cls(
            draw(device, once, TroubleStream.BURST) < settings.share,
            between(draw(device, once, TroubleStream.BURST_PHASE), 0, every - 1),
            device,
            every,
            microseconds(settings.hold),
        )

    def back(self, series: Ints, time: Ints) -> Ints:
        """When the unstable links of these series are there again, both (k,): `time` itself where they are not lost."""
        stretch, at = np.divmod(time + self.phase[series], self.every)
        key = self.key[series]
        hold = between(draw(key, stretch, TroubleStream.BURST_HOLD), *self.hold)
        begin = (draw(key, stretch, TroubleStream.BURST_BEGIN) * (self.every - hold + 1)).astype(np.int64)
        lost = (begin <= at) & (at < begin + hold)
        return np.where(lost, time - at + begin + hold, time)
