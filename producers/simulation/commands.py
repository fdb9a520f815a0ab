"""What can be done to a running fleet, as plain data: by the control API, a scenario, MQTT or a changed file.

Each command is applied between two readings, at a virtual time. What it did is returned as views, also plain data;
both cross process borders as JSON (`to_json`, `command_of`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from producers.devices.fleet_spec import FaultChances, Group
from schemas.errors import SigmawatchError
from schemas.readings import Device


class CommandError(SigmawatchError):
    """A command that cannot be carried out: its values make no sense."""


class UnknownDeviceError(CommandError):
    """There is no such device."""


class DeviceExistsError(CommandError):
    """There is one of that id already."""


class SimulationEndedError(CommandError):
    """Nobody carries commands out any more."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which devices: those that fit all that is given; nothing given: all.

    Attributes:
        device_id: one id, or a pattern with * and ?.
        type, place, city, manufacturer, firmware: as the devices have them; city and place also in patterns.
    """

    device_id: str | None = None
    type: str | None = None
    place: str | None = None
    city: str | None = None
    manufacturer: str | None = None
    firmware: str | None = None


@dataclass(frozen=True, slots=True)
class InjectFault:
    """Start a fault; it takes the place of one that is active.

    Attributes:
        select: on which devices; where they are of several types, on those that have the fault (none: an error).
        random_one: only one of them, chosen by the seed and the virtual time.
        fault: its kind; None: one of the device's type, by weight.
        readings, seconds: duration, one of the two; neither: drawn as the kind says; `until_cleared`: no end.
        intensity: in the kind's scale; None: drawn.
        onset: part of the duration in which it comes up; None: as the kind says.
    """

    select: Selector = field(default_factory=Selector)
    random_one: bool = False
    fault: str | None = None
    readings: int | None = None
    seconds: float | None = None
    until_cleared: bool = False
    intensity: float | None = None
    onset: float | None = None


@dataclass(frozen=True, slots=True)
class ClearFaults:
    """End the active faults of the devices."""

    select: Selector = field(default_factory=Selector)


@dataclass(frozen=True, slots=True)
class UpdateDevices:
    """Change devices; None leaves as it is.

    Attributes:
        online: an offline device sends nothing (its link is cut); enabled: a disabled one neither (switched off).
        parameters: as base_power, of the type's.
        state: the operating state to go to.
        fault_factor: multiplies the chance of faults.
    """

    select: Selector
    name: str | None = None
    place: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    firmware: str | None = None
    online: bool | None = None
    enabled: bool | None = None
    state: str | None = None
    fault_factor: float | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    reset_counters: bool = False


@dataclass(frozen=True, slots=True)
class CreateDevices:
    """Add the devices of a group.

    Attributes:
        group: which.
        exact: with the ids that the group says, an error if there is one of them; else numbered behind those that
            there are. Shards, of which each knows its own devices only, can agree on exact ids alone.
    """

    group: Group
    exact: bool = False


@dataclass(frozen=True, slots=True)
class DeleteDevices:
    """Remove devices; their records on the devices topic stay."""

    select: Selector


@dataclass(frozen=True, slots=True)
class SetFaultChances:
    """Change how often faults come by themselves, and which, for all groups of a type, or for all."""

    chances: FaultChances
    type: str | None = None


@dataclass(frozen=True, slots=True)
class ListDevices:
    """Ask for the views of devices, in the order of their ids; changes nothing. The outcome counts all that fit.

    Attributes:
        select: which.
        limit: show so many at most.
        faulty: only those with an active fault.
        after: show those with greater ids.
        offset: leave out so many of those that would be shown.
        newest: in the order of their last readings, the newest first, those without one left out; without `after`.
    """

    select: Selector = field(default_factory=Selector)
    limit: int | None = None
    faulty: bool = False
    after: str | None = None
    offset: int = 0
    newest: bool = False


SHOWN = 1000
"""Devices in the outcome of a change: of a fault on all of a great fleet nobody reads each view."""

Command = (
    InjectFault | ClearFaults | UpdateDevices | CreateDevices | DeleteDevices | SetFaultChances | ListDevices
)


@dataclass(frozen=True, slots=True)
class FaultView:
    """An active fault. `ends_us` and `readings_left` are None where it lasts until it is cleared."""

    fault: str
    intensity: float
    began_us: int
    ends_us: int | None
    readings_left: int | None
    injected: bool


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device as it stands: `values` are its last readings by metric, made at `time_us` (None: none yet)."""

    device: Device
    online: bool
    enabled: bool
    state: str | None
    parameters: dict[str, float]
    values: dict[str, float]
    time_us: int | None
    fault: FaultView | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did: how many devices it touched, and those, as they are now, by id.

    Of a change the first `SHOWN` are in it, of `ListDevices` those asked for. Faults are cleared where there was one.
    """

    count: int
    devices: list[DeviceView] = field(default_factory=list)


_COMMANDS: TypeAdapter[Command] = TypeAdapter(Command)
_NAMES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        InjectFault,
        ClearFaults,
        UpdateDevices,
        CreateDevices,
        DeleteDevices,
        SetFaultChances,
        ListDevices,
    )
}


def to_json(command: Command) -> dict[str, Any]:
    """A command as JSON data."""
    return {"command": type(command).__name__, **TypeAdapter(type(command)).dump_python(command, mode="json")}


def command_of(data: Mapping[str, Any]) -> Command:
    """The command that `to_json` wrote.

    Raises:
        CommandError: it is none.
    """
    fields = dict(data)
    kind = _NAMES.get(str(fields.pop("command", None)))
    if kind is None:
        raise CommandError(f"{data.get('command')!r} is no command", f"Commands are {', '.join(_NAMES)}.")
    try:
        command: Command = TypeAdapter(kind).validate_python(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise CommandError(
            f"{kind.__name__}.{place}: {problem['msg']}", "See the command's fields."
        ) from error
    return command
