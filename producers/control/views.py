"""Devices, readings and faults as the API shows them.

One shape serves all types: what iot-mock-service's clients know stands beside `readings`, `units` and `parameters`, which
every type has. Of a type without power the energy fields are null.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field

from producers.simulation.commands import DeviceView, FaultView
from schemas import times

_OLD = "As iot-mock-service calls it."


class FaultOut(BaseModel):
    """An active fault."""

    fault: str = Field(description="Its kind.")
    intensity: float = Field(description="In the scale of its kind: of a multiplying one the multiplier.")
    began: str | None
    ends: str | None = Field(description="null: when it is cleared.")
    readings_left: int | None = Field(description="null: until it is cleared.")
    injected: bool = Field(description="Whether it came by a command and not by itself.")


class ReadingsOut(BaseModel):
    """What a device read last: iot-mock-service's message, and all metrics under `readings`."""

    device_id: str
    timestamp: str | None = Field(description="Virtual time of the readings; null before the first.")
    power: float | None = Field(description="kW; 0 while the device is offline or disabled.")
    voltage: float | None = Field(description="V; 0 while the device is offline or disabled.")
    current: float | None = Field(description="A; 0 while the device is offline or disabled.")
    energy: float | None = Field(description="kWh since the beginning.")
    status: Literal["online", "offline"]
    enabled: bool
    anomaly: bool = Field(description="Whether a fault is active.")
    anomaly_type: str | None
    anomaly_duration_remaining: int | None = Field(
        description="Readings; null without a fault, or until cleared."
    )
    readings: dict[str, float] = Field(description="Metric -> the last value that was sent.")
    units: dict[str, str] = Field(description="Metric -> unit.")


class PlaceOut(BaseModel):
    """Where a device stands."""

    name: str
    latitude: float | None
    longitude: float | None
    timezone: str


class DeviceOut(BaseModel):
    """A device."""

    id: str
    device_id: str = Field(description="The same as `id`.")
    name: str
    type: str
    location: str = Field(description="Name of the place.")
    place: PlaceOut | None
    status: Literal["online", "offline"] = Field(description="offline: its link is cut, it sends nothing.")
    online: bool
    enabled: bool = Field(description="false: it is switched off, and sends nothing.")
    state: str | None = Field(description="Operating state, of a type that has some.")
    manufacturer: str
    model: str
    firmware: str
    serial_number: str
    attributes: dict[str, str]
    parameters: dict[str, float] = Field(description="What each device of the type may set for itself.")
    base_power: float | None = Field(description="kW; null where the type has none.")
    base_voltage: float | None = Field(description="V; null where the type has none.")
    power: float | None = Field(description="kW; null where the type has none.")
    voltage: float | None
    current: float | None
    energy: float | None
    readings: dict[str, float] = Field(description="Metric -> the last value that was sent.")
    units: dict[str, str]
    last_update: str | None = Field(description="Virtual time of the last readings; null before the first.")
    fault: FaultOut | None
    old_serial_number: str = Field(serialization_alias="serialNumber", description=_OLD)
    old_base_power: float | None = Field(serialization_alias="basePower", description=_OLD)
    old_base_voltage: float | None = Field(serialization_alias="baseVoltage", description=_OLD)
    old_last_seen: str | None = Field(serialization_alias="lastSeen", description=_OLD)
    old_created_at: str | None = Field(
        None, serialization_alias="createdAt", description="null: a simulated device was always there."
    )
    old_readings: ReadingsOut = Field(serialization_alias="currentReadings", description=_OLD)


class AnomalyOut(BaseModel):
    """A device in iot-mock-service's list of anomalies."""

    device_id: str
    device_name: str
    anomaly_active: bool
    anomaly_type: str | None
    anomaly_remaining_duration: int | None = Field(
        description="Readings, 0 without one; null: until it is cleared."
    )
    current_power: float | None
    base_power: float | None
    power_ratio: float | None = Field(description="current_power by base_power.")


def iso(time_us: int | None) -> str | None:
    """µs since 1970 as ISO-8601 in UTC with a Z; None where it is None, or beyond the calendar."""
    if time_us is None:
        return None
    try:
        return times.iso(time_us)
    except OverflowError:
        return None


def fault_out(fault: FaultView | None) -> FaultOut | None:
    """An active fault."""
    if fault is None:
        return None
    return FaultOut(
        fault=fault.fault,
        intensity=fault.intensity,
        began=iso(fault.began_us),
        ends=iso(fault.ends_us),
        readings_left=fault.readings_left,
        injected=fault.injected,
    )


def readings_out(view: DeviceView) -> ReadingsOut:
    """What a device read last."""
    fault = view.fault
    energy = _energy_fields(view)
    return ReadingsOut(
        device_id=view.device.device_id,
        timestamp=iso(view.time_us),
        power=energy["power"],
        voltage=energy["voltage"],
        current=energy["current"],
        energy=energy["energy"],
        status=_status(view),
        enabled=view.enabled,
        anomaly=fault is not None,
        anomaly_type=fault.fault if fault else None,
        anomaly_duration_remaining=fault.readings_left if fault else None,
        readings=view.values,
        units=view.device.units,
    )


def device_out(view: DeviceView) -> DeviceOut:
    """A device."""
    device, parameters = view.device, view.parameters
    energy, where = _energy_fields(view), device.location
    base_power, base_voltage = parameters.get("base_power"), parameters.get("base_voltage")
    return DeviceOut(
        id=device.device_id,
        device_id=device.device_id,
        name=device.name,
        type=device.type,
        location=where.name if where else "",
        place=PlaceOut(
            name=where.name, latitude=where.latitude, longitude=where.longitude, timezone=where.timezone
        )
        if where
        else None,
        status=_status(view),
        online=view.online,
        enabled=view.enabled,
        state=view.state,
        manufacturer=device.manufacturer,
        model=device.model,
        firmware=device.firmware,
        serial_number=device.serial_number,
        attributes=device.attributes,
        parameters=parameters,
        base_power=base_power,
        base_voltage=base_voltage,
        power=energy["power"],
        voltage=energy["voltage"],
        current=energy["current"],
        energy=energy["energy"],
        readings=view.values,
        units=device.units,
        last_update=iso(view.time_us),
        fault=fault_out(view.fault),
        old_serial_number=device.serial_number,
        old_base_power=base_power,
        old_base_voltage=base_voltage,
        old_last_seen=iso(view.time_us),
        old_created_at=None,
        old_readings=readings_out(view),
    )


def anomaly_out(view: DeviceView) -> AnomalyOut:
    """A device in iot-mock-service's list of anomalies."""
    fault, power = view.fault, _energy_fields(view)["power"]
    base = view.parameters.get("base_power")
    return AnomalyOut(
        device_id=view.device.device_id,
        device_name=view.device.name,
        anomaly_active=fault is not None,
        anomaly_type=fault.fault if fault else None,
        anomaly_remaining_duration=fault.readings_left if fault else 0,
        current_power=power,
        base_power=base,
        power_ratio=None if power is None or not base else power / base,
    )


def sample_row(view: DeviceView) -> dict[str, str | float | bool | None]:
    """A device's last readings as a row of sensor-log-generator's table."""
    device, where, fault = view.device, view.device.location, view.fault
    return {
        "timestamp": iso(view.time_us),
        "sensor_id": device.device_id,
        "sensor_type": device.type,
        **view.values,
        "status_code": int(fault is not None),
        "anomaly_flag": fault is not None,
        "anomaly_type": fault.fault if fault else None,
        "firmware_version": device.firmware,
        "model": device.model,
        "manufacturer": device.manufacturer,
        "serial_number": device.serial_number,
        "location": where.name if where else None,
        "latitude": where.latitude if where else None,
        "longitude": where.longitude if where else None,
        "timezone": where.timezone if where else None,
    }


def _status(view: DeviceView) -> Literal["online", "offline"]:
    return "online" if view.online else "offline"


def _energy_fields(view: DeviceView) -> Mapping[str, float | None]:
    """Power, voltage, current and energy of a type that has a power; null of the others, whatever their metrics."""
    if "power" not in view.device.units:
        return dict.fromkeys(("power", "voltage", "current", "energy"))
    found: dict[str, float | None] = {
        name: view.values.get(name) for name in ("power", "voltage", "current", "energy")
    }
    if not (view.online and view.enabled):
        found |= {"power": 0.0, "voltage": 0.0, "current": 0.0}
    return found
