"""Cities: the shipped list, a user's own, and filters."""

import json
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from producers.devices.catalogue import load_catalogue
from producers.devices.expand import expand
from producers.devices.fleet_spec import CityFilter, FleetSpec, Group
from producers.devices.places import City, choose_cities, load_cities, shipped_cities
from schemas.errors import ConfigError


def test_the_shipped_cities():
    cities = shipped_cities()
    assert len(cities) >= 120
    assert len({city.name for city in cities}) == len(cities)
    assert [city.population for city in cities] == sorted((city.population for city in cities), reverse=True)
    assert len({city.country for city in cities}) > 60
    for city in cities:
        assert len(city.country) == 2, city
        assert ZoneInfo(city.timezone).key == city.timezone
        assert city.population > 40_000, city
        offset = ZoneInfo(city.timezone).utcoffset(datetime(2025, 1, 1)) / timedelta(hours=1)  # noqa: DTZ001
        assert abs(offset - city.longitude / 15.0) < 3.0, city  # by the sun, give or take politics


@pytest.mark.parametrize(
    ("name", "country", "latitude", "longitude", "timezone"),
    [
        ("New York", "US", 40.71, -74.01, "America/New_York"),
        ("San Francisco", "US", 37.77, -122.42, "America/Los_Angeles"),
        ("Denver", "US", 39.74, -104.99, "America/Denver"),
        ("Chicago", "US", 41.88, -87.63, "America/Chicago"),
        ("London", "GB", 51.51, -0.13, "Europe/London"),
        ("Sydney", "AU", -33.87, 151.21, "Australia/Sydney"),
        ("Tokyo", "JP", 35.69, 139.69, "Asia/Tokyo"),
        ("Buenos Aires", "AR", -34.61, -58.38, "America/Argentina/Buenos_Aires"),
        ("Kathmandu", "NP", 27.70, 85.32, "Asia/Kathmandu"),
    ],
)
def test_cities_are_where_they_are(name, country, latitude, longitude, timezone):
    (city,) = [city for city in shipped_cities() if city.name == name]
    assert (city.country, city.timezone) == (country, timezone)
    assert city.latitude == pytest.approx(latitude, abs=0.05)
    assert city.longitude == pytest.approx(longitude, abs=0.05)


def chosen(names=(), **wanted):
    return choose_cities(shipped_cities(), names, CityFilter(**wanted), "here")


def test_filters():
    assert len(chosen()) == len(chosen(("any",))) == len(shipped_cities())
    assert {city.country for city in chosen(include_countries=["US", "ca"])} == {"US", "CA"}
    assert "US" not in {city.country for city in chosen(exclude_countries="us")}
    between = chosen(min_population=1_000_000, max_population=2_000_000)
    assert between
    assert all(1_000_000 <= city.population <= 2_000_000 for city in between)
    assert [city.name for city in chosen(largest=2)] == ["Shanghai", "Beijing"]
    assert [city.name for city in chosen(("denver", "TOKYO"))] == ["Tokyo", "Denver"]
    with pytest.raises(ConfigError, match="here: cities: Atlantis is unknown"):
        chosen(("Atlantis",))
    with pytest.raises(ConfigError, match="here: city_filter leaves no city"):
        chosen(("Denver",), include_countries="JP")


def test_a_users_own_cities_in_csv(tmp_path):
    path = tmp_path / "cities.csv"
    path.write_text(
        "name,latitude,longitude,population,timezone\nSmall,39.9,-105.1,10,\nLarge,0,0,1000,UTC\n", "utf-8"
    )
    assert load_cities(path) == (
        City("Large", "", 0.0, 0.0, 1000, "UTC"),
        City("Small", "", 39.9, -105.1, 10, "America/Denver"),
    )


@pytest.mark.parametrize("wrap", [lambda cities: {"cities": cities}, lambda cities: cities])
def test_a_users_own_cities_in_json(tmp_path, wrap):
    path = tmp_path / "cities.json"
    rows = [{"full_name": "Springfield", "latitude": 39.8, "longitude": -89.64, "country": "United States"}]
    path.write_text(json.dumps(wrap(rows)), "utf-8")
    (city,) = load_cities(path)
    assert city == City("Springfield", "United States", 39.8, -89.64, 0, "America/Chicago")


def test_a_fleet_takes_its_cities_from_the_users_file(tmp_path):
    path = tmp_path / "cities.csv"
    path.write_text("city,latitude,longitude\nSpringfield,39.8,-89.64\n", "utf-8")
    spec = FleetSpec(cities_file=str(path), groups=(Group(type="environmental", cities="springfield"),))
    (device,) = expand(spec, load_catalogue(), 1)
    assert (device.location.name, device.location.timezone) == ("Springfield", "America/Chicago")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.csv", "", "line 1: no heading of cities"),
        ("c.csv", "a,b\n1,2\n", "line 1: no heading of cities: a, b"),
        ("c.csv", "name,latitude,longitude\n", "no city in it"),
        ("c.csv", "name,latitude,longitude\nA,91,0\n", "line 2: latitude is '91'"),
        ("c.csv", "name,latitude,longitude\nA,1,east\n", "line 2: longitude is 'east'"),
        ("c.csv", "name,latitude,longitude\nA,1\n", "line 2: longitude is None"),
        ("c.csv", "name,latitude,longitude\n,1,1\n", "line 2: a city without name"),
        ("c.csv", "name,latitude,longitude\nA,1,1\nA,2,2\n", "line 3: A is there twice"),
        ("c.csv", "name,latitude,longitude,population\nA,1,1,many\n", "line 2: population is 'many'"),
        ("c.csv", "name,latitude,longitude,timezone\nA,1,1,Europe/Berln\n", "no time zone Europe/Berln"),
        ("c.json", "3", "no list of cities"),
        ("c.json", "{", "line 1"),
        ("c.json", "[3]", "cities[0]: expected a city's keys and values"),
        ("c.json", '{"cities": []}', "no city in it"),
    ],
)
def test_files_that_make_no_sense_are_refused(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as refused:
        load_cities(path)
    assert message in refused.value.message
    assert refused.value.remedy


def test_a_file_that_is_not_there(tmp_path):
    for name in ("c.csv", "c.json"):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_cities(tmp_path / name)
