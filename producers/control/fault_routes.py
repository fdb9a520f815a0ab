"""Faults: iot-mock-service's three endpoints, and `/faults`, which can do all of it."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from producers.control.context import Api, Listed, one_device
from producers.control.device_routes import Touched, describe_page, touched
from producers.control.envelope import Envelope, errors_of
from producers.control.requests import ChangeChances, ClearThem, InjectFaults, TriggerAnomaly
from producers.control.views import AnomalyOut, FaultOut, anomaly_out, fault_out
from producers.devices.model import DeviceType, Effect
from producers.simulation.commands import (
    ClearFaults,
    CommandError,
    DeviceView,
    InjectFault,
    ListDevices,
    Selector,
    UnknownDeviceError,
)
from schemas.web.strict_json import StrictRoute

_MISSING = errors_of(HTTPStatus.NOT_FOUND)
_MULTIPLYING = "high_power_consumption"
"""What a power multiplier alone means."""


class Triggered(BaseModel):
    """A fault that began."""

    device_id: str
    device_name: str
    anomaly_type: str
    duration: int | None = Field(description="Readings.")
    power_multiplier: float = Field(description="1 of a kind that does not multiply.")


class AnomalyStatus(BaseModel):
    """All devices and their faults."""

    devices: list[AnomalyOut] = Field(description="As the page says; by id.")
    total_devices: int
    active_anomalies: int
    anomaly_details: list[AnomalyOut] = Field(description="Those with a fault, the first 1000.")


class Cleared(BaseModel):
    """How many faults ended."""

    cleared_anomalies: int


class FaultyDevice(BaseModel):
    """A device with an active fault."""

    device_id: str
    name: str
    type: str
    location: str
    fault: FaultOut


class Changed(BaseModel):
    """How many devices are concerned."""

    count: int


def anomaly_routes(api: Api) -> APIRouter:
    """iot-mock-service's endpoints; its document names them without a prefix, its program had one."""
    routes = APIRouter(route_class=StrictRoute, tags=["faults"])

    @routes.post("/trigger-anomaly", responses=_MISSING)
    def trigger_anomaly(asked: TriggerAnomaly | None = None) -> Envelope[Triggered]:
        """Let a fault begin, on the device named or on one of all: any fault that its type has."""
        asked = asked or TriggerAnomaly()
        command, note = _trigger_command(api, asked)
        outcome = api.inject(command)
        if not outcome.devices:
            raise UnknownDeviceError("there is no device", "Create one with POST /api/v1/devices.")
        view = outcome.devices[0]
        return Envelope(
            data=_triggered(api, view),
            message=f"Anomaly triggered for device {view.device.device_id}{note}{asked.ignored}",
        )

    @routes.get("/anomaly-status", responses=errors_of())
    def anomaly_status(request: Request, response: Response, asked: Listed) -> Envelope[AnomalyStatus]:
        """The devices and their faults."""
        everyone = api.apply(asked.command())
        faulty = api.apply(ListDevices(asked.selector(), limit=1000, faulty=True))
        describe_page(request, response, asked, everyone)
        status = AnomalyStatus(
            devices=[anomaly_out(view) for view in everyone.devices],
            total_devices=everyone.count,
            active_anomalies=faulty.count,
            anomaly_details=[anomaly_out(view) for view in faulty.devices],
        )
        return Envelope(data=status, message="Anomaly status retrieved successfully")

    @routes.post("/clear-anomalies", responses=errors_of())
    def clear_anomalies() -> Envelope[Cleared]:
        """End all active faults."""
        count = api.apply(ClearFaults()).count
        return Envelope(data=Cleared(cleared_anomalies=count), message=f"Cleared {count} active anomalies")

    return routes


def fault_routes(api: Api) -> APIRouter:
    """`/faults`: on any devices, with every setting."""
    routes = APIRouter(route_class=StrictRoute, tags=["faults"])

    @routes.get("/faults", responses=errors_of())
    def list_faults(request: Request, response: Response, asked: Listed) -> Envelope[list[FaultyDevice]]:
        """The devices with an active fault, by id."""
        outcome = api.apply(asked.command(faulty=True))
        describe_page(request, response, asked, outcome)
        found = [faulty for view in outcome.devices if (faulty := _faulty(view)) is not None]
        return Envelope(data=found, message=f"{outcome.count} devices have a fault")

    @routes.post("/faults", responses=_MISSING)
    def inject_faults(asked: InjectFaults) -> Envelope[Touched]:
        """Let a fault begin on devices; it takes the place of one that is active."""
        outcome = api.inject(asked.command())
        return Envelope(
            data=touched(outcome), message=f"A fault began on {outcome.count} devices{asked.ignored}"
        )

    @routes.post("/faults/clear", responses=_MISSING)
    def clear_faults(asked: ClearThem | None = None) -> Envelope[Touched]:
        """End the active faults of devices."""
        asked = asked or ClearThem()
        outcome = api.apply(ClearFaults(asked.select.selector()))
        return Envelope(data=touched(outcome), message=f"{outcome.count} faults ended{asked.ignored}")

    @routes.put("/faults/chances", responses=errors_of())
    def change_chances(asked: ChangeChances) -> Envelope[Changed]:
        """Change how often faults come by themselves."""
        outcome = api.apply(asked.command())
        return Envelope(
            data=Changed(count=outcome.count), message=f"{outcome.count} devices changed{asked.ignored}"
        )

    return routes


def _trigger_command(api: Api, asked: TriggerAnomaly) -> tuple[InjectFault, str]:
    """The fleet's command, and a note for the message."""
    fault, multiplier = asked.anomaly_type, asked.power_multiplier
    kinds = list(api.types().values())
    if asked.device_id is not None and multiplier is not None:
        kinds = [api.types()[name] for name in [api.one(asked.device_id).device.type] if name in api.types()]
    note, intensity = "", multiplier
    if multiplier is not None:
        fault = fault or _multiplying_fault(kinds)
        if not any(_multiplies(kind, fault) for kind in kinds):
            note, intensity = f"; power_multiplier means nothing for {fault}", None
    command = InjectFault(
        Selector() if asked.device_id is None else one_device(asked.device_id),
        random_one=asked.device_id is None,
        fault=fault,
        readings=asked.duration,
        intensity=intensity,
    )
    return command, note


def _multiplying_fault(kinds: list[DeviceType]) -> str:
    """The fault that a power multiplier alone means.

    Raises:
        CommandError: the types have none.
    """
    found = [name for kind in kinds for name in kind.faults if _multiplies(kind, name)]
    if not found:
        raise CommandError(
            "the device has no fault that multiplies", "Leave power_multiplier out, or name an anomaly_type."
        )
    return _MULTIPLYING if _MULTIPLYING in found else found[0]


def _multiplies(kind: DeviceType, fault: str) -> bool:
    return fault in kind.faults and kind.faults[fault].effect is Effect.MULTIPLY


def _triggered(api: Api, view: DeviceView) -> Triggered:
    fault = view.fault
    if fault is None:
        raise CommandError("the fault was over before its first reading", "Give a longer duration.")
    kind = api.types().get(view.device.type)
    return Triggered(
        device_id=view.device.device_id,
        device_name=view.device.name,
        anomaly_type=fault.fault,
        duration=fault.readings_left,
        power_multiplier=fault.intensity if kind and _multiplies(kind, fault.fault) else 1.0,
    )


def _faulty(view: DeviceView) -> FaultyDevice | None:
    fault = fault_out(view.fault)
    if fault is None:
        return None
    device = view.device
    return FaultyDevice(
        device_id=device.device_id,
        name=device.name,
        type=device.type,
        location=device.location.name if device.location else "",
        fault=fault,
    )
