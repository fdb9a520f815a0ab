"""Which profile a series has: asked once a series, and again when the answer may have changed."""

from collections.abc import Mapping
from typing import Protocol

from processors.engine.forests import NO_FORESTS, Forests
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
    Table,
    ValueMeaning,
    WindowLimits,
    records,
)
from processors.engine.series_index import SeriesName
from processors.engine.settings import Sides
from processors.engine.storms import StormLimits


class ProfileBook(Protocol):
    """The profiles of all series."""

    @property
    def table(self) -> Table:
        """(k,) of `PROFILE`; it may have grown after `number`."""

    def number(self, name: SeriesName) -> int:
        """Which row of the table a series has."""

    @property
    def forests(self) -> Forests:
        """What `model.number` of a profile says the row of."""

    def kinds(self, number: int) -> Mapping[str, str]:
        """Names that the anomalies of a profile have instead of the general ones."""

    def groups(self, device_id: str) -> tuple[str, ...]:
        """What a device has in common with others, as type:oven and place:Denver: storms are of these."""

    @property
    def storms(self) -> StormLimits:
        """When anomalies of many devices are a storm."""

    def origin(self, name: SeriesName) -> int:
        """What a series' state belongs to, as its device's firmware, 64 bit; a state of another origin is begun anew.

        0 where that does not matter or is not known.
        """


class OneProfile:
    """A book with one profile for every series."""

    def __init__(self, profile: Profile | None = None) -> None:
        self.profile = Profile() if profile is None else profile
        self.table = records([self.profile])
        self.forests = NO_FORESTS
        self.storms = StormLimits()

    def number(self, name: SeriesName) -> int:  # noqa: ARG002 - the same for every series
        """Row 0."""
        return 0

    def kinds(self, number: int) -> Mapping[str, str]:  # noqa: ARG002 - there is one
        """Those of the profile."""
        return self.profile.kinds

    def groups(self, device_id: str) -> tuple[str, ...]:  # noqa: ARG002 - nothing is known of it
        """None."""
        return ()

    def origin(self, name: SeriesName) -> int:  # noqa: ARG002 - the same for every series
        """No state is ever begun anew."""
        return 0


def moving_average(
    window_us: int = 600_000_000,
    panes: int = 10,
    k: float = 4.0,
    minimum_readings: int = 30,
    sides: Sides = Sides.BOTH,
) -> Profile:
    """The preset moving-average: mean and std of a sliding window alone, every deviating reading counted.

    Args:
        window_us: length of the window, µs of event time.
        panes: how many panes it is made of; it slides by one pane.
        k: multiple of the std beyond which a reading deviates.
        minimum_readings: readings in the window before it judges; until then the series is WARMING.
        sides: which deviations count.
    """
    return Profile(
        meaning=ValueMeaning(switch=False),
        alarm=AlarmLimits(warmup=minimum_readings, calm=1, calm_q=1.0, refractory=0, heat=0.0, sides=sides),
        window=WindowLimits(on=True, pane_us=window_us // panes, panes=panes, k=k),
        spike=SpikeLimits(on=False),
        jump=JumpLimits(on=False),
        range=RangeLimits(on=False),
        rare=RareLimits(on=False),
        energy=EnergyLimits(on=False),
        pattern=PatternLimits(on=False),
        shift=ShiftLimits(on=False),
        model=ModelLimits(on=False),
        stuck=StuckLimits(on=False),
        flicker=FlickerLimits(on=False),
        dwell=DwellLimits(on=False),
        gap=GapLimits(on=False),
    )
