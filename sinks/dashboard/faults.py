"""Faults by the page: a simulation's control, asked on behalf of who has the page open."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import InputError
from sinks.dashboard.sources import Control

_Given = TypeVar("_Given")

Name = Annotated[str, Field(min_length=1, max_length=200)]


class NewFault(BaseModel):
    """A fault to put into a device."""

    model_config = ConfigDict(extra="forbid")

    device: Name
    fault: Name
    seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(description="Of the device's time.")
    intensity: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    onset: Annotated[float, Field(ge=0, le=1)] | None = None

    def body(self) -> dict[str, Any]:
        """As the control API takes it."""
        given = {
            "fault": self.fault,
            "seconds": self.seconds,
            "intensity": self.intensity,
            "onset": self.onset,
        }
        return {
            "select": {"device_id": literal(self.device)},
            **{name: value for name, value in given.items() if value is not None},
        }


class WhoseFault(BaseModel):
    """The device whose fault ends."""

    model_config = ConfigDict(extra="forbid")

    device: Name


def literal(device_id: str) -> str:
    """An id as a pattern that fits it alone.

    Raises:
        InputError: it has a *, ? or [, and would fit others too.
    """
    if any(sign in device_id for sign in "*?["):
        raise InputError(
            f"{device_id[:100]!r} has a *, ? or [", "Such an id names many devices to the simulation."
        )
    return device_id


def catalogue(control: Control | None, remedy: str) -> dict[str, Any]:
    """Device types with the faults that they take, and which devices have one now; or why there is none to be had."""
    if control is None:
        return {"available": False, "why": "No simulation is within reach of this page.", "remedy": remedy}
    types = [
        {"type": kind["name"], "title": kind["title"], "faults": kind["faults"]}
        for kind in control("GET", "/catalogue")
    ]
    return {"available": True, "types": types}


def faulty(control: Control) -> list[dict[str, Any]]:
    """The devices that have a fault now, a hundred at most."""
    return [
        {"device": one["device_id"], "name": one["name"], "type": one["type"], **one["fault"]}
        for one in control("GET", "/faults", query={"limit": 100})
    ]


def inject(control: Control, asked: NewFault) -> dict[str, Any]:
    """Let a fault begin.

    Raises:
        InputError: the simulation does not have the device, or the device does not take the fault.
        SigmawatchError: it refuses, or does not answer.
    """
    answer = control("POST", "/faults", body=asked.body())
    device = next(iter(answer["devices"]), None)
    if device is None or device["fault"] is None:
        raise InputError(
            f"the simulation has no device {asked.device!r}", "Only simulated devices take faults."
        )
    return {"device": device["device_id"], **device["fault"]}


def clear(control: Control, asked: WhoseFault) -> dict[str, Any]:
    """End a device's fault; `count` is 0 where it had none."""
    answer = control("POST", "/faults/clear", body={"select": {"device_id": literal(asked.device)}})
    return {"count": answer["count"]}


def with_control(control: Control | None, remedy: str, ask: Callable[[Control], _Given]) -> _Given:
    """What a simulation answers.

    Raises:
        InputError: there is none.
        SigmawatchError: as `ask`.
    """
    if control is None:
        raise InputError("no simulation is within reach of this page", remedy)
    return ask(control)
