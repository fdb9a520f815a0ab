"""From groups to devices: same seed, same devices; each for itself; ids that are unique; places that are right."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.devices.catalogue import load_catalogue
from producers.devices.draws import CODES, Draws
from producers.devices.expand import device_record, expand, fleet_types
from producers.devices.fleet_spec import CityFilter, FleetSpec, Group, Place
from producers.devices.places import shipped_cities
from schemas.errors import ConfigError
from schemas.readings import Location

CATALOGUE = load_catalogue()


def devices(*groups, seed=1, **spec):
    return expand(FleetSpec(groups=groups, **spec), CATALOGUE, seed)


def any_group(kind, **more):
    return st.builds(
        lambda count, first: Group(type=kind, count=count, first_number=first, **more),
        st.integers(1, 30),
        st.integers(0, 50),
    )


# Draws


@given(any_group("oven", city_filter=CityFilter(), gps_radius_m=100.0), st.integers(0, 2**64))
@settings(max_examples=20, deadline=None)
def test_the_same_seed_gives_the_same_devices(group, seed):
    assert devices(group, seed=seed) == devices(group, seed=seed)


@given(st.sampled_from(["oven", "hvac", "environmental"]), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_more_devices_change_no_other(kind, fewer, more):
    few = devices(Group(type=kind, count=fewer))
    many = devices(Group(type=kind, count=fewer + more))
    assert many[:fewer] == few


@given(any_group("fan"), any_group("oven"), any_group("fan", places="mine"))
@settings(max_examples=30, deadline=None)
def test_more_groups_change_no_other_device(first, other, last):
    alone = devices(first)
    assert devices(first, other, last)[: first.count] == alone
    after = devices(other, first)[other.count :]
    assert [(device.device_id, device.attributes, device.serial_number) for device in after] == [
        (device.device_id, device.attributes, device.serial_number) for device in alone
    ]


@given(st.integers(0, 100), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=20, deadline=None)
def test_a_group_may_be_cut_in_two_by_its_numbers(first, one, two):
    whole = devices(Group(type="pm", count=one + two, first_number=first))
    parts = devices(
        Group(type="pm", count=one, first_number=first), Group(type="pm", count=two, first_number=first + one)
    )
    assert [device.device_id for device in parts] == [device.device_id for device in whole]


def test_another_seed_gives_other_devices():
    one, two = (devices(Group(type="oven", count=50), seed=seed) for seed in (1, 2))
    assert not {device.device_id for device in one} & {device.device_id for device in two}


def test_pinned_devices():
    """These are part of what a seed means: a change renames every device of every fleet."""
    found = devices(Group(type="oven", count=2), Group(type="oven"))
    assert [(device.device_id, device.serial_number) for device in found] == PINNED


PINNED = [
    ("oven-supermarket-3e8de9", "TW-03769397"),
    ("oven-supermarket-8b2d67", "TW-09431722"),
    ("oven-factory-a43503", "OM-05616124"),
]


def test_overlapping_groups_of_one_type_have_draws_of_their_own():
    found = devices(*(Group(type="oven", count=1000, first_number=first) for first in (1, 500, 1, 700)))
    assert len({device.device_id for device in found}) == 4000
    assert len({device.device_id[-6:] for device in found}) == 4000


@given(st.integers(0, 2**40), st.integers(0, 15))
@settings(max_examples=10, deadline=None)
def test_codes_are_different_and_look_random(first, part):
    codes = np.array(Draws(1, "oven", "{token}", first, 20_000, part).codes("token"))
    assert len(set(codes.tolist())) == 20_000
    assert ((codes >= 0) & (codes < CODES)).all()
    # 16 bins of 1250 +- 5 standard deviations each
    assert abs(np.histogram(codes, 16, (0, CODES))[0] - 1250).max() < 5 * math.sqrt(1250)


def test_a_hundred_thousand_devices_have_names_of_their_own():
    groups = (
        Group(type="oven", count=50_000, city_filter=CityFilter(), gps_radius_m=100.0),
        Group(type="environmental", count=50_000, cities="any"),
    )
    assert len({device.device_id for device in devices(*groups)}) == 100_000


# Ids and names


def test_ids_from_templates():
    found = devices(
        Group(type="hvac", count=2, first_number=7),
        Group(type="hvac", device_id="HQ"),
        Group(type="environmental", count=2, device_id="{type}_{city}_{number:04}", cities="São Paulo"),
        Group(type="pm", device_id="{place}.{number}", places="Main Hall"),
        Group(type="lamp", device_id="{place}-{number}", locations=(Place(name="Büro 3"),)),
    )
    assert [device.device_id for device in found] == [
        "hvac-007",
        "hvac-008",
        "HQ",
        "environmental_sao-paulo_0001",
        "environmental_sao-paulo_0002",
        "main-hall.1",
        "buro-3-1",
    ]


def test_names_from_templates():
    found = devices(
        Group(type="hvac", count=2),
        Group(type="server", name="Rack"),
        Group(
            type="pm", name="{title} in the {place} of {city}, {number}", places="factory", cities="Denver"
        ),
    )
    assert [device.name for device in found] == [
        "HVAC system 1",
        "HVAC system 2",
        "Rack",
        "Particulate matter in the factory of Denver, 1",
    ]


@pytest.mark.parametrize(
    ("groups", "message", "remedy"),
    [
        ([Group(type="ovne")], "group 1 (ovne): there is no device type ovne", "Did you mean oven?"),
        ([Group(type="fan", device_id="f", count=2)], "group 1 (fan): 2 devices with the id f", "{number}"),
        (
            [Group(type="hvac", count=3), Group(type="oven"), Group(type="hvac")],
            "group 1 (hvac) and group 3 (hvac): both have a device hvac-001",
            "first_number: 4",
        ),
        ([Group(type="hvac", device_id="a b")], "'a b' cannot be a device's id", "no space"),
        ([Group(type="hvac", device_id="a/b")], "cannot be a device's id", "slash"),
        ([Group(type="hvac", device_id="x" * 201)], "cannot be a device's id", "200 characters"),
        ([Group(type="hvac", device_id="{place}")], "device_id has {place}", "Give places."),
        ([Group(type="oven", device_id="{city}")], "device_id has {city}", "Give cities."),
        (
            [Group(type="oven", cities="Denvr")],
            "group 1 (oven): cities: Denvr is unknown",
            "Did you mean Denver?",
        ),
        (
            [Group(type="oven", city_filter=CityFilter(include_countries=("XX",)))],
            "group 1 (oven): city_filter leaves no city",
            "Widen it.",
        ),
        ([Group(type="hvac", gps_radius_m=5)], "gps_radius_m needs places with coordinates", "Give cities"),
        (
            [Group(type="hvac", parameters={"base_powr": 1})],
            "base_powr is no parameter",
            "Did you mean base_power?",
        ),
        (
            [Group(type="hvac", parameters={"base_power": 0})],
            "base_power of 0 kW is not 0.1 to 1000",
            "bounds",
        ),
        ([Group(type="signal", parameters={"width": 1})], "width cannot be set: it is made of", "high, low"),
        ([Group(type="oven", parameters={"low": 1})], "low is no parameter of oven", "There are none."),
    ],
)
def test_fleets_that_make_no_sense_are_refused(groups, message, remedy):
    with pytest.raises(ConfigError) as refused:
        devices(*groups)
    assert message in refused.value.message
    assert remedy in refused.value.remedy


# Places


def test_places_of_the_users_own_are_taken_in_turn():
    own = (Place(name="A", latitude=1.0, longitude=2.0, timezone="Asia/Tokyo"), Place(name="B"))
    found = devices(Group(type="hvac", count=3, locations=own))
    assert [device.location for device in found] == [
        Location("A", 1.0, 2.0, "Asia/Tokyo"),
        Location("B"),
        Location("A", 1.0, 2.0, "Asia/Tokyo"),
    ]
    assert [device.attributes["place"] for device in found] == ["A", "B", "A"]


def test_devices_stand_in_cities_with_their_time_zones():
    found = devices(Group(type="environmental", count=300, cities=("Denver", "Tokyo")))
    zones = {device.location.name: device.location.timezone for device in found}
    assert zones == {"Denver": "America/Denver", "Tokyo": "Asia/Tokyo"}
    assert {(device.attributes["city"], device.attributes["country"]) for device in found} == {
        ("Denver", "US"),
        ("Tokyo", "JP"),
    }
    # 150 each, +- 5 standard deviations
    assert abs(sum(device.location.name == "Denver" for device in found) - 150) < 44


def test_any_city():
    found = devices(Group(type="environmental", count=5000, cities="any"))
    assert {device.location.name for device in found} == {city.name for city in shipped_cities()}


def test_a_kind_of_place_and_a_city():
    (found,) = devices(Group(type="oven", places="factory", cities="Denver"))
    assert found.device_id.startswith("oven-factory-")
    assert (found.attributes["place"], found.attributes["city"], found.location.name) == (
        "factory",
        "Denver",
        "Denver",
    )
    (alone,) = devices(Group(type="oven", places="factory"))
    assert alone.location == Location("factory")
    (nowhere,) = devices(Group(type="hvac"))
    assert nowhere.location is None


def distance_m(one, two):
    """By the haversine formula."""
    up, along = (math.radians(a - b) for a, b in zip(one, two, strict=True))
    half = (
        math.sin(up / 2) ** 2
        + math.cos(math.radians(one[0])) * math.cos(math.radians(two[0])) * math.sin(along / 2) ** 2
    )
    return 2 * 6_371_008.8 * math.asin(math.sqrt(half))


@pytest.mark.parametrize(
    "middle", [(0.0, 0.0), (39.7, -105.0), (78.2, 15.6), (-17.8, 179.9999), (89.9999, 0.0)]
)
def test_devices_are_spread_evenly_within_the_radius(middle):
    place = Place(name="here", latitude=middle[0], longitude=middle[1])
    found = devices(Group(type="hvac", count=4000, locations=(place,), gps_radius_m=500.0))
    points = [(device.location.latitude, device.location.longitude) for device in found]
    far = np.array([distance_m(middle, point) for point in points])
    assert far.max() <= 500.2  # coordinates are rounded to 0.1 m
    assert all(-90.0 <= north <= 90.0 and -180.0 <= east <= 180.0 for north, east in points)
    # Half of a disc's area is within 0.7071 of its radius; 4 quarters of the compass alike: +- 5 standard deviations.
    assert abs((far < 500.0 * math.sqrt(0.5)).sum() - 2000) < 5 * math.sqrt(1000)
    if abs(middle[0]) < 80.0:
        assert abs(sum(north > middle[0] for north, _ in points) - 2000) < 5 * math.sqrt(1000)


# What they are


def test_makers_models_firmware_and_serial_numbers():
    kind = CATALOGUE.types["environmental"]
    found = devices(Group(type="environmental", count=2000))
    assert {(device.manufacturer, device.model) for device in found} == {
        (maker, model) for maker, models in kind.manufacturers.items() for model in models
    }
    assert {device.firmware for device in found} == set(kind.firmware)
    assert len({device.serial_number for device in found}) == 2000
    assert all(device.serial_number[:3] in {"ST-", "DL-", "DS-", "MP-"} for device in found)


def test_what_a_group_says_goes_before_what_is_drawn():
    group = Group(
        type="environmental",
        count=20,
        manufacturer="DataLogger",
        firmware=("3.15.21", "3.0-beta"),
        serial_number="DL-578463",
        attributes={"height_meters": "8.3", "city": "Denver", "note": "x"},
    )
    found = devices(group)
    assert {device.manufacturer for device in found} == {"DataLogger"}
    assert {device.model for device in found} == set(
        CATALOGUE.types["environmental"].manufacturers["DataLogger"]
    )
    assert {device.firmware for device in found} == {"3.15.21", "3.0-beta"}
    assert {device.serial_number for device in found} == {"DL-578463"}
    assert all(device.attributes.items() >= group.attributes.items() for device in found)


def test_a_model_tells_its_maker():
    found = devices(Group(type="environmental", count=20, model="ProWatch-2"))
    assert {(device.manufacturer, device.model) for device in found} == {("MonitorPro", "ProWatch-2")}
    foreign = devices(Group(type="environmental", manufacturer="Acme"))
    assert (foreign[0].manufacturer, foreign[0].model) == ("Acme", "")


def test_batteries_are_drawn_within_their_range():
    levels = [int(device.attributes["battery_level"]) for device in devices(Group(type="oven", count=1000))]
    assert (min(levels), max(levels)) == (35, 100)


def test_parameters_are_complete():
    first, second = devices(Group(type="hvac", parameters={"base_power": 30}), Group(type="signal"))
    assert first.parameters == {"base_power": 30.0, "base_voltage": 240.0}
    assert second.parameters == {"low": 40.0, "high": 50.0, "middle": 45.0, "width": 10.0}


def test_the_record_of_a_device():
    (spec,) = devices(Group(type="hvac", locations=(Place(name="Hall"),), parameters={"base_power": 30.25}))
    record = device_record(spec, CATALOGUE.types["hvac"])
    assert (record.device_id, record.type, record.name) == ("hvac-001", "hvac", "HVAC system 1")
    assert record.location == Location("Hall")
    assert record.units == {"power": "kW", "voltage": "V", "current": "A", "energy": "kWh"}
    assert record.attributes.items() >= {
        "base_power": "30.25", "base_voltage": "240", "place": "Hall", "family": "energy", "simulated": "true"
    }.items()  # fmt: skip
    (signal,) = devices(Group(type="signal"))
    attributes = device_record(signal, CATALOGUE.types["signal"]).attributes
    assert (attributes["low"], attributes["high"]) == ("40", "50")
    assert "width" not in attributes


def test_the_types_of_the_groups():
    spec = FleetSpec(
        groups=(Group(type="oven"), Group(type="environmental", drop_metrics=("voltage",))),
        faults={"kinds": {"spike": {"weight": 3}}},
    )
    oven, environmental = fleet_types(spec, CATALOGUE)
    assert oven.faults["spike"].weight == environmental.faults["spike"].weight == 3.0
    assert "voltage" not in environmental.metrics
    wrong = FleetSpec(groups=(Group(type="oven"), Group(type="fan", drop_metrics=("rpm",))))
    with pytest.raises(ConfigError, match=r"group 2 \(fan\): drop_metrics: no metric rpm"):
        fleet_types(wrong, CATALOGUE)


def test_devices_come_in_the_order_of_groups_and_numbers():
    found = devices(Group(type="hvac", count=20), Group(type="server", count=3))
    assert [device.group for device in found] == [0] * 20 + [1] * 3
    assert all(one < two for one, two in pairwise(device.device_id for device in found[:20]))
