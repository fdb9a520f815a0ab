"""identity.json of sensor-log-generator, in its flat and its nested format, mixed too.

The firmware may be any text, not only a semantic version. What a device has no field for (deployment, metadata, the
state, the date of manufacture, keys of the user's own) becomes attributes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from producers.documents import closest, read_json, validate
from producers.legacy.config import Text
from schemas.settings import Number

_REMEDY = "`sigmawatch simulate --generate-identity` prints a file to begin with."


@dataclass(frozen=True, slots=True)
class LegacyIdentity:
    """What an identity file says of a device; None and empty where it says nothing.

    Attributes:
        location: the place's name.
        timezone: an IANA time zone.
        place_attributes: what else it says of the place, as text.
        attributes: everything else, as text.
    """

    device_id: str | None = None
    location: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    timezone: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    firmware: str | None = None
    serial_number: str | None = None
    place_attributes: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)


def read_identity(path: Path) -> LegacyIdentity:
    """The identity in a file.

    Raises:
        ConfigError: it cannot be read, or has values that make no sense.
    """
    return identity_of(read_json(path), str(path))


def identity_of(document: Any, place: str = "identity") -> LegacyIdentity:
    """The identity that `document` is; `place` is what errors call it.

    Raises:
        ConfigError: as `read_identity`.
    """
    file = validate(_File, document, place, _REMEDY)
    location, device = file.location, file.device_info
    here = location.coordinates or _Coordinates(latitude=file.latitude, longitude=file.longitude)
    return LegacyIdentity(
        device_id=file.sensor_id or file.id,
        location=location.city or location.address,
        latitude=here.latitude,
        longitude=here.longitude,
        timezone=location.timezone or file.timezone,
        manufacturer=device.manufacturer or file.manufacturer,
        model=device.model or file.model,
        firmware=device.firmware_version or file.firmware_version,
        serial_number=device.serial_number or file.serial_number,
        place_attributes=_place_attributes(location),
        attributes=_attributes(file),
    )


def identity_template(today: date) -> dict[str, Any]:
    """An identity file to begin with, in the nested format; the original reads it too."""
    return {
        "sensor_id": "SENSOR_CO_DEN_001",
        "location": {
            "city": "Denver",
            "state": "CO",
            "coordinates": {"latitude": 39.7392, "longitude": -104.9903},
            "timezone": "America/Denver",
            "address": "Denver, CO, USA",
        },
        "device_info": {
            "manufacturer": "DataLogger",
            "model": "AirData-Plus",
            "firmware_version": "2.1.0",
            "serial_number": "DL-000001",
            "manufacture_date": today.isoformat(),
        },
        "deployment": {
            "deployment_type": "stationary_unit",
            "installation_date": today.isoformat(),
            "height_meters": 2.5,
            "orientation_degrees": 0,
        },
        "metadata": {
            "instance_id": "i-0000000000000001",
            "identity_generation_timestamp": datetime(today.year, today.month, today.day).isoformat(),  # noqa: DTZ001 -- a local time, as theirs
            "sensor_type": "environmental_monitoring",
        },
    }


def _zone(name: str | None) -> str | None:
    if not name:
        return None
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # there is none; a folder of zones; a name that no file can have
        example = closest(name, available_timezones()) or "Europe/Berlin"
        raise ValueError(f"expected the name of a time zone, as {example}") from None
    return name


Zone = Annotated[Text | None, AfterValidator(_zone)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class _Coordinates(_Part):
    latitude: Number | None = Field(None, ge=-90, le=90)
    longitude: Number | None = Field(None, ge=-180, le=180)

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude go together")
        return self


class _Location(_Part):
    city: Text | None = None
    address: Text | None = None
    coordinates: _Coordinates | None = None
    timezone: Zone = None


class _DeviceInfo(_Part):
    manufacturer: Text | None = None
    model: Text | None = None
    firmware_version: Text | None = None
    serial_number: Text | None = None


def _name_or_keys(value: Any) -> Any:
    if value is None:
        return {}
    return {"city": value} if isinstance(value, str) else value


def _keys(value: Any) -> Any:
    return {} if value is None else value


class _File(_DeviceInfo, _Coordinates):
    sensor_id: Text | None = None
    id: Text | None = None
    location: Annotated[_Location, BeforeValidator(_name_or_keys)] = _Location()
    timezone: Zone = None
    device_info: Annotated[_DeviceInfo, BeforeValidator(_keys)] = _DeviceInfo()
    deployment: Annotated[dict[str, Any], BeforeValidator(_keys)] = Field(default_factory=dict)
    metadata: Annotated[dict[str, Any], BeforeValidator(_keys)] = Field(default_factory=dict)


def _place_attributes(location: _Location) -> dict[str, str]:
    found = dict(_leaves(location.model_extra or {}))
    if location.city and location.address:
        found["address"] = location.address
    return found


def _attributes(file: _File) -> dict[str, str]:
    """What has no field of its own, by the name of its key, or by its path where that is taken."""
    found: dict[str, str] = {}
    parts = {
        "": file.model_extra or {},
        "device_info": file.device_info.model_extra or {},
        "deployment": file.deployment,
        "metadata": file.metadata,
    }
    for part, values in parts.items():
        for path, text in _leaves(values):
            found[f"{part}.{path}" if path in found else path] = text
    return found


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        elif value is not None:
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
