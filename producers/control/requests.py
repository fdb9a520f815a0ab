"""What clients send.

Keys that are not known are passed over, as iot-mock-service did, and named in the answer's message: its clients send
back whole devices, and a mistyped key is still noticed.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from producers.devices.fleet_spec import FaultChances, Group
from producers.simulation.commands import (
    CommandError,
    DeviceView,
    InjectFault,
    Selector,
    SetFaultChances,
    UpdateDevices,
)
from schemas.web.errors import place_of

_MOST_READINGS = 1_000_000
_MOST_SECONDS = 366 * 86_400.0
MOST_CREATED = 10_000
_USUAL = {"base_power": 10.0, "base_voltage": 240.0}
"""What iot-mock-service gave a device whose maker said nothing."""

Text = Annotated[str, Field(max_length=200)]
Named = Annotated[str, Field(min_length=1, max_length=200)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
DeviceId = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^[^/?*#+{}\x00-\x20\x7f]+$", examples=["hvac-7"])
]


class Body(BaseModel):
    """A JSON object; keeps what it does not know, to name it."""

    model_config = ConfigDict(extra="allow")

    @property
    def ignored(self) -> str:
        """`; ignored: a, b` for the message, or nothing."""
        names = [name[:50] for name in (self.model_extra or {})]
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        return f"; ignored: {', '.join(names[:10])}{more}" if names else ""


class CreateDevice(Body):
    """A new device; what is not given comes from its type."""

    device_type: Annotated[str, Field(min_length=1, max_length=100, examples=["hvac"])]
    name: Text | None = None
    location: Text | None = Field(None, description="Name of its place.")
    base_power: Annotated[float, Field(ge=0.1, le=1000)] | None = Field(
        None, description="kW; of an energy device 10 unless given."
    )
    base_voltage: Annotated[float, Field(ge=100, le=600)] | None = Field(
        None, description="V; of an energy device 240 unless given."
    )
    device_id: DeviceId | None = Field(
        None, description="Without it a new one. The same id with the same seed has the same readings."
    )
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    timezone: Annotated[str, Field(max_length=100, examples=["Europe/Berlin"])] | None = None
    city: Named | None = Field(None, description="A known city, in place of a location.")
    manufacturer: Text | None = None
    model: Text | None = None
    firmware: Text | None = None
    serial_number: Text | None = None
    attributes: dict[Text, Text] = Field(default_factory=dict)
    parameters: dict[str, Finite] = Field(default_factory=dict)

    def group(self, device_id: str, known: Collection[str]) -> Group:
        """The group of this one device.

        Args:
            device_id: its id.
            known: the parameters that its type has.

        Raises:
            CommandError: what was given does not fit together.
        """
        given = {"base_power": self.base_power, "base_voltage": self.base_voltage}
        usual = {name: value for name, value in _USUAL.items() if name in known}
        own = {name: value for name, value in given.items() if value is not None}
        data = {
            "type": self.device_type,
            "device_id": device_id,
            "name": None if self.name is None else _literal(self.name),
            "cities": () if self.city is None else (self.city,),
            "locations": self._locations(),
            "manufacturer": self.manufacturer,
            "model": self.model,
            "firmware": () if self.firmware is None else (self.firmware,),
            "serial_number": self.serial_number,
            "attributes": self.attributes,
            "parameters": {**usual, **own, **self.parameters},
        }
        return group_of(data)

    def _locations(self) -> tuple[dict[str, Any], ...]:
        where = {"name": self.location, "latitude": self.latitude, "longitude": self.longitude}
        given = {
            name: value for name, value in {**where, "timezone": self.timezone}.items() if value is not None
        }
        return ({"name": "", **given},) if given else ()


class ChangeDevice(Body):
    """Changes to a device; what is not given, or null, stays as it is."""

    name: Text | None = None
    location: Text | None = Field(None, description="Name of its place.")
    base_power: Annotated[float, Field(ge=0.1, le=1000)] | None = Field(None, description="kW")
    base_voltage: Annotated[float, Field(ge=100, le=600)] | None = Field(None, description="V")
    enabled: bool | None = Field(None, description="false: switched off, sends nothing.")
    online: bool | None = Field(None, description="false: its link is cut, it sends nothing.")
    state: Named | None = Field(None, description="Operating state, of a type that has some.")
    manufacturer: Text | None = None
    model: Text | None = None
    firmware: Text | None = None
    fault_factor: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        None, description="Multiplies its chance of faults."
    )
    attributes: dict[Text, Text] | None = None
    parameters: dict[str, Finite] | None = None

    def beside(self, view: DeviceView) -> Self:
        """What of it is another than it was: a client that sends a whole device back has changed but a part of it."""
        now = view.parameters
        changes: dict[str, Any] = {
            name: None for name in ("base_power", "base_voltage") if getattr(self, name) == now.get(name)
        }
        for name, old in (("parameters", now), ("attributes", view.device.attributes)):
            given: dict[str, Any] = getattr(self, name) or {}
            changes[name] = {key: value for key, value in given.items() if value != old.get(key)}
        return self.model_copy(update=changes)

    def command(self, select: Selector) -> UpdateDevices:
        """As the fleet's command."""
        base = {"base_power": self.base_power, "base_voltage": self.base_voltage}
        return UpdateDevices(
            select,
            name=self.name,
            place=self.location,
            manufacturer=self.manufacturer,
            model=self.model,
            firmware=self.firmware,
            online=self.online,
            enabled=self.enabled,
            state=self.state,
            fault_factor=self.fault_factor,
            parameters={
                **{name: value for name, value in base.items() if value is not None},
                **(self.parameters or {}),
            },
            attributes=self.attributes or {},
        )


class SendCommand(Body):
    """A command to a device; docs/control.md lists them, as does the error for one that is not known."""

    command: Annotated[str, Field(min_length=1, max_length=100, examples=["set_power"])]
    parameters: dict[str, Any] | None = Field(None, examples=[{"power": 30}])


class TriggerAnomaly(Body):
    """A fault, as iot-mock-service asks for it."""

    device_id: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="Without it one of all, at random."
    )
    anomaly_type: Named | None = Field(None, description="A kind of fault; without it one of the type's.")
    duration: Annotated[int, Field(ge=1, le=50)] | None = Field(None, description="Readings.")
    power_multiplier: Annotated[float, Field(ge=0.5, le=10)] | None = Field(
        None,
        description="Of a kind that multiplies; without anomaly_type it means high_power_consumption.",
    )


class Select(BaseModel):
    """Which devices: those that fit all that is given, * and ? in it match; nothing given: all."""

    model_config = ConfigDict(extra="forbid")

    device_id: Named | None = None
    type: Named | None = None
    place: Named | None = None
    city: Named | None = None
    manufacturer: Named | None = None
    firmware: Named | None = None

    def selector(self) -> Selector:
        """As the fleet's."""
        return Selector(**self.model_dump())


class InjectFaults(Body):
    """A fault on devices; it takes the place of one that is active."""

    select: Select = Select()
    random_one: bool = Field(False, description="On one of them only.")
    fault: Named | None = Field(None, description="Its kind; without it one of the type's, by weight.")
    readings: Annotated[int, Field(ge=1, le=_MOST_READINGS)] | None = Field(
        None, description="Duration in readings."
    )
    seconds: Annotated[float, Field(gt=0, le=_MOST_SECONDS)] | None = Field(
        None, description="Duration in seconds of virtual time."
    )
    until_cleared: bool = False
    intensity: Annotated[float, Field(ge=-1e9, le=1e9)] | None = Field(
        None, description="In the kind's scale; without it drawn."
    )
    onset: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Part of the duration in which it comes up; 0 is sudden."
    )

    @model_validator(mode="after")
    def _one_duration(self) -> Self:
        if (self.readings is not None) + (self.seconds is not None) + self.until_cleared > 1:
            raise ValueError("give one of readings, seconds and until_cleared")
        return self

    def command(self) -> InjectFault:
        """As the fleet's command."""
        return InjectFault(
            self.select.selector(),
            random_one=self.random_one,
            fault=self.fault,
            readings=self.readings,
            seconds=self.seconds,
            until_cleared=self.until_cleared,
            intensity=self.intensity,
            onset=self.onset,
        )


class ClearThem(Body):
    """Whose faults end."""

    select: Select = Select()


class ChangeChances(Body):
    """How often faults come by themselves."""

    type: Named | None = Field(None, description="Of devices of a type; without it of all.")
    probability: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Chance per reading of a healthy device."
    )
    enabled: bool = True

    def command(self) -> SetFaultChances:
        """As the fleet's command."""
        return SetFaultChances(FaultChances(probability=self.probability, enabled=self.enabled), self.type)


class NewGroup(Group):
    """`count` devices of a type, as in a fleet file."""

    count: int = Field(1, ge=1, le=MOST_CREATED)

    def group(self) -> Group:
        """As the fleet's."""
        return Group.model_construct(**dict(self))


def group_of(data: Mapping[str, Any]) -> Group:
    """A group from its parts.

    Raises:
        CommandError: they make no sense, or not together.
    """
    try:
        return Group.model_validate(data)
    except ValidationError as error:
        problem = error.errors()[0]
        place, text = place_of(problem["loc"]), problem["msg"].removeprefix("Value error, ")
        raise CommandError(f"{place}: {text}" if place else text, "/docs says what is expected.") from None


def _literal(text: str) -> str:
    """A text as a template that gives it back."""
    return text.replace("{", "{{").replace("}", "}}")
