"""Where devices stand: cities with real coordinates, and points at random around them."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from producers.devices.fleet_spec import CityFilter
from producers.documents import nearest, read_json
from schemas.errors import ConfigError

Floats = NDArray[np.float64]

_SHIPPED = Path(__file__).parent / "cities.csv"
_EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the WGS 84 ellipsoid."""
_NAMES = ("name", "full_name", "city")
_COLUMNS = ("name", "country", "latitude", "longitude", "population", "timezone")
ANY = "any"


@dataclass(frozen=True, slots=True)
class City:
    """A city; `country` is its ISO 3166 code in the shipped list, in a user's own whatever it says."""

    name: str
    country: str
    latitude: float
    longitude: float
    population: int
    timezone: str


@cache
def shipped_cities() -> tuple[City, ...]:
    """The cities of the shipped list, the largest first."""
    return _read_csv(_SHIPPED)


def load_cities(path: Path | None = None) -> tuple[City, ...]:
    """The cities of a user's file, the largest first; without one the shipped ones.

    The file is CSV with a heading, or JSON: a list of cities, or one under the key `cities`. A city needs name (or
    full_name, or city), latitude and longitude; country, population and timezone are optional. A missing time zone
    is that of the nearest shipped city.

    Raises:
        ConfigError: it cannot be read or has an error; says the row.
    """
    if path is None:
        return shipped_cities()
    return _read_json(path) if path.suffix.lower() == ".json" else _read_csv(path)


def _read_csv(path: Path) -> tuple[City, ...]:
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}", "Give the path of a file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})", "Save it as UTF-8.") from error
    rows = csv.DictReader(io.StringIO(text))
    if not {"latitude", "longitude"} <= set(rows.fieldnames or ()):
        raise ConfigError(
            f"{path}, line 1: no heading of cities: {', '.join(rows.fieldnames or ('empty',))}",
            f"Begin with {','.join(_COLUMNS)}.",
        )
    return _cities((f"{path}, line {number}", row) for number, row in enumerate(rows, 2))


def _read_json(path: Path) -> tuple[City, ...]:
    data = read_json(path)
    found = data.get("cities") if isinstance(data, Mapping) else data
    if not isinstance(found, list):
        raise ConfigError(f"{path}: no list of cities", 'Write it as {"cities": [{"name": ...}, ...]}.')
    return _cities((f"{path}: cities[{number}]", row) for number, row in enumerate(found))


def _cities(rows: Iterable[tuple[str, Any]]) -> tuple[City, ...]:
    cities: dict[str, City] = {}
    place = "the file of cities"
    for place, row in rows:
        city = _city(row, place)
        if city.name in cities:
            raise ConfigError(f"{place}: {city.name} is there twice", "Give each city a name of its own.")
        cities[city.name] = city
    if not cities:
        raise ConfigError(f"{place}: no city in it", "Give at least one.")
    return tuple(sorted(cities.values(), key=lambda city: -city.population))


def _city(row: Any, place: str) -> City:
    if not isinstance(row, Mapping):
        raise ConfigError(f"{place}: expected a city's keys and values", f"Give {', '.join(_COLUMNS)}.")
    name = next((str(row[key]).strip() for key in _NAMES if row.get(key)), "")
    if not name:
        raise ConfigError(f"{place}: a city without name", "Give name, full_name or city.")
    latitude, longitude = _number(row, "latitude", 90.0, place), _number(row, "longitude", 180.0, place)
    try:
        population = int(float(row.get("population") or 0))
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(
            f"{place}: population is {row['population']!r}", "Give a number of people."
        ) from None
    zone = str(row.get("timezone") or "")
    return City(
        name,
        str(row.get("country") or ""),
        latitude,
        longitude,
        population,
        check_timezone(zone, place) if zone else _nearest_timezone(latitude, longitude),
    )


def _number(row: Mapping[str, Any], key: str, largest: float, place: str) -> float:
    try:
        value = float(row.get(key))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if not abs(value) <= largest:
        raise ConfigError(
            f"{place}: {key} is {row.get(key)!r}", f"Give degrees between {-largest:g} and {largest:g}."
        )
    return value


@cache
def check_timezone(name: str, place: str) -> str:
    """The name, if it is an IANA time zone's.

    Raises:
        ConfigError: it is not.
    """
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        zones = {city.timezone for city in shipped_cities()} if place != str(_SHIPPED) else set()
        raise ConfigError(f"{place}: there is no time zone {name}", nearest(name, zones)) from None
    return name


def _nearest_timezone(latitude: float, longitude: float) -> str:
    here = _vector(latitude, longitude)
    return max(
        shipped_cities(), key=lambda city: float(here @ _vector(city.latitude, city.longitude))
    ).timezone


def choose_cities(
    cities: Sequence[City], names: Sequence[str], wanted: CityFilter, place: str
) -> tuple[City, ...]:
    """The cities of `names` (`any` for all) that pass a filter, the largest first.

    Args:
        cities: those that there are.
        names: of known cities.
        wanted: the filter.
        place: what errors call the place where they were asked for.

    Raises:
        ConfigError: a name is unknown, or no city is left.
    """
    by_name = {city.name.casefold(): city for city in cities}
    chosen = list(cities) if ANY in names or not names else []
    for name in names if not chosen else ():
        if name.casefold() not in by_name:
            remedy = f"{nearest(name, [city.name for city in cities])} `locations` takes places of your own."
            raise ConfigError(f"{place}: cities: {name} is unknown", remedy)
        chosen.append(by_name[name.casefold()])
    chosen = [city for city in chosen if _passes(city, wanted)]
    if not chosen:
        raise ConfigError(f"{place}: city_filter leaves no city", "Widen it.")
    return tuple(sorted(chosen, key=lambda city: -city.population)[: wanted.largest])


def _passes(city: City, wanted: CityFilter) -> bool:
    country = city.country.casefold()
    if country in {name.casefold() for name in wanted.exclude_countries}:
        return False
    if wanted.include_countries and country not in {name.casefold() for name in wanted.include_countries}:
        return False
    most = math.inf if wanted.max_population is None else wanted.max_population
    return wanted.min_population <= city.population <= most


def scatter(
    latitude: Floats, longitude: Floats, radius_m: float, draws: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Points spread evenly over the discs around others, as right at the poles as at the equator.

    Args:
        latitude, longitude: (n,) degrees of the discs' middles.
        radius_m: of the discs, along the ground.
        draws: twice (n,) uniform draws in [0, 1).

    Returns:
        (n,) latitudes and (n,) longitudes in degrees, rounded to 6 decimals (0.1 m).
    """
    # On a sphere the area within the angle a is proportional to 1 - cos a = 2 sin(a / 2)^2.
    reach = min(radius_m / _EARTH_RADIUS_M, math.pi)
    angle = 2.0 * np.arcsin(np.sqrt(draws[0]) * math.sin(reach / 2.0))
    bearing = 2.0 * math.pi * draws[1]
    here = np.radians(latitude)
    there = np.arcsin(
        np.clip(np.sin(here) * np.cos(angle) + np.cos(here) * np.sin(angle) * np.cos(bearing), -1.0, 1.0)
    )
    turned = np.arctan2(
        np.sin(bearing) * np.sin(angle) * np.cos(here), np.cos(angle) - np.sin(here) * np.sin(there)
    )
    wrapped = (longitude + np.degrees(turned) + 540.0) % 360.0 - 180.0
    return np.round(np.degrees(there), 6), np.round(wrapped, 6)


def _vector(latitude: float, longitude: float) -> Floats:
    up, along = math.radians(latitude), math.radians(longitude)
    return np.array([math.cos(up) * math.cos(along), math.cos(up) * math.sin(along), math.sin(up)])
