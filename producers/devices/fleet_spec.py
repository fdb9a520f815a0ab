"""Which devices a fleet has: groups of a type, as a fleet file, an option or a program gives them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from producers.devices.amounts import Seconds
from producers.devices.base import Model, Name, Names, Texts
from producers.devices.templates import ID_FIELDS, NAME_FIELDS, check_template
from schemas.readings import Location


class Place(Model):
    """Where devices stand."""

    name: str
    latitude: float | None = Field(None, ge=-90, le=90)
    longitude: float | None = Field(None, ge=-180, le=180)
    timezone: str = Field("UTC", description="IANA name, as Europe/Berlin.")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, LookupError):
            raise ValueError("there is no such time zone; names are as Europe/Berlin") from None
        return name


class FaultChances(Model):
    """How often faults come by themselves, and which."""

    probability: float | None = Field(None, ge=0, le=1, description="Chance per reading of a healthy device.")
    enabled: bool = True
    kinds: dict[Name, dict[str, Any]] = Field(
        default_factory=dict,
        description="Changes to the type's faults, as {spike: {weight: 0.4, duration: 30s}}; a new name needs all of its keys.",
    )


class CityFilter(Model):
    """Which of the cities."""

    min_population: int = Field(0, ge=0)
    max_population: int | None = Field(None, ge=0)
    include_countries: Texts = Field((), description="ISO codes, as US; none: all.")
    exclude_countries: Texts = ()
    largest: int | None = Field(None, ge=1, description="Only so many, the largest.")


class Group(Model):
    """`count` devices of a type; what is not given comes from the type."""

    type: Name
    count: int = Field(1, ge=1, le=1_000_000)
    device_id: str | None = Field(None, description="Template of the ids, or the id of the only device.")
    first_number: int = Field(1, ge=0, le=1_000_000_000)
    name: str | None = Field(None, description="Template as device_id.")
    places: Texts = Field((), description="Kinds of places, as restaurant, from which each device has one.")
    cities: Texts = Field(
        (), description="Names of known cities from which each device has one; `any` for all."
    )
    city_filter: CityFilter | None = Field(
        None, description="Which of the cities; alone it means `cities: any`."
    )
    locations: tuple[Place, ...] = Field((), description="Places of the user's own, in turn.")
    gps_radius_m: float = Field(0.0, ge=0, description="Each device stands at random within so many metres.")
    manufacturer: str | None = None
    model: str | None = None
    firmware: Texts = ()
    serial_number: str | None = None
    attributes: dict[str, str] = Field(default_factory=dict)
    parameters: dict[Name, float] = Field(default_factory=dict)
    metrics: dict[Name, dict[str, Any]] = Field(
        default_factory=dict, description="Changes to the type's metrics, as {temperature: {baseline: 19}}."
    )
    drop_metrics: Names = ()
    faults: FaultChances = FaultChances()

    @field_validator("device_id")
    @classmethod
    def _id_template(cls, template: str | None) -> str | None:
        return template if template is None else check_template(template, ID_FIELDS)

    @field_validator("name")
    @classmethod
    def _name_template(cls, template: str | None) -> str | None:
        return template if template is None else check_template(template, NAME_FIELDS)

    @model_validator(mode="after")
    def _one_kind_of_place(self) -> Self:
        if self.locations and (self.cities or self.city_filter):
            raise ValueError("give one of locations and cities")
        return self


class FleetSpec(Model):
    """A fleet file."""

    title: str = ""
    types: Texts = Field((), description="Files with device types of the user's own, beside this one.")
    cities_file: str | None = Field(
        None, description="CSV or JSON with the user's own cities, beside this one."
    )
    factors_file: str | None = Field(
        None, description="The user's own fault factors of manufacturers and firmware, beside this one."
    )
    interval: Seconds | None = Field(None, gt=0, description="Between two readings of a device.")
    seed: int | None = Field(None, ge=0)
    faults: FaultChances = FaultChances()
    groups: tuple[Group, ...] = Field(json_schema_extra={"minItems": 1})

    @field_validator("groups")
    @classmethod
    def _some(cls, groups: tuple[Group, ...]) -> tuple[Group, ...]:
        if not groups:
            raise ValueError("expected at least one group")
        return groups


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device, complete: `group` says of which group of the fleet (its type with the group's changes).

    `parameters` has every parameter of the type; devices of a group may share one mapping.
    """

    device_id: str
    group: int
    name: str = ""
    location: Location | None = None
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    serial_number: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
