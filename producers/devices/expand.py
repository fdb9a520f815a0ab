"""From a fleet's groups to its devices: ids, places, makers, all drawn from the seed.

What a device has depends on the seed, its type, its group's template of ids and its number, and on nothing else: more
devices, or more groups, change no other device. Groups that share type and template are told apart by their order where
their numbers overlap.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from producers.devices.catalogue import DeviceCatalogue, group_type
from producers.devices.draws import Draws
from producers.devices.fleet_spec import CityFilter, DeviceSpec, FleetSpec, Group, Place
from producers.devices.model import Between, DeviceType
from producers.devices.places import City, choose_cities, load_cities, scatter
from producers.devices.templates import fields_of, slug
from producers.documents import nearest
from schemas.errors import ConfigError
from schemas.readings import Device, Location

_BAD_ID = re.compile(r"[\s/+#\x00-\x1f\x7f]")
"""What would be misread in a path, an MQTT topic or a command line."""
_LONGEST_ID = 200


def expand(spec: FleetSpec, catalogue: DeviceCatalogue, seed: int) -> list[DeviceSpec]:
    """The devices of a fleet, group by group.

    Raises:
        ConfigError: a type, city or parameter is not known, or two devices have one id; names the groups.
    """
    cities = load_cities(None if spec.cities_file is None else Path(spec.cities_file))
    devices: list[DeviceSpec] = []
    owners: dict[str, int] = {}
    for number, (group, part) in enumerate(zip(spec.groups, _parts(spec, catalogue), strict=True)):
        place = group_place(spec, number)
        kind = _known_type(catalogue, group, place)
        draws = Draws(
            seed, kind.name, group.device_id or kind.device_id, group.first_number, group.count, part
        )
        for device in _Expansion(group, number, kind, cities, draws, place).devices():
            owner = owners.setdefault(device.device_id, number)
            if len(owners) == len(devices):
                raise _clash(spec, device.device_id, owner, number)
            devices.append(device)
    return devices


def fleet_types(spec: FleetSpec, catalogue: DeviceCatalogue) -> list[DeviceType]:
    """The type of each group, with its and the fleet's changes.

    Raises:
        ConfigError: a type is unknown, or its changes make no sense.
    """
    return [
        group_type(catalogue, group, spec.faults, group_place(spec, number))
        for number, group in enumerate(spec.groups)
    ]


def device_record(spec: DeviceSpec, kind: DeviceType) -> Device:
    """The device as it is announced; the parameters that can be set stand as text among its attributes."""
    settable = (name for name, parameter in kind.parameters.items() if not parameter.made_of)
    parameters = {name: f"{spec.parameters[name]:.15g}" for name in settable if name in spec.parameters}
    return Device(
        device_id=spec.device_id,
        type=kind.name,
        name=spec.name,
        location=spec.location,
        manufacturer=spec.manufacturer,
        model=spec.model,
        firmware=spec.firmware,
        serial_number=spec.serial_number,
        units={name: metric.unit for name, metric in kind.metrics.items()},
        attributes={"family": kind.family, "simulated": "true", **parameters, **spec.attributes},
    )


def group_place(spec: FleetSpec, number: int) -> str:
    """What errors call a group."""
    return f"group {number + 1} ({spec.groups[number].type})"


def _known_type(catalogue: DeviceCatalogue, group: Group, place: str) -> DeviceType:
    if group.type not in catalogue.types:
        raise ConfigError(
            f"{place}: there is no device type {group.type}", nearest(group.type, catalogue.types)
        )
    return catalogue.types[group.type]


def _clash(spec: FleetSpec, device_id: str, owner: int, number: int) -> ConfigError:
    group = spec.groups[number]
    if owner == number:
        remedy = "Put {number} or {token} into its device_id."
        return ConfigError(
            f"{group_place(spec, number)}: {group.count} devices with the id {device_id}", remedy
        )
    return ConfigError(
        f"{group_place(spec, owner)} and {group_place(spec, number)}: both have a device {device_id}",
        f"Give one of them another device_id, or first_number: {spec.groups[owner].first_number + spec.groups[owner].count}.",
    )


def _parts(spec: FleetSpec, catalogue: DeviceCatalogue) -> Iterator[int]:
    """For each group a number that sets it apart from earlier ones of the same type, template and numbers."""
    earlier: dict[tuple[str, str], list[tuple[range, int]]] = {}
    for group in spec.groups:
        kind = catalogue.types.get(group.type)
        template = group.device_id or (kind.device_id if kind else "")
        numbers = range(group.first_number, group.first_number + group.count)
        same = earlier.setdefault((group.type, template), [])
        taken = {
            part for other, part in same if max(other.start, numbers.start) < min(other.stop, numbers.stop)
        }
        part = next(part for part in range(len(same) + 1) if part not in taken)
        same.append((numbers, part))
        yield part


class _Expansion:
    """One group on its way to devices: each attribute as a list with one entry a device."""

    def __init__(
        self, group: Group, number: int, kind: DeviceType, cities: Sequence[City], draws: Draws, place: str
    ) -> None:
        self._group = group
        self._number = number
        self._kind = kind
        self._draws = draws
        self._place = place
        self._kinds_of_place = self._drawn_places()
        self._cities = self._drawn_cities(cities)

    def devices(self) -> list[DeviceSpec]:
        """The group's devices, by number."""
        group, kind = self._group, self._kind
        try:
            parameters = kind.parameter_values(group.parameters)
        except ValueError as error:
            settable = [name for name, parameter in kind.parameters.items() if not parameter.made_of]
            wrong = next((name for name in group.parameters if name not in settable), "")
            remedy = nearest(wrong, settable) if wrong else "Give one within its bounds."
            raise ConfigError(f"{self._place}: parameters: {error}", remedy) from None
        makers = self._makers()
        initials = {maker: _initials(maker) for maker in set(makers)}
        columns = zip(
            self._ids(),
            self._filled(group.name or "{title} {number}"),
            self._locations(),
            makers,
            self._models(makers),
            self._draws.choices("firmware", group.firmware or kind.firmware or ("",)),
            self._draws.codes("serial number"),
            self._attributes(),
            strict=True,
        )
        return [
            DeviceSpec(
                device_id=device_id,
                group=self._number,
                name=name,
                location=location,
                manufacturer=maker,
                model=model,
                firmware=firmware,
                serial_number=group.serial_number or f"{initials[maker]}-{serial:08}",
                attributes=attributes,
                parameters=parameters,
            )
            for device_id, name, location, maker, model, firmware, serial, attributes in columns
        ]

    # Where they are

    def _drawn_places(self) -> list[str]:
        places = self._group.places or (() if self._group.locations else self._kind.places)
        return self._draws.choices("place", places) if places else [""] * self._group.count

    def _drawn_cities(self, cities: Sequence[City]) -> list[City] | None:
        if not (self._group.cities or self._group.city_filter):
            return None
        wanted = self._group.city_filter or CityFilter()
        return self._draws.choices("city", choose_cities(cities, self._group.cities, wanted, self._place))

    def _standing(self) -> list[Place | None]:
        """Place of each device, before it is moved about."""
        if self._group.locations:
            own = self._group.locations
            return [own[number % len(own)] for number in range(self._group.count)]
        if self._cities is not None:
            known = {city.name: _place_of(city) for city in set(self._cities)}
            return [known[city.name] for city in self._cities]
        named = {name: Place(name=name) if name else None for name in set(self._kinds_of_place)}
        return [named[name] for name in self._kinds_of_place]

    def _locations(self) -> list[Location | None]:
        standing = self._standing()
        if self._group.gps_radius_m > 0.0:
            return self._scattered(standing)
        made = {id(place): _location(place) for place in standing if place is not None}
        return [None if place is None else made[id(place)] for place in standing]

    def _scattered(self, standing: list[Place | None]) -> list[Location | None]:
        places = [place for place in standing if place is not None]
        middles = [(place.latitude, place.longitude) for place in places]
        if len(places) < len(standing) or any(None in middle for middle in middles):
            raise ConfigError(
                f"{self._place}: gps_radius_m needs places with coordinates",
                "Give cities, or locations with latitude and longitude.",
            )
        middle = np.array(middles, np.float64)
        draws = self._draws.uniform("distance"), self._draws.uniform("bearing")
        latitude, longitude = scatter(middle[:, 0], middle[:, 1], self._group.gps_radius_m, draws)
        return [
            Location(place.name, north, east, place.timezone)
            for place, north, east in zip(places, latitude.tolist(), longitude.tolist(), strict=True)
        ]

    # What they are called

    def _ids(self) -> list[str]:
        template = self._group.device_id or self._kind.device_id
        ids = self._filled(template, slug, must_have=("place", "city"))
        for device_id in ids:
            if len(device_id) > _LONGEST_ID or _BAD_ID.search(device_id):
                raise ConfigError(
                    f"{self._place}: {device_id[:_LONGEST_ID]!r} cannot be a device's id",
                    f"Take up to {_LONGEST_ID} characters, and no space, slash, + or # among them.",
                )
        return ids

    def _filled(
        self, template: str, write: Callable[[str], str] = str, must_have: tuple[str, ...] = ()
    ) -> list[str]:
        """The template with each device's own words."""
        fields = fields_of(template)
        if not fields:
            return [template.format()] * self._group.count
        words = {"place": self._words_of_place(), "city": self._words_of_city()}
        for field in fields & set(must_have):
            if "" in words[field]:
                raise ConfigError(
                    f"{self._place}: device_id has {{{field}}}, and the devices have none",
                    "Give places." if field == "place" else "Give cities.",
                )
        written = {name: {word: write(word) for word in set(column)} for name, column in words.items()}
        columns = zip(
            self._draws.numbers, self._draws.codes("token"), words["place"], words["city"], strict=True
        )
        return [
            template.format(
                type=self._kind.name,
                title=self._kind.title or self._kind.name,
                number=number,
                token=f"{token:06x}",
                place=written["place"][place],
                city=written["city"][city],
            )
            for number, token, place, city in columns
        ]

    def _words_of_place(self) -> list[str]:
        own = [place.name for place in self._group.locations] or [""]
        return [kind or own[number % len(own)] for number, kind in enumerate(self._kinds_of_place)]

    def _words_of_city(self) -> list[str]:
        return [city.name for city in self._cities] if self._cities else [""] * self._group.count

    # What they are

    def _makers(self) -> list[str]:
        known = self._kind.manufacturers
        if self._group.manufacturer is not None:
            return [self._group.manufacturer] * self._group.count
        of_model = [maker for maker, models in known.items() if self._group.model in models]
        return self._draws.choices("manufacturer", of_model or list(known))

    def _models(self, makers: list[str]) -> list[str]:
        if self._group.model is not None:
            return [self._group.model] * self._group.count
        draws = self._draws.uniform("model").tolist()
        known = self._kind.manufacturers
        models = [known.get(maker, ("",)) for maker in makers]
        return [choice[int(draw * len(choice))] for choice, draw in zip(models, draws, strict=True)]

    def _attributes(self) -> list[dict[str, str]]:
        n = self._group.count
        columns: dict[str, list[str]] = {}
        for name, value in {**self._kind.attributes, **self._group.attributes}.items():
            if isinstance(value, Between):
                drawn = value.low + self._draws.uniform(name) * (value.high - value.low)
                columns[name] = [f"{one:.{value.decimals}f}" for one in drawn.tolist()]
            else:
                columns[name] = [value] * n if isinstance(value, str) else self._draws.choices(name, value)
        for name, words in (("place", self._words_of_place()), ("city", self._words_of_city())):
            if any(words) and name not in columns:
                columns[name] = words
        if self._cities is not None and "country" not in columns:
            columns["country"] = [city.country for city in self._cities]
        names = list(columns)
        rows = zip(*columns.values(), strict=True) if columns else ([()] * n)
        return [dict(zip(names, row, strict=True)) for row in rows]


def _place_of(city: City) -> Place:
    # Not validated: the cities were, when they were read.
    return Place.model_construct(
        name=city.name, latitude=city.latitude, longitude=city.longitude, timezone=city.timezone
    )


def _location(place: Place) -> Location:
    return Location(place.name, place.latitude, place.longitude, place.timezone)


def _initials(maker: str) -> str:
    """DL for DataLogger, ABB for ABB, TR for Trane."""
    letters = re.sub(r"[^A-Za-z]", "", maker)
    capitals = re.sub(r"[^A-Z]", "", letters)[:3]
    return capitals if len(capitals) > 1 else letters[:2].upper() or "SN"
