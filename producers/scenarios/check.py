"""Whether a scenario's entries make sense for its fleet: followed on paper, before anything runs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from producers.devices.catalogue import DeviceCatalogue, group_type
from producers.devices.expand import expand
from producers.devices.fleet_spec import DeviceSpec, FaultChances, FleetSpec, Group
from producers.devices.model import DeviceType
from producers.documents import nearest
from producers.scenarios.model import Entry, Select, UpdateAction
from producers.simulation.selecting import matcher
from schemas.durations import format_duration
from schemas.errors import ConfigError
from schemas.readings import Location


@dataclass(frozen=True, slots=True)
class _Device:
    """A device as it stands at some point of the timeline, and its type with its group's changes."""

    spec: DeviceSpec
    kind: DeviceType


def check_entries(
    entries: Iterable[tuple[str, Entry]], fleet: FleetSpec, catalogue: DeviceCatalogue, duration: float | None
) -> None:
    """Follow the entries through: each must concern some device, and name what that device has.

    Args:
        entries: each with what errors call it, in the order of time.
        fleet: whose devices there are at the beginning.
        catalogue: their types.
        duration: of the scenario.

    Raises:
        ConfigError: says which entry, what is wrong, and the nearest name that there is.
    """
    devices = _devices(fleet, catalogue)
    for place, entry in entries:
        _check_times(place, entry, duration)
        chosen = _chosen(place, entry, devices) if entry.create is None else []
        if entry.fault is not None and entry.fault.kind is not None:
            _check_fault(place, entry.fault.kind, chosen)
        elif entry.update is not None:
            changed = _updated(place, entry.update, chosen)
            devices = [changed.get(device.spec.device_id, device) for device in devices]
        elif entry.delete:
            gone = {device.spec.device_id for device in chosen}
            devices = [device for device in devices if device.spec.device_id not in gone]
        elif entry.create is not None:
            devices += _created(place, entry.create, catalogue, fleet.faults)
        elif entry.chances is not None:
            _check_chances(place, entry.chances, chosen)


def _devices(fleet: FleetSpec, catalogue: DeviceCatalogue) -> list[_Device]:
    kinds = [group_type(catalogue, group, fleet.faults) for group in fleet.groups]
    return [_Device(spec, kinds[spec.group]) for spec in expand(fleet, catalogue, fleet.seed or 1)]


def _check_times(place: str, entry: Entry, duration: float | None) -> None:
    if duration is not None and entry.at >= duration:
        raise ConfigError(
            f"{place}: the scenario ends after {format_duration(duration)}",
            "Give an earlier `at`, or a longer duration.",
        )
    if entry.repeat and entry.repeat.times is None and duration is None:
        raise ConfigError(f"{place}: repeat without an end", "Give repeat.times, or the scenario's duration.")


def _chosen(place: str, entry: Entry, devices: list[_Device]) -> list[_Device]:
    fits = matcher(entry.select.selector)
    chosen = [device for device in devices if fits(device.spec, device.kind.name)]
    if chosen:
        return chosen
    for key in entry.select.model_fields_set:
        alone = matcher(Select(**{key: getattr(entry.select, key)}).selector)
        if not any(alone(device.spec, device.kind.name) for device in devices):
            known = {text for device in devices for text in _texts(key, device)}
            raise ConfigError(
                f"{place}: select.{key}: no device of {getattr(entry.select, key)}",
                nearest(str(getattr(entry.select, key)), known - {""}),
            )
    raise ConfigError(f"{place}: select: no device fits all of it", "Leave a part of it out.")


def _texts(key: str, device: _Device) -> tuple[str, ...]:
    """What a device has to say to a key of `select`."""
    spec = device.spec
    where = spec.location.name if spec.location else ""
    read: Mapping[str, Callable[[], tuple[str, ...]]] = {
        "device_id": lambda: (spec.device_id,),
        "type": lambda: (device.kind.name,),
        "place": lambda: (spec.attributes.get("place", ""), where),
        "city": lambda: (spec.attributes.get("city", ""), where),
        "manufacturer": lambda: (spec.manufacturer,),
        "firmware": lambda: (spec.firmware,),
    }
    return read[key]()


def _check_fault(place: str, kind: str, chosen: list[_Device]) -> None:
    if not any(kind in device.kind.faults for device in chosen):
        types = ", ".join(sorted({device.kind.name for device in chosen}))
        known = {name for device in chosen for name in device.kind.faults}
        raise ConfigError(f"{place}: fault.kind: {types} has no fault {kind}", nearest(kind, known))


def _updated(place: str, update: UpdateAction, chosen: list[_Device]) -> dict[str, _Device]:
    """The devices after an update, by id."""
    fields = ("name", "manufacturer", "model", "firmware")
    given: dict[str, Any] = {name: value for name in fields if (value := getattr(update, name)) is not None}
    changed = {}
    for device in chosen:
        _check_state(place, update.state, device.kind)
        parameters = _parameters(place, update.parameters, device)
        attributes = device.spec.attributes | update.attributes
        spec = replace(device.spec, **given, attributes=attributes, parameters=parameters)
        if update.place is not None:
            spec = replace(spec, location=replace(spec.location or Location(), name=update.place))
        changed[spec.device_id] = replace(device, spec=spec)
    return changed


def _check_state(place: str, state: str | None, kind: DeviceType) -> None:
    if state is not None and state not in kind.states:
        raise ConfigError(
            f"{place}: update.state: {kind.name} has no state {state}", nearest(state, kind.states)
        )


def _parameters(place: str, parameters: Mapping[str, float], device: _Device) -> dict[str, float]:
    kind = device.kind
    if unknown := [name for name in parameters if name not in kind.parameters]:
        raise ConfigError(
            f"{place}: update.parameters: {kind.name} has no {unknown[0]}",
            nearest(unknown[0], kind.parameters),
        )
    try:
        kind.parameter_values(parameters, device.spec.parameters)
    except ValueError as error:
        raise ConfigError(f"{place}: update.parameters: {error}", "Give another number.") from error
    return {**device.spec.parameters, **parameters}


def _created(place: str, group: Group, catalogue: DeviceCatalogue, chances: FaultChances) -> list[_Device]:
    try:
        return _devices(FleetSpec(groups=(group,), faults=chances), catalogue)
    except ConfigError as error:
        raise ConfigError(f"{place}: create: {error.message}", error.remedy) from error


def _check_chances(place: str, chances: FaultChances, chosen: list[_Device]) -> None:
    known = {name for device in chosen for name in device.kind.faults}
    for kind, entry in chances.kinds.items():
        if kind not in known and not entry.keys() >= {"effect", "duration"}:
            raise ConfigError(f"{place}: chances.kinds: no fault {kind}", nearest(kind, known))
