"""From a changed fleet file to commands: what brings a running fleet from the old description to the new one.

Devices that the change does not concern are not touched and keep their state. What a command can say of a device is
changed in place; a device whose metrics, coordinates or serial number are others is removed and made anew.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import structlog

from producers.devices.catalogue import DeviceCatalogue
from producers.devices.expand import expand, fleet_types
from producers.devices.fleet_spec import DeviceSpec, FaultChances, FleetSpec, Group, Place
from producers.devices.model import DeviceType
from producers.simulation.commands import (
    Command,
    CommandError,
    CreateDevices,
    DeleteDevices,
    Outcome,
    Selector,
    SetFaultChances,
    UpdateDevices,
)
from producers.simulation.population import DEFAULT_PROBABILITY
from producers.watching import FileWatch
from schemas.errors import ConfigError, SigmawatchError

_log = structlog.get_logger(__name__)

_RESTART = "Put it back, or start the simulation again (--resume keeps its state)."
_TEXTS = ("name", "manufacturer", "model", "firmware")
"""What `UpdateDevices` changes of a device, beside parameters and attributes."""


@dataclass(frozen=True, slots=True)
class ExpandedFleet:
    """A fleet, device by device.

    Attributes:
        spec: what it was made of.
        devices: each complete.
        types: of each of the spec's groups, with the group's and the fleet's changes.
        documents: of each type that it has, what the catalogue says.
    """

    spec: FleetSpec
    devices: tuple[DeviceSpec, ...]
    types: tuple[DeviceType, ...]
    documents: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, spec: FleetSpec, catalogue: DeviceCatalogue, seed: int) -> "ExpandedFleet":
        """The fleet that `spec` describes.

        Raises:
            ConfigError: it makes no sense.
        """
        devices, types = tuple(expand(spec, catalogue, seed)), tuple(fleet_types(spec, catalogue))
        return cls(spec, devices, types, {kind.name: catalogue.documents[kind.name] for kind in types})

    def chances(self, group: int) -> "_Chances":
        """How often faults come in a group, and which."""
        own, of_all = self.spec.groups[group].faults, self.spec.faults
        given = (own.probability, of_all.probability, DEFAULT_PROBABILITY)
        probability = next(chance for chance in given if chance is not None)
        kind = self.types[group]
        faults = {name: fault.model_dump(mode="json") for name, fault in kind.faults.items()}
        return _Chances(probability if own.enabled and of_all.enabled else 0.0, faults)


@dataclass(frozen=True, slots=True)
class _Chances:
    """A group's chance of a fault per reading, and its faults, complete."""

    probability: float
    faults: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Both:
    """A device before and after."""

    old: DeviceSpec
    new: DeviceSpec

    @property
    def groups(self) -> tuple[int, int]:
        """Its group before and after."""
        return self.old.group, self.new.group


def changes(
    old: ExpandedFleet,
    new: ExpandedFleet,
    catalogue: DeviceCatalogue,
    seed: int,
    keep: Callable[[str], bool] | None = None,
) -> list[Command]:
    """The commands that make `old`, which runs, to `new`; none where nothing changed.

    Args:
        old: what runs.
        new: what is wanted.
        catalogue: of the running fleet.
        seed: of the running fleet.
        keep: of the devices those that it has; a shard keeps its own.

    Raises:
        ConfigError: a running fleet cannot be changed so.
    """
    keep = keep or (lambda _device_id: True)
    _check_types(new, catalogue)
    before = {device.device_id: device for device in old.devices}
    after = {device.device_id: device for device in new.devices}
    both = [_Both(before[device_id], device) for device_id, device in after.items() if device_id in before]
    unlike = _unlike_types(both, old, new)
    remade = {pair.new.device_id for pair in both if pair.groups in unlike or _must_be_remade(pair)}
    kept = [pair for pair in both if pair.new.device_id not in remade]
    chances, cannot = _chances(kept, old, new)
    remade |= cannot
    gone = [device_id for device_id in before if device_id not in after or device_id in remade]
    fresh = [device for device in new.devices if device.device_id not in before or device.device_id in remade]
    updates = (
        _update(pair) for pair in kept if pair.new.device_id not in remade and keep(pair.new.device_id)
    )
    return [
        *(DeleteDevices(Selector(device_id=device_id)) for device_id in gone if keep(device_id)),
        *chances,
        *(update for update in updates if update is not None),
        *_creations(fresh, new, catalogue, seed),
    ]


def _check_types(new: ExpandedFleet, catalogue: DeviceCatalogue) -> None:
    """A running fleet knows the types that it began with."""
    for name, document in new.documents.items():
        if catalogue.documents.get(name) != document:
            what = "was changed" if name in catalogue.documents else "is new"
            raise ConfigError(
                f"the device type {name} {what}, which a running fleet cannot take over", _RESTART
            )


def _unlike_types(both: Iterable[_Both], old: ExpandedFleet, new: ExpandedFleet) -> set[tuple[int, int]]:
    """Pairs of groups whose types differ in more than their faults."""
    healthy = {"faults": {}, "fault_factor": 1.0}
    return {
        (was, becomes)
        for was, becomes in {pair.groups for pair in both}
        if old.types[was].model_copy(update=healthy) != new.types[becomes].model_copy(update=healthy)
    }


def _must_be_remade(pair: _Both) -> bool:
    """Whether a device differs in what no command changes."""
    was, becomes = pair.old, pair.new
    return (
        was.location != becomes.location
        or was.serial_number != becomes.serial_number
        or not was.attributes.keys() <= becomes.attributes.keys()
    )


def _update(pair: _Both) -> UpdateDevices | None:
    """What changes a device in place; None where there is nothing to change."""
    was, becomes = pair.old, pair.new
    texts = {name: getattr(becomes, name) for name in _TEXTS if getattr(becomes, name) != getattr(was, name)}
    parameters = _differing(was.parameters, becomes.parameters)
    attributes = _differing(was.attributes, becomes.attributes)
    if not (texts or parameters or attributes):
        return None
    return UpdateDevices(
        Selector(device_id=was.device_id), **texts, parameters=parameters, attributes=attributes
    )


def _differing(was: Mapping[str, Any], becomes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in becomes.items() if was.get(name) != value}


def _chances(
    kept: Iterable[_Both], old: ExpandedFleet, new: ExpandedFleet
) -> tuple[list[SetFaultChances], set[str]]:
    """Commands for types whose chances of faults changed, and devices whose chances no command can set.

    A command sets the chances of all groups of a type. Where those are to differ, the devices are made anew.
    """
    was = [old.chances(group) for group in range(len(old.types))]
    becomes = [new.chances(group) for group in range(len(new.types))]
    same = {pair.groups: was[pair.old.group] == becomes[pair.new.group] for pair in kept}
    changed: dict[str, list[_Both]] = {}
    for pair in kept:
        if not same[pair.groups]:
            changed.setdefault(new.types[pair.new.group].name, []).append(pair)
    commands: list[SetFaultChances] = []
    cannot: set[str] = set()
    for name, pairs in changed.items():
        targets = [becomes[group] for group, kind in enumerate(new.types) if kind.name == name]
        if all(target == targets[0] for target in targets):
            from_groups = {pair.old.group for pair in pairs}
            commands.append(
                SetFaultChances(_laid_over([was[group] for group in from_groups], targets[0]), name)
            )
        else:
            cannot |= {pair.new.device_id for pair in pairs}
    return commands, cannot


def _laid_over(was: Sequence[_Chances], becomes: _Chances) -> FaultChances:
    """What has to be said so that chances become others: kinds that differ complete, and lost ones with no weight."""
    kinds = {
        name: fault
        for name, fault in becomes.faults.items()
        if any(one.faults.get(name) != fault for one in was)
    }
    lost = {name for one in was for name in one.faults if name not in becomes.faults}
    return FaultChances(
        probability=becomes.probability, kinds=kinds | {name: {"weight": 0.0} for name in lost}
    )


def _creations(
    fresh: Sequence[DeviceSpec], new: ExpandedFleet, catalogue: DeviceCatalogue, seed: int
) -> Iterator[CreateDevices]:
    """Commands that make devices of a fleet: stretches of a group at once, where that gives the same devices."""
    first = {device.device_id: number for number, device in enumerate(new.devices)}
    begins: dict[int, int] = {}
    for number, device in enumerate(new.devices):
        begins.setdefault(device.group, number)
    numbered = [(first[device.device_id] - begins[device.group], device) for device in fresh]
    # Neighbours of a group have the same difference between their place there and here.
    stretches = groupby(enumerate(numbered), key=lambda one: (one[1][1].group, one[1][0] - one[0]))
    for _, stretch in stretches:
        run = [one for _, one in stretch]
        group = _whole_chances(new.spec.groups[run[0][1].group], new.chances(run[0][1].group))
        together = group.model_copy(
            update={"count": len(run), "first_number": group.first_number + run[0][0]}
        )
        devices = [device for _, device in run]
        if _makes(together, devices, catalogue, seed):
            yield CreateDevices(together, exact=True)
        else:
            yield from (
                CreateDevices(_group_of(device, group, new.types[device.group]), exact=True)
                for device in devices
            )


def _makes(group: Group, devices: Sequence[DeviceSpec], catalogue: DeviceCatalogue, seed: int) -> bool:
    """Whether the group, alone, is exactly these devices."""
    try:
        made = expand(FleetSpec(groups=(group,)), catalogue, seed)
    except ConfigError:  # cities of the user's own, which a group alone does not know
        return False
    return made == [replace(device, group=0) for device in devices]


def _whole_chances(group: Group, chances: _Chances) -> Group:
    """The group with its chances of faults as they are, whatever the running fleet has for all its groups."""
    return group.model_copy(
        update={"faults": FaultChances(probability=chances.probability, kinds=chances.faults)}
    )


def _group_of(device: DeviceSpec, group: Group, kind: DeviceType) -> Group:
    """A group with a device in it and nothing left to be drawn."""
    where, place = device.location, device.attributes.get("place")
    settable = {name for name, parameter in kind.parameters.items() if not parameter.made_of}
    return group.model_copy(
        update={
            "count": 1,
            "device_id": _as_template(device.device_id),
            "name": _as_template(device.name),
            "places": (place,) if place else (),
            "cities": (),
            "city_filter": None,
            "locations": ()
            if where is None
            else (Place(**{name: getattr(where, name) for name in Place.model_fields}),),
            "gps_radius_m": 0.0,
            "manufacturer": device.manufacturer,
            "model": device.model,
            "firmware": (device.firmware,),
            "serial_number": device.serial_number,
            "attributes": device.attributes,
            "parameters": {name: value for name, value in device.parameters.items() if name in settable},
        }
    )


def _as_template(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


@dataclass(frozen=True, slots=True)
class FleetFile:
    """What a fleet's files say now.

    Attributes:
        spec: the fleet.
        catalogue: its types, with those of the user's own.
        rest: everything else that the files set, by name; it is taken over at the next start only.
        files: those that are to be watched from now on; none: as before.
    """

    spec: FleetSpec
    catalogue: DeviceCatalogue
    rest: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


class _Fleet(Protocol):
    """What can be changed: `producers.simulation.device_fleet.DeviceFleet`."""

    def apply(self, what: Command) -> Outcome:
        """Carry out a command."""


class Reloading:
    """Looks at a fleet's files between two steps, and changes the running fleet when they changed.

    Args:
        watch: the files.
        load: reads them; its ConfigError refuses them, and what runs stays.
        running: what `load` gave at the start.
        seed: of the running fleet.
        keep: of the devices those that it has; a shard keeps its own.
    """

    def __init__(
        self,
        watch: FileWatch,
        load: Callable[[], FleetFile],
        running: FleetFile,
        seed: int,
        keep: Callable[[str], bool] | None = None,
    ) -> None:
        self._watch = watch
        self._load = load
        self._file = running
        self._began = running
        self._seed = seed
        self._keep = keep
        # Most files never change: not before one does is it worth the time.
        self._running: ExpandedFleet | None = None

    def __call__(self, fleet: _Fleet, time_us: int) -> None:
        """Do it, if a file changed; a refusal is logged with its reason, and so is a command that failed."""
        changed = [str(path) for path in self._watch.changed()]
        if not changed:
            return
        try:
            file = self._load()
            expanded = ExpandedFleet.of(file.spec, file.catalogue, self._seed)
            commands = self._commands(expanded)
        except SigmawatchError as error:
            _log.warning("changed file refused, the old one stays", files=changed, reason=str(error))
            return
        failed = [reason for command in commands if (reason := _applied(fleet, command))]
        _log.info(
            "changed file taken over",
            files=changed,
            changes=len(commands) - len(failed),
            failed=failed,
            after_restart=_later(self._file, file),
            time_us=time_us,
        )
        self._running, self._file = expanded, file
        if file.files:
            self._watch.watch(file.files)

    def _commands(self, expanded: ExpandedFleet) -> list[Command]:
        began = self._began
        if expanded.spec.faults.enabled and not began.spec.faults.enabled:
            raise ConfigError("faults.enabled: the fleet began without faults", _RESTART)
        if self._running is None:
            self._running = ExpandedFleet.of(began.spec, began.catalogue, self._seed)
        return changes(self._running, expanded, began.catalogue, self._seed, self._keep)


def _applied(fleet: _Fleet, command: Command) -> str | None:
    """Carry a command out; the reason if it cannot be, as when its device was removed by somebody else."""
    try:
        fleet.apply(command)
    except (CommandError, ConfigError) as error:
        return str(error)
    return None


def _later(old: FleetFile, new: FleetFile) -> list[str]:
    """What changed and is taken over at the next start only."""
    names = ("interval", "seed", "factors_file")
    of_fleet = [name for name in names if getattr(old.spec, name) != getattr(new.spec, name)]
    of_rest = [name for name in {**old.rest, **new.rest} if old.rest.get(name) != new.rest.get(name)]
    return of_fleet + of_rest
