"""sensor-log-generator's configuration and identity as a fleet of ours, and options of the simulation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from producers.devices.catalogue import DeviceCatalogue, load_catalogue
from producers.devices.fleet_spec import CityFilter, FaultChances, FleetSpec, Group, Place
from producers.devices.model import DeviceType
from producers.devices.places import City, choose_cities, load_cities
from producers.legacy.config import LegacyConfig, RandomLocation
from producers.legacy.identity import LegacyIdentity
from producers.legacy.values import fault_chances, metric_changes

_TYPE, _TYPE_WITH_VIBRATION = "environmental", "environmental_vibration"
_LOOPBACK = "127.0.0.1"
_HEALTH_PATHS = frozenset({"/health", "/healthz"})
_METRICS_PATHS = frozenset({"/metrics", "/metricz"})
_LEVELS: Mapping[str, Literal["debug", "info", "warning", "error"]] = {
    "DEBUG": "debug",
    "INFO": "info",
    "WARNING": "warning",
    "ERROR": "error",
    "CRITICAL": "error",
}


@dataclass(frozen=True, slots=True)
class LegacyOptions:
    """What the files say beside the fleet; None where they say nothing.

    Attributes:
        interval: seconds between two readings of a device, each of all its metrics.
        duration: seconds of virtual time to simulate.
        start_delay: real seconds to wait before.
        log_level, log_format: of the program's own log.
        control: host and port of the control API.
        reload_interval: seconds between two looks at the files; 0: they are not looked at again.
        ignored: dotted paths of keys without a meaning here.
    """

    interval: float | None = None
    duration: float | None = None
    start_delay: float = 0.0
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    log_format: Literal["json"] | None = None
    control: tuple[str, int] | None = None
    reload_interval: float | None = None
    ignored: tuple[str, ...] = ()


def fleet_of(
    config: LegacyConfig | None,
    identity: LegacyIdentity | None = None,
    *,
    catalogue: DeviceCatalogue | None = None,
    has_token: bool = False,
) -> tuple[FleetSpec, LegacyOptions]:
    """The fleet and the options that the files describe.

    Args:
        config: config.yaml, if there is one.
        identity: identity.json, if there is one; it comes before the `sensor` section.
        catalogue: with the types `environmental` and `environmental_vibration`; the shipped one if not given.
        has_token: whether the control API has a bearer token; without one it stays on loopback.

    Raises:
        ConfigError: the filters of random_location leave no city, or the file of cities has an error.
    """
    given = config or LegacyConfig()
    name = _TYPE_WITH_VIBRATION if given.normal_parameters.vibration else _TYPE
    kind = (catalogue or load_catalogue()).type(name)
    options = LegacyOptions() if config is None else _options(config, has_token=has_token)
    group = _group(given, identity or LegacyIdentity(), kind)
    cities_file = _cities_file(given)
    spec = FleetSpec(
        title=str(given.path) if config else "identity",
        cities_file=None if cities_file is None else str(cities_file),
        interval=options.interval,
        faults=fault_chances(given.anomalies, kind, options.interval or 1.0) if config else FaultChances(),
        groups=(group,),
    )
    return spec, options


def _options(config: LegacyConfig, *, has_token: bool) -> LegacyOptions:
    reloading, monitoring = config.dynamic_reloading, config.monitoring
    host = monitoring.host if has_token or _is_loopback(monitoring.host) else _LOOPBACK
    reloads = reloading.enabled and reloading.reload_on_change
    is_json = (config.logging.format or "").strip().lower() == "json"
    return LegacyOptions(
        interval=1.0 / config.simulation.readings_per_second,
        duration=config.simulation.run_time_seconds,
        start_delay=config.simulation.start_delay_seconds,
        log_level=_LEVELS[config.logging.level] if config.logging.level else None,
        log_format="json" if is_json else None,
        control=(host, monitoring.port) if monitoring.enabled else None,
        reload_interval=reloading.check_interval_seconds if reloads else 0.0,
        ignored=(*config.ignored, *_ignored_values(config, host=host, is_json=is_json)),
    )


def _ignored_values(config: LegacyConfig, *, host: str, is_json: bool) -> list[str]:
    """Keys that have a meaning here, with values that have none."""
    monitoring, places = config.monitoring, config.random_location
    has_cities = places.enabled and places.cities_file is not None
    without = {
        "logging.format": config.logging.format is not None and not is_json,
        "monitoring.host": monitoring.enabled and host != monitoring.host,
        "monitoring.health_check_path": monitoring.health_check_path not in {None, *_HEALTH_PATHS},
        "monitoring.metrics_path": monitoring.metrics_path not in {None, *_METRICS_PATHS},
        "random_location.filter_by": places.filter_by == "area",
        "random_location.cities_file": has_cities and _cities_file(config) is None,
        "sensor.type": config.sensor.type != _TYPE,
    }
    return [key for key, is_without in without.items() if is_without]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _group(config: LegacyConfig, identity: LegacyIdentity, kind: DeviceType) -> Group:
    sensor, replicas = config.sensor, config.replicas
    device_id, prefix = identity.device_id or sensor.id, _as_template(replicas.prefix)
    alone = replicas.count == 1
    firmware = identity.firmware or sensor.firmware_version
    where = _where(config, identity)
    return Group(
        type=kind.name,
        count=replicas.count,
        device_id=_as_template(device_id) if alone and device_id else f"{prefix}_{{number}}",
        first_number=replicas.start_index,
        manufacturer=identity.manufacturer or sensor.manufacturer,
        model=identity.model or sensor.model,
        firmware=(firmware,) if firmware else (),
        # Of several devices each has its own.
        serial_number=(identity.serial_number or sensor.serial_number) if alone else None,
        metrics=metric_changes(config.normal_parameters.given, kind),
        **{**where, "attributes": identity.attributes | where.get("attributes", {})},
    )


def _as_template(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _where(config: LegacyConfig, identity: LegacyIdentity) -> dict[str, Any]:
    """Fields of the group that say where its devices stand.

    A place that is known is taken, unless several devices are to be spread over random cities.
    """
    random = config.random_location
    cities = load_cities(_cities_file(config))
    name = identity.location or config.sensor.location
    is_known = name is not None or identity.latitude is not None
    if not is_known or (random.enabled and config.replicas.count > 1):
        wanted = _city_filter(random) if random.enabled else CityFilter()
        choose_cities(cities, (), wanted, f"{config.path}: random_location")
        return {"city_filter": wanted, "gps_radius_m": random.gps_variation if random.enabled else 0.0}
    place = _place(name, identity, cities)
    scattered = random.enabled and place.latitude is not None
    attributes = dict(identity.place_attributes) | ({"city": place.name} if place.name else {})
    return {
        "locations": (place,),
        "gps_radius_m": random.gps_variation if scattered else 0.0,
        "attributes": attributes,
    }


def _place(name: str | None, identity: LegacyIdentity, cities: tuple[City, ...]) -> Place:
    """The place that is known; what is not said of it comes from the city of that name."""
    known = next((city for city in cities if name and city.name.casefold() == name.casefold()), None)
    latitude, longitude, timezone = identity.latitude, identity.longitude, identity.timezone
    if known and latitude is None:
        latitude, longitude = known.latitude, known.longitude
    if timezone is None and known:
        timezone = known.timezone
    return Place(name=name or "", latitude=latitude, longitude=longitude, timezone=timezone or "UTC")


def _city_filter(random: RandomLocation) -> CityFilter:
    by_size = random.filter_by == "population"
    smallest, largest = random.min_population, random.max_population
    return CityFilter(
        min_population=math.ceil(smallest) if by_size and smallest is not None else 0,
        max_population=math.floor(largest) if by_size and largest is not None else None,
        include_countries=random.include_countries,
        exclude_countries=random.exclude_countries,
        largest=random.cities,
    )


def _cities_file(config: LegacyConfig) -> Path | None:
    """Their file of cities, beside the configuration or where the program runs; None if there is none."""
    random = config.random_location
    if not random.enabled or random.cities_file is None:
        return None
    tried = (config.path.parent / random.cities_file, Path(random.cities_file))
    return next((path.resolve() for path in tried if path.is_file()), None)
