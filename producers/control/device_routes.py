"""`/devices`: list, create, show, change, delete, read, command; and types and groups."""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import uuid4

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from producers.control.context import Api, DevicesListed, Listing, Selected, Selection, one_device, the_one
from producers.control.device_commands import device_command
from producers.control.envelope import Envelope, errors_of
from producers.control.requests import ChangeDevice, CreateDevice, NewGroup, SendCommand
from producers.control.views import DeviceOut, ReadingsOut, device_out, readings_out
from producers.devices.model import DeviceType
from producers.documents import nearest
from producers.simulation.commands import (
    CommandError,
    CreateDevices,
    DeleteDevices,
    InjectFault,
    Outcome,
)
from schemas.web.strict_json import StrictRoute

DeviceId = Annotated[str, Path(min_length=1, max_length=200, description="Id of a device.")]
_MISSING = errors_of(HTTPStatus.NOT_FOUND)


class Touched(BaseModel):
    """The devices that a change touched."""

    count: int
    devices: list[DeviceOut] = Field(description="The first of them, by id.")


class TypeOut(BaseModel):
    """A device type: what its devices measure, what can be set and what can go wrong."""

    name: str
    title: str
    family: str
    metrics: dict[str, str] = Field(description="Metric -> unit.")
    parameters: dict[str, str] = Field(description="Parameter -> its default and bounds.")
    states: list[str]
    faults: dict[str, str] = Field(description="Fault -> what it does.")
    manufacturers: list[str]
    places: list[str]


def device_routes(api: Api) -> APIRouter:
    """The routes of devices."""
    routes = APIRouter(route_class=StrictRoute, tags=["devices"])
    _add_lists(routes, api)
    _add_single(routes, api)
    _add_deeds(routes, api)
    return routes


def _add_lists(routes: APIRouter, api: Api) -> None:
    @routes.get("/devices", responses=errors_of())
    def list_devices(request: Request, response: Response, asked: DevicesListed) -> Envelope[list[DeviceOut]]:
        """The devices, by id: the first 1000, or as limit, offset and after say.

        The header X-Total-Count has the number of all that fit; Link, where there are more, the way to the next.
        """
        outcome = api.apply(asked.command(faulty=asked.faulty))
        describe_page(request, response, asked, outcome)
        return Envelope(
            data=[device_out(view) for view in outcome.devices],
            message=f"Retrieved {len(outcome.devices)} of {outcome.count} devices",
        )

    @routes.patch("/devices", responses=_MISSING)
    def change_devices(change: ChangeDevice, asked: Selected) -> Envelope[Touched]:
        """Change all devices that fit; at least one query parameter must say which."""
        outcome = api.apply(change.command(_some(asked).selector()))
        return Envelope(data=touched(outcome), message=f"{outcome.count} devices updated{change.ignored}")

    @routes.delete("/devices", responses=_MISSING)
    def delete_devices(asked: Selected) -> Envelope[Touched]:
        """Remove all devices that fit; at least one query parameter must say which."""
        outcome = api.apply(DeleteDevices(_some(asked).selector()))
        return Envelope(data=touched(outcome), message=f"{outcome.count} devices deleted")

    @routes.post("/groups", responses=errors_of(HTTPStatus.CONFLICT))
    def create_group(group: NewGroup) -> Envelope[Touched]:
        """Create many devices at once, as a group of a fleet file does."""
        known_type(api, group.type)
        outcome = api.apply(CreateDevices(group.group()))
        return Envelope(data=touched(outcome), message=f"{outcome.count} devices created")

    @routes.get("/device-types", responses=errors_of())
    def device_types() -> Envelope[list[str]]:
        """The names of the device types."""
        return Envelope(data=sorted(api.types()), message="Device types retrieved successfully")

    @routes.get("/catalogue", responses=errors_of())
    def catalogue() -> Envelope[list[TypeOut]]:
        """The device types, with their metrics, parameters and faults."""
        found = [type_out(kind) for _, kind in sorted(api.types().items())]
        return Envelope(data=found, message=f"{len(found)} device types")


def _add_single(routes: APIRouter, api: Api) -> None:
    @routes.post("/devices", responses=errors_of(HTTPStatus.CONFLICT))
    def create_device(device: CreateDevice) -> Envelope[DeviceOut]:
        """Create a device; it sends readings from the next interval on."""
        kind = known_type(api, device.device_type)
        device_id = device.device_id or f"{kind.name}-{uuid4().hex[:8]}"
        group = device.group(device_id, [name for name, what in kind.parameters.items() if not what.made_of])
        view = the_one(api.apply(CreateDevices(group, exact=True)), device_id)
        return Envelope(
            data=device_out(view), message=f"Device {device_id} created successfully{device.ignored}"
        )

    @routes.get("/devices/{device_id}", responses=_MISSING)
    def show_device(device_id: DeviceId) -> Envelope[DeviceOut]:
        """A device, with its last readings and its fault."""
        return Envelope(
            data=device_out(api.one(device_id)), message=f"Device {device_id} retrieved successfully"
        )

    @routes.put("/devices/{device_id}", responses=_MISSING)
    def change_device(device_id: DeviceId, change: ChangeDevice) -> Envelope[DeviceOut]:
        """Change a device; what is not given stays as it is."""
        # Only such a body can be a whole device, sent back with a part of it changed.
        whole = bool(change.parameters or change.attributes)
        changed = change.beside(api.one(device_id)) if whole else change
        view = the_one(api.apply(changed.command(one_device(device_id))), device_id)
        return Envelope(
            data=device_out(view), message=f"Device {device_id} updated successfully{change.ignored}"
        )

    @routes.delete("/devices/{device_id}", responses=_MISSING)
    def delete_device(device_id: DeviceId) -> Envelope[None]:
        """Remove a device. What it has sent stays."""
        the_one(api.apply(DeleteDevices(one_device(device_id))), device_id)
        return Envelope(data=None, message=f"Device {device_id} deleted successfully")


def _add_deeds(routes: APIRouter, api: Api) -> None:
    @routes.get("/devices/{device_id}/readings", responses=_MISSING)
    def device_readings(device_id: DeviceId) -> Envelope[ReadingsOut]:
        """What the device read last."""
        return Envelope(
            data=readings_out(api.one(device_id)),
            message=f"Readings for device {device_id} retrieved successfully",
        )

    @routes.post("/devices/{device_id}/command", responses=_MISSING)
    def command_device(device_id: DeviceId, sent: SendCommand) -> Envelope[DeviceOut]:
        """Send a command to a device; answers with the device as it is then.

        Commands are set_power {power}, set_voltage {voltage}, set_enabled {enabled}, set_online {online}, turn_on,
        turn_off, enable, disable, online, offline, reset_energy, reset_counters, set_state {state}, set_firmware
        {firmware}, set_parameters {NAME: NUMBER}, inject_fault {fault?, duration?, intensity?} and clear_fault.
        """
        one_device(device_id)
        command = device_command(device_id, sent.command, sent.parameters)
        outcome = api.inject(command) if isinstance(command, InjectFault) else api.apply(command)
        # A fault is cleared where there was one: the device may be none of those that were touched.
        view = the_one(outcome, device_id) if outcome.count else api.one(device_id)
        return Envelope(
            data=device_out(view),
            message=f"Command '{sent.command}' sent to device {device_id}{sent.ignored}",
        )

    @routes.post("/devices/{device_id}/simulate", responses=_MISSING)
    def simulate_device(device_id: DeviceId) -> Envelope[ReadingsOut]:
        """The device's current reading, as `readings` gives it.

        The device is read by the simulation's clock and not once more for the asking: else its readings would no longer
        follow from the seed.
        """
        return Envelope(
            data=readings_out(api.one(device_id)), message=f"Current reading of device {device_id}"
        )


def touched(outcome: Outcome) -> Touched:
    """What a change touched."""
    return Touched(count=outcome.count, devices=[device_out(view) for view in outcome.devices])


def known_type(api: Api, name: str) -> DeviceType:
    """The type of a name.

    Raises:
        CommandError: there is none.
    """
    types = api.types()
    if name not in types:
        raise CommandError(f"there is no device type {name[:100]!r}", nearest(name, types))
    return types[name]


def describe_page(request: Request, response: Response, asked: Listing, outcome: Outcome) -> None:
    """Say in headers how many there are, and where the next ones are."""
    response.headers["X-Total-Count"] = str(outcome.count)
    shown = outcome.devices
    if not shown or len(shown) < asked.limit:
        return
    kept: dict[str, Any] = {
        name: value for name, value in request.query_params.items() if name not in {"offset", "after"}
    }
    query = urlencode({**kept, "after": shown[-1].device.device_id})
    response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'


def type_out(kind: DeviceType) -> TypeOut:
    """A type for people."""
    return TypeOut(
        name=kind.name,
        title=kind.title,
        family=kind.family,
        metrics={name: metric.unit for name, metric in kind.metrics.items()},
        parameters={
            name: f"{parameter.default:g} {parameter.unit}".rstrip() + f" ({parameter.bounds})"
            for name, parameter in kind.parameters.items()
            if not parameter.made_of
        },
        states=list(kind.states),
        faults={name: fault.title for name, fault in kind.faults.items()},
        manufacturers=list(kind.manufacturers),
        places=list(kind.places),
    )


def _some(asked: Selection) -> Selection:
    if not any(asked.model_dump().values()):
        raise CommandError(
            "no devices are named", "Say which with device_id, type, place, city, manufacturer or firmware."
        )
    return asked
