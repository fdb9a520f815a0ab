"""The devices that sensor-log-generator's files come to: identity, place, replicas."""

import json

import numpy as np
import pytest
from legacy_fleets import DENVER, devices, options

from producers.legacy.identity import LegacyIdentity
from schemas.errors import ConfigError
from schemas.readings import Location


def test_the_identity_is_the_device():
    (device,) = devices(identity=DENVER)
    assert device.device_id == "SENSOR_CO_DEN_001"
    assert device.location == Location("Denver", 39.7337, -104.9906, "America/Denver")
    assert (device.manufacturer, device.model, device.firmware) == ("DataLogger", "AirData-Plus", "3.15.21")
    assert device.attributes["height_meters"] == "8.3"
    assert (device.attributes["state"], device.attributes["city"]) == ("CO", "Denver")


def test_the_sensor_section_says_what_the_identity_does_not():
    text = "sensor: {id: S, location: Tokyo, manufacturer: SensorTech, model: X, firmware_version: 1.4, serial_number: N}"
    (device,) = devices(text)
    assert (device.device_id, device.manufacturer, device.model, device.firmware) == (
        "S",
        "SensorTech",
        "X",
        "1.4",
    )
    assert device.serial_number == "N"
    (device,) = devices(text, DENVER)
    assert (device.device_id, device.manufacturer, device.serial_number) == (
        "SENSOR_CO_DEN_001",
        "DataLogger",
        "N",
    )
    assert device.location.name == "Denver"


def test_a_known_city_has_coordinates_and_a_time_zone():
    (device,) = devices("sensor: {location: tokyo}")
    assert device.location.timezone == "Asia/Tokyo"
    assert device.location.latitude == pytest.approx(35.7, abs=0.5)
    (device,) = devices("sensor: {location: My garden}")
    assert device.location == Location("My garden", None, None, "UTC")


def test_without_any_place_it_is_a_random_city():
    (device,) = devices()
    assert device.location.latitude is not None
    assert device.device_id == "SENSOR_1"


def test_braces_in_ids_are_just_braces():
    (device,) = devices(identity=LegacyIdentity(device_id="a{number}b"))
    assert device.device_id == "a{number}b"


def test_replicas_really_multiply():
    found = devices("replicas: {count: 100, prefix: LOAD, start_index: 7}", DENVER)
    assert [device.device_id for device in found] == [f"LOAD_{number}" for number in range(7, 107)]
    assert {device.location.name for device in found} == {"Denver"}
    assert {device.firmware for device in found} == {"3.15.21"}
    assert len({device.serial_number for device in found}) == 100


def test_replicas_are_spread_over_random_cities():
    text = "random_location: {enabled: true, number_of_cities: 20, gps_variation: 500}\nreplicas: {count: 60, prefix: GLOBAL}"
    found = devices(text, DENVER)
    names = {device.location.name for device in found}
    assert 10 < len(names) <= 20
    assert "Denver" not in names
    assert not any("state" in device.attributes for device in found)
    # Devices of one city stand apart, but not farther than twice 500 m.
    shanghai = np.array(
        [
            (device.location.latitude, device.location.longitude)
            for device in found
            if device.location.name == "Shanghai"
        ]
    )
    assert len(np.unique(shanghai, axis=0)) == len(shanghai) > 1
    assert np.ptp(shanghai[:, 0]) < 2 * 500 / 111_000


def test_a_single_known_place_is_only_moved_by_the_gps_variation():
    text = "random_location: {enabled: true, gps_variation: 10}"
    (device,) = devices(text, DENVER)
    assert device.location.name == "Denver"
    assert 0 < abs(device.location.latitude - 39.7337) < 10 / 111_000
    (device,) = devices("random_location: {enabled: true, gps_variation: 10}\nsensor: {location: My garden}")
    assert device.location.latitude is None


def test_cities_are_filtered():
    text = """
random_location: {enabled: true, city_count: 3, include_countries: [US, CA], exclude_countries: [CA],
  min_population: 1000000, max_population: 3000000}
replicas: {count: 40}
"""
    found = devices(text)
    assert {device.attributes["country"] for device in found} == {"US"}
    assert {device.location.name for device in found} == {"Chicago", "Houston", "Phoenix"} or len(
        {device.location.name for device in found}
    ) == 3
    with pytest.raises(ConfigError, match=r"config\.yaml: random_location"):
        devices("random_location: {enabled: true, include_countries: [XX]}")


def test_their_file_of_cities_is_read(tmp_path):
    cities = [
        {"full_name": f"Town {n}", "latitude": 52, "longitude": n, "country": "DE", "population": n * 1000}
        for n in range(1, 9)
    ]
    (tmp_path / "cities.json").write_text(json.dumps({"cities": cities}))
    text = "random_location: {enabled: true, cities_file: cities.json, number_of_cities: 2}\nreplicas: {count: 20}"
    found = devices(text, path=tmp_path / "config.yaml")
    assert {device.location.name for device in found} == {"Town 7", "Town 8"}
    assert found[0].location.timezone.startswith("Europe/")


def test_a_file_of_cities_that_is_not_there_is_named_and_ours_are_taken():
    text = "random_location: {enabled: true, cities_file: src/cities.json}"
    assert options(text).ignored == ("random_location.cities_file",)
    assert devices(text)[0].location.latitude is not None
