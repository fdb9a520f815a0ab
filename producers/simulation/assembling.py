"""A running simulation from its parts: fleet, schedule, and what is done between two pieces."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.clock import Clock
from producers.control.shards import parse_shard
from producers.devices.fleet_spec import FleetSpec
from producers.options import SimulateOptions
from producers.reloading import ExpandedFleet, FleetFile, Reloading, changes
from producers.simulation import snapshot
from producers.simulation.choosing import Chosen, Timeline, choose
from producers.simulation.control import CommandQueue
from producers.simulation.device_fleet import DeviceFleet
from producers.simulation.schedule import Schedule, plan_schedule
from producers.simulation.simulator import Chore, Output
from producers.watching import FileWatch
from schemas.dead_letters import TimeBounds
from schemas.errors import ConfigError

Arrays = Mapping[str, NDArray[np.generic]]

# Saving may take this part of the time at most, and is done this often at most.
_SAVE_SHARE, _SAVE_SECONDS = 0.02, 10.0


def make_fleet(chosen: Chosen) -> DeviceFleet:
    """The fleet at its beginning.

    Raises:
        ConfigError: it makes no sense.
    """
    keep = parse_shard(chosen.options.shard).owns
    return DeviceFleet(chosen.spec, chosen.catalogue, chosen.seed, chosen.interval_us, keep)


def resume_fleet(chosen: Chosen, path: Path) -> tuple[DeviceFleet, dict[str, Any], Arrays]:
    """The fleet as it was saved, changed to what the files say now, and what was saved beside it.

    Raises:
        InputError: there is no usable state.
        ConfigError: it does not fit the files or the options.
    """
    keep = parse_shard(chosen.options.shard).owns
    fleet, saved, arrays = snapshot.load(path, chosen.catalogue, keep)
    for name, old, new in (
        ("seed", fleet.seed, chosen.seed),
        ("interval", fleet.interval_us, chosen.interval_us),
        ("shard", saved.get("shard"), chosen.options.shard),
    ):
        if old != new:
            raise ConfigError(
                f"{path}: the saved simulation has another {name} ({old}) than this one ({new})",
                "Give the same, or start without --resume.",
            )
    old = ExpandedFleet.of(FleetSpec.model_validate(saved["spec"]), chosen.catalogue, chosen.seed)
    now = ExpandedFleet.of(chosen.spec, chosen.catalogue, chosen.seed)
    for command in changes(old, now, chosen.catalogue, chosen.seed, keep):
        fleet.apply(command)
    return fleet, saved, arrays


def scheduling(
    fleet: DeviceFleet,
    options: SimulateOptions,
    bounds: TimeBounds,
    timeline: Timeline,
    saved: dict[str, Any] | None = None,
) -> Callable[[int], Schedule]:
    """What gives the simulator its schedule when it begins, and a fresh fleet its timeline with it.

    A simulation that goes on in real time goes on now: the readings that would have been between are not made
    up. Any other goes on where it stood, to the end that it had.

    Args:
        fleet: fresh, or as it was saved.
        options: speed, start and duration.
        bounds: which event times are believed.
        timeline: what happens to a fresh fleet.
        saved: what was saved with the fleet, if it was; the schedule's end is put into it.
    """

    def plan(now_us: int) -> Schedule:
        if fleet.position_us is None:
            schedule = plan_schedule(options, now_us, bounds)
            for after_us, command in timeline:
                fleet.schedule(schedule.start_us + after_us, command)
        elif options.speed == 1.0 and options.start is None:
            fresh = plan_schedule(options, now_us, bounds)
            schedule = replace(fresh, start_us=max(fresh.start_us, fleet.position_us))
        else:
            schedule = Schedule(fleet.position_us, saved.get("end_us") if saved else None, options.speed)
        if saved is not None:
            saved["end_us"] = schedule.end_us
        return schedule

    return plan


def commanding(fleet: DeviceFleet, queue: CommandQueue) -> Chore:
    """Carries out what waits in the queue."""

    def chore(_time_us: int) -> None:
        queue.carry_out(fleet.apply)

    return chore


def reloading(
    fleet: DeviceFleet, chosen: Chosen, options: SimulateOptions, every: float, clock: Clock
) -> Chore:
    """Looks at the user's files now and then, and changes the fleet when they changed.

    Args:
        fleet: runs.
        chosen: what it was made of.
        options: from which `chosen` came.
        every: seconds between two looks.
        clock: whose seconds.
    """

    def load() -> FleetFile:
        return _file_of(choose(options))

    watch, keep = FileWatch(chosen.files, every, clock), parse_shard(options.shard).owns
    reload = Reloading(watch, load, _file_of(chosen), chosen.seed, keep)

    def chore(time_us: int) -> None:
        reload(fleet, time_us)

    return chore


def _file_of(chosen: Chosen) -> FleetFile:
    return FleetFile(chosen.spec, chosen.catalogue, asdict(chosen.legacy), chosen.files)


class Saving:
    """Saves the fleet now and then: a `Chore`.

    What is saved is the state at a time up to which all is safe in the output, so that a resumed simulation
    leaves no gap; what a crash after it makes it send again has the same keys and values.

    Args:
        fleet: runs.
        path: where to.
        output: flushed before.
        clock: the time.
        saved: JSON data that goes with it.
        arrays: the output's own state.
    """

    def __init__(
        self,
        fleet: DeviceFleet,
        path: Path,
        output: Output,
        clock: Clock,
        saved: dict[str, Any],
        arrays: Callable[[], Arrays],
    ) -> None:
        self._fleet = fleet
        self._path = path
        self._output = output
        self._clock = clock
        self._saved = saved
        self._arrays = arrays
        self._next = clock.monotonic() + _SAVE_SECONDS

    def __call__(self, _time_us: int) -> None:
        """Save if it is time."""
        if self._clock.monotonic() >= self._next:
            self.save()

    def save(self) -> None:
        """Save now.

        Raises:
            InputError: the file cannot be written.
        """
        began = self._clock.monotonic()
        self._output.flush()
        snapshot.save(self._fleet, self._path, self._saved, self._arrays())
        ended = self._clock.monotonic()
        self._next = ended + max(_SAVE_SECONDS, (ended - began) / _SAVE_SHARE)
