"""The schema of scenario files: a fleet, and a timeline of what happens to it.

    title: Three incidents
    fleet: mixed
    interval: 10s
    duration: 1h
    timeline:
      - at: "00:10"
        select: {type: oven, place: factory}
        fault: {kind: drift, for: 15m}
      - at: "00:30"
        select: {manufacturer: DataLogger}
        update: {firmware: 3.0-beta}
      - at: "00:40"
        select: {city: Denver}
        cut: {for: 2m}

Times count from the beginning of the simulation. Each entry has one action, on the devices that fit all of `select`.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from producers.devices.amounts import Seconds, Span, parse_span
from producers.devices.base import Model, Name
from producers.devices.fleet_spec import FaultChances, FleetSpec, Group
from producers.simulation.commands import Selector
from schemas.durations import FORM, parse_duration

UNTIL_CLEARED = "until cleared"
ACTIONS = ("fault", "clear", "update", "cut", "create", "delete", "chances")

_CLOCK = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d))?")


def parse_offset(value: Any) -> float:
    """Seconds after the beginning: hours and minutes (00:10, 26:30:15), or a length of time.

    Raises:
        ValueError: it is neither.
    """
    found = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return hours * 3600.0 + minutes * 60.0 + seconds
    try:
        return parse_duration(value)
    except ValueError:
        raise ValueError(f"expected hours and minutes, as 00:10, or {FORM}") from None


def _lasting(value: Any) -> Span | str:
    if value == UNTIL_CLEARED:
        return UNTIL_CLEARED
    try:
        return parse_span(value)
    except ValueError as error:
        raise ValueError(f"{error}, {UNTIL_CLEARED}") from None


Offset = Annotated[float, BeforeValidator(parse_offset)]
Lasting = Annotated[Span | Literal["until cleared"], BeforeValidator(_lasting)]


class Select(Model):
    """Which devices: those that fit all that is given, in patterns with * and ?; nothing given: all."""

    device_id: str | None = None
    type: str | None = None
    place: str | None = None
    city: str | None = None
    manufacturer: str | None = None
    firmware: str | None = None

    @property
    def selector(self) -> Selector:
        """As commands have it."""
        return Selector(**self.model_dump())


class FaultAction(Model):
    """Start a fault; what is not given is drawn as the kind says."""

    kind: Name | None = Field(None, description="One of the device's type; without it one by weight.")
    lasts: Lasting | None = Field(
        None, alias="for", description="A length of time, readings, or: until cleared."
    )
    intensity: float | None = Field(None, ge=0, description="In the kind's scale.")
    onset: float | None = Field(None, ge=0, le=1, description="Part of the duration in which it comes up.")
    random_one: bool = Field(False, description="On one of the selected devices only, by the seed.")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if isinstance(self.lasts, Span) and self.lasts.low != self.lasts.high:
            raise ValueError("for: expected one length, not a range")
        return self


class UpdateAction(Model):
    """Change devices."""

    name: str | None = None
    place: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    firmware: str | None = None
    online: bool | None = None
    enabled: bool | None = None
    state: Name | None = None
    fault_factor: float | None = Field(None, ge=0)
    parameters: dict[Name, float] = Field(default_factory=dict)
    attributes: dict[str, str] = Field(default_factory=dict)
    reset_counters: bool = False

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("expected what to change, as firmware: 3.0-beta")
        return self


class CutAction(Model):
    """Cut the link: the devices send nothing for a time."""

    lasts: Seconds = Field(alias="for", gt=0)


class Repeat(Model):
    """An entry's action again and again; without `times` until the scenario ends."""

    every: Seconds = Field(gt=0)
    times: int | None = Field(None, ge=2, le=100_000, description="How often in all.")


class Entry(Model):
    """Something that happens."""

    at: Offset
    note: str = ""
    select: Select = Select()
    fault: FaultAction | None = None
    clear: Literal[True] | None = Field(None, description="End the active faults.")
    update: UpdateAction | None = None
    cut: CutAction | None = None
    create: Group | None = Field(None, description="Add devices, as a fleet's group.")
    delete: Literal[True] | None = None
    chances: FaultChances | None = Field(
        None, description="How often faults come by themselves; select: only a type."
    )
    repeat: Repeat | None = None

    @property
    def action(self) -> str:
        """Which of `ACTIONS` it has."""
        return next(name for name in ACTIONS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        given = [name for name in ACTIONS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"expected one of {', '.join(ACTIONS)}, found {found}")
        selected = self.select.model_fields_set
        if self.create and selected:
            raise ValueError("create has no select")
        if self.delete and not selected:
            raise ValueError("delete needs a select; for all devices: select: {device_id: '*'}")
        if self.chances and selected - {"type"}:
            raise ValueError("chances can be set for a type or for all: select has only type")
        if self.cut and self.repeat and self.repeat.every <= self.cut.lasts:
            raise ValueError("cut: for must be shorter than repeat's every")
        return self


class Expect(Model):
    """What can be seen in the readings when it ran."""

    faults: tuple[Name, ...] = ()


class ScenarioFile(Model):
    """A scenario file, its entries not looked at yet."""

    title: str = Field(min_length=1)
    description: str = ""
    fleet: str | dict[str, Any] = Field(description="The name of a shipped fleet, a file, or a fleet.")
    seed: int | None = Field(None, ge=0)
    interval: Seconds | None = Field(None, gt=0)
    duration: Seconds | None = Field(None, gt=0)
    timeline: tuple[dict[str, Any], ...] = Field(min_length=1)
    expect: Expect = Expect()


class Scenario(Model):
    """A scenario, checked.

    Attributes:
        name: by which it is loaded: of a shipped one its own, of another one its path.
        path: its file.
    """

    name: str
    path: Path
    title: str
    description: str
    fleet: FleetSpec
    seed: int | None
    interval: float | None
    duration: float | None
    timeline: tuple[Entry, ...]
    expect: Expect
