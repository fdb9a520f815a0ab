"""From options to what they mean: the fleet, its types, and what happens to it; cheap to import.

A fleet comes from a fleet file, from a scenario, or from sensor-log-generator's files. What an option says goes before
what the files say.
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from producers.devices.catalogue import DeviceCatalogue, group_type, load_catalogue
from producers.devices.fleet_spec import FleetSpec, Group
from producers.devices.fleets import load_fleet, spread_fleet
from producers.legacy.config import read_config, warning_of
from producers.legacy.convert import LegacyOptions, fleet_of
from producers.legacy.identity import read_identity
from producers.options import SimulateOptions
from producers.scenarios.files import load_scenario
from producers.scenarios.timeline import timeline_of
from producers.simulation.commands import Command, InjectFault
from schemas.errors import ConfigError
from schemas.settings import Settings

Timeline = list[tuple[int, Command]]
"""(µs after the beginning, command)."""

_DEFAULT_INTERVAL_S = 1.0
_DEFAULT_SEED = 1
# The faults of --demo: soon enough to be waited for, far enough apart to be told from each other.
_DEMO_FIRST, _DEMO_EVERY, _DEMO_FAULTS = 20, 30, 40


@dataclass(frozen=True, slots=True)
class Chosen:
    """A simulation, decided.

    Attributes:
        spec: the fleet.
        catalogue: its types.
        options: as given, with seed, interval and duration filled in from the files.
        timeline: what happens to it.
        files: the user's own, to be looked at again.
        legacy: what sensor-log-generator's files say beside the fleet.
        warning: what of them has no meaning here, in a line.
    """

    spec: FleetSpec
    catalogue: DeviceCatalogue
    options: SimulateOptions
    timeline: Timeline
    files: tuple[Path, ...]
    legacy: LegacyOptions = field(default_factory=LegacyOptions)
    warning: str | None = None

    @property
    def interval_us(self) -> int:
        """µs between two readings of a device."""
        assert self.options.interval is not None
        return round(self.options.interval * 1e6)

    @property
    def seed(self) -> int:
        """The seed."""
        assert self.options.seed is not None
        return self.options.seed


def options_of(settings: Settings) -> SimulateOptions:
    """The simulation that the settings describe."""
    given = settings.simulate
    return SimulateOptions(
        fleet=given.fleet,
        devices=given.devices,
        interval=given.interval,
        rate=given.rate,
        duration=given.duration,
        seed=given.seed,
        anomaly_rate=given.anomaly_rate,
        speed=given.speed,
        shard=given.shard,
    )


def choose(options: SimulateOptions) -> Chosen:
    """The simulation that the options mean.

    Raises:
        ConfigError: a file has an error, or an option makes no sense.
    """
    if options.config is not None or options.identity is not None:
        chosen = _from_legacy(options)
    elif options.scenario is not None:
        chosen = _from_scenario(options)
    else:
        spec = load_fleet(options.fleet)
        catalogue = load_catalogue([Path(name) for name in spec.types])
        chosen = Chosen(spec, catalogue, options, [], _own_files(Path(options.fleet), spec))
    spec = _changed(chosen.spec, options)
    interval = _interval(chosen.options, spec, chosen.catalogue)
    seed = next(given for given in (options.seed, spec.seed, _DEFAULT_SEED) if given is not None)
    chosen = replace(chosen, spec=spec, options=replace(chosen.options, interval=interval, seed=seed))
    if options.demo:
        chosen.timeline.extend(_demo(chosen.interval_us))
    return chosen


def _from_scenario(options: SimulateOptions) -> Chosen:
    assert options.scenario is not None
    scenario = load_scenario(options.scenario)
    options = replace(
        options,
        seed=scenario.seed if options.seed is None else options.seed,
        interval=options.interval or scenario.interval,
        duration=options.duration or scenario.duration,
    )
    catalogue = load_catalogue([Path(name) for name in scenario.fleet.types])
    return Chosen(scenario.fleet, catalogue, options, list(timeline_of(scenario)), ())


def _from_legacy(options: SimulateOptions) -> Chosen:
    config = None if options.config is None else read_config(options.config)
    identity = None if options.identity is None else read_identity(options.identity)
    spec, legacy = fleet_of(config, identity, has_token=options.has_token)
    catalogue = load_catalogue()
    files = tuple(path for path in (options.config, options.identity) if path is not None)
    warning = warning_of({str(options.config): legacy.ignored}) if config else None
    options = replace(
        options, interval=options.interval or legacy.interval, duration=options.duration or legacy.duration
    )
    return Chosen(spec, catalogue, options, [], files, legacy, warning)


def _own_files(path: Path, spec: FleetSpec) -> tuple[Path, ...]:
    """The files that a user's own fleet is made of; none for one that is shipped."""
    if not path.is_file():
        return ()
    beside = [spec.cities_file, spec.factors_file, *spec.types]
    return (path, *(Path(name) for name in beside if name is not None))


def _changed(spec: FleetSpec, options: SimulateOptions) -> FleetSpec:
    """A fleet with the number of devices, the anomaly rate and the range of normal values that the options give."""
    if options.devices is not None:
        spec = spread_fleet(spec, options.devices)
    groups = [_with_range(group, options.normal_range) for group in spec.groups]
    chances = spec.faults
    if options.anomaly_rate is not None:
        if not 0.0 <= options.anomaly_rate <= 1.0:
            raise ConfigError(f"anomaly rate {options.anomaly_rate}", "It is a share between 0 and 1.")
        chances = chances.model_copy(update={"probability": options.anomaly_rate})
        groups = [
            group.model_copy(update={"faults": group.faults.model_copy(update={"probability": None})})
            for group in groups
        ]
    return spec.model_copy(update={"groups": tuple(groups), "faults": chances})


def _with_range(group: Group, normal_range: tuple[float, float] | None) -> Group:
    if normal_range is None or group.type != "signal":
        return group
    low, high = normal_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"range of normal values {low} to {high}", "Give two numbers, the lower first.")
    return group.model_copy(update={"parameters": {**group.parameters, "low": low, "high": high}})


def _interval(options: SimulateOptions, spec: FleetSpec, catalogue: DeviceCatalogue) -> float:
    """Seconds of virtual time between two readings of a device."""
    given = (options.interval, spec.interval, _DEFAULT_INTERVAL_S)
    interval = next(seconds for seconds in given if seconds is not None)
    if options.rate is not None:
        if not (options.rate > 0.0 and math.isfinite(options.rate)):
            raise ConfigError(f"rate of {options.rate} readings a second", "Give a positive number.")
        series = sum(
            group.count * len(group_type(catalogue, group, spec.faults).metrics) for group in spec.groups
        )
        interval = series / options.rate
    if not (interval > 0.0 and math.isfinite(interval)):
        raise ConfigError(f"interval of {interval} seconds", "Give a positive number.")
    return interval


def _demo(interval_us: int) -> Timeline:
    """Faults on devices chosen by the seed, one every now and then."""
    times = (_DEMO_FIRST + number * _DEMO_EVERY for number in range(_DEMO_FAULTS))
    return [(readings * interval_us, InjectFault(random_one=True)) for readings in times]
