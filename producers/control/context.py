"""What all routes of the API stand on: the simulation, the device types, and questions that several of them ask."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import BaseModel, Field

from producers.control.merging import single_device
from producers.devices.model import DeviceType
from producers.simulation.commands import (
    Command,
    CommandError,
    DeviceView,
    InjectFault,
    ListDevices,
    Outcome,
    Selector,
    UnknownDeviceError,
)
from producers.simulation.control import Control, SimulationStatus
from schemas.web.guard import require_own_page

Types = Callable[[], Mapping[str, DeviceType]]
"""The device types as they are now: a changed file may bring others."""

_PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Api:
    """What the routes are about.

    Attributes:
        control: the whole fleet.
        local: the simulation of this process; the same where it has the whole fleet.
        types: the device types.
        timeout: seconds to wait for an answer.
        origins: of web pages that may change something.
    """

    control: Control
    local: Control
    types: Types
    timeout: float
    origins: tuple[str, ...] = ()

    def apply(self, command: Command) -> Outcome:
        """Carry a command out.

        Raises:
            CommandError, TimeoutError: as `Control.apply`.
        """
        return self.control.apply(command, self.timeout)

    def one(self, device_id: str) -> DeviceView:
        """The device of an id.

        Raises:
            UnknownDeviceError: there is none.
            TimeoutError: nobody answers.
        """
        return the_one(self.apply(ListDevices(one_device(device_id), limit=1)), device_id)

    def inject(self, command: InjectFault) -> Outcome:
        """Begin a fault; an unknown kind gets the name of the nearest.

        Raises:
            CommandError, TimeoutError: as `Control.apply`.
        """
        try:
            return self.apply(command)
        except UnknownDeviceError:
            raise
        except CommandError as error:
            known = {name for kind in self.types().values() for name in kind.faults}
            near = difflib.get_close_matches(command.fault or "", known, n=1)
            if command.fault is None or command.fault in known or not near:
                raise
            raise CommandError(error.message, f"Did you mean {near[0]}? {error.remedy}".rstrip()) from None

    def is_turning(self) -> bool:
        """Whether the simulation of this process does what it is told."""
        try:
            self.local.apply(ListDevices(limit=0), min(self.timeout, _PROBE_SECONDS))
        except (CommandError, TimeoutError):
            return False
        return True

    def here(self) -> SimulationStatus:
        """Where the simulation of this process stands."""
        return self.local.status()[0]


def one_device(device_id: str) -> Selector:
    """The selector of one device.

    Raises:
        UnknownDeviceError: it is a pattern.
    """
    if single_device(Selector(device_id)) is None:
        raise _unknown(device_id)
    return Selector(device_id)


def the_one(outcome: Outcome, device_id: str) -> DeviceView:
    """The device that a command for one device touched.

    Raises:
        UnknownDeviceError: there is none.
    """
    for view in outcome.devices:
        if view.device.device_id == device_id:
            return view
    raise _unknown(device_id)


def _unknown(device_id: str) -> UnknownDeviceError:
    return UnknownDeviceError(
        f"there is no device {device_id[:200]}", "GET /api/v1/devices says which there are."
    )


class Selection(BaseModel):
    """Query parameters that choose devices; * and ? match, what is not given does not count."""

    device_id: str | None = Field(None, max_length=200, description="Id; may be a pattern, as oven-*.")
    type: str | None = Field(None, max_length=200, description="Type.")
    place: str | None = Field(None, max_length=200, description="Place, or kind of place.")
    city: str | None = Field(None, max_length=200)
    manufacturer: str | None = Field(None, max_length=200)
    firmware: str | None = Field(None, max_length=200)

    def selector(self) -> Selector:
        """As the fleet's; an empty text counts as not given."""
        return Selector(
            device_id=self.device_id or None,
            type=self.type or None,
            place=self.place or None,
            city=self.city or None,
            manufacturer=self.manufacturer or None,
            firmware=self.firmware or None,
        )


class Listing(Selection):
    """Query parameters of a list."""

    limit: int = Field(1000, ge=0, le=1000, description="At most so many.")
    offset: int = Field(0, ge=0, le=1_000_000, description="Leave out so many.")
    after: str | None = Field(
        None, max_length=200, description="Begin behind this id: the way through a long list."
    )

    def command(self, *, faulty: bool = False) -> ListDevices:
        """As the fleet's."""
        return ListDevices(
            self.selector(), limit=self.limit, faulty=faulty, after=self.after or None, offset=self.offset
        )


class DeviceListing(Listing):
    """Query parameters of the list of devices."""

    faulty: bool = Field(False, description="Only those with an active fault.")


Selected = Annotated[Selection, Query()]
Listed = Annotated[Listing, Query()]
DevicesListed = Annotated[DeviceListing, Query()]


def own_pages_only(api: Api) -> Any:
    """A dependency: refuses changes by web pages of other origins than those that are named."""

    def check(request: Request) -> None:
        require_own_page(request, api.origins, "control.cors_origins")

    return Depends(check)
