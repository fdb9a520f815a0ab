"""From sensor-log-generator's files to a fleet that reads what they say."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.devices.catalogue import load_catalogue
from producers.devices.expand import expand
from producers.documents import parse_yaml
from producers.legacy.config import config_of
from producers.legacy.convert import LegacyOptions, fleet_of
from producers.legacy.identity import LegacyIdentity, identity_of
from producers.simulation.device_fleet import DeviceFleet
from schemas.errors import ConfigError
from schemas.readings import Location

CATALOGUE = load_catalogue()
HOUR_US = 3_600_000_000
BEGIN_US = 20_000 * 24 * HOUR_US
DENVER = identity_of(
    {
        "sensor_id": "SENSOR_CO_DEN_001",
        "location": {
            "city": "Denver",
            "state": "CO",
            "coordinates": {"latitude": 39.7337, "longitude": -104.9906},
            "timezone": "America/Denver",
        },
        "device_info": {"manufacturer": "DataLogger", "model": "AirData-Plus", "firmware_version": "3.15.21"},
        "deployment": {"height_meters": 8.3},
    }
)


def config(text="", path=Path("config.yaml")):
    return config_of(parse_yaml(text, "test"), path)


def devices(text="", identity=None, path=Path("config.yaml")):
    return expand(fleet_of(config(text, path), identity)[0], CATALOGUE, 1)


def options(text="", **rest):
    return fleet_of(config(text), **rest)[1]


def run(text, identity=None, hours=24, interval_s=60):
    """Readings of the fleet: (SeriesTable, batch)."""
    spec, _ = fleet_of(config(text), identity)
    fleet = DeviceFleet(spec, CATALOGUE, 1, round(interval_s * 1e6))
    return fleet, fleet.between(BEGIN_US, BEGIN_US + round(hours * HOUR_US))


def values(text, metric, **rest):
    fleet, batch = run(text, **rest)
    numbers = [number for number, name in enumerate(fleet.table.metrics) if name == metric]
    return batch.value[np.isin(batch.series, numbers)]


# The device


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


# What it reads


def test_standard_deviations_of_the_types_are_those_that_are_scaled():
    """`std_dev` is the spread over days: the day's cycle, the slow wander, the noise."""
    text = """
replicas: {count: 30}
anomalies: {enabled: false}
normal_parameters:
  temperature: {mean: 61, std_dev: 4, min: -100, max: 300}
  humidity: {mean: 40, std_dev: 2.5, min: 0, max: 100}
  pressure: {mean: 101325, std_dev: 1000, min: 9000, max: 200000}
  voltage: {mean: 230, std_dev: 3, min: 0, max: 500}
  vibration: {mean: 2.5, std_dev: 0.5, min: -9, max: 10}
"""
    fleet, batch = run(text, DENVER, hours=240, interval_s=600)
    said = {"temperature": (61, 4), "humidity": (40, 2.5), "pressure": (101_325, 1000), "voltage": (230, 3)}
    said["vibration"] = (2.5, 0.5)
    for metric, (mean, std) in said.items():
        numbers = [number for number, name in enumerate(fleet.table.metrics) if name == metric]
        found = batch.value[np.isin(batch.series, numbers)]
        assert len(numbers) == 30
        assert found.mean() == pytest.approx(mean, abs=0.1 * std)
        assert found.std() == pytest.approx(std, rel=0.06)


def test_values_stay_between_min_and_max():
    text = "anomalies: {enabled: false}\nnormal_parameters: {temperature: {mean: 20, std_dev: 9, min: 18, max: 23}}"
    found = values(text, "temperature", identity=DENVER)
    assert (found.min(), found.max()) == (18, 23)


def test_one_bound_alone_leaves_the_other_side_open():
    text = "anomalies: {enabled: false}\nnormal_parameters: {temperature: {mean: 500, std_dev: 5, min: 499}}"
    found = values(text, "temperature", identity=DENVER)
    assert found.min() == 499
    assert found.max() > 508


def test_small_spreads_are_not_rounded_away():
    text = "anomalies: {enabled: false}\nnormal_parameters: {voltage: {mean: 1, std_dev: 0.0001, min: 0, max: 2}}"
    assert len(np.unique(values(text, "voltage", identity=DENVER))) > 10


def test_no_spread_is_no_spread():
    text = "anomalies: {enabled: false}\nnormal_parameters: {temperature: {mean: 21, std_dev: 0}, humidity: {mean: 50, std_dev: 0}}"
    assert set(values(text, "temperature", identity=DENVER)) == {21.0}
    assert set(values(text, "humidity", identity=DENVER)) == {50.0}


@pytest.mark.parametrize(("mean", "unit"), [(12, "bar"), (1013, "hPa"), (101_325, "Pa")])
def test_the_unit_of_pressure_follows_from_its_size(mean, unit):
    fleet, _ = run(f"normal_parameters: {{pressure: {{mean: {mean}}}}}", DENVER, hours=0.1)
    assert fleet.devices[0].units["pressure"] == unit


def test_vibration_is_read_only_where_it_is_configured():
    fleet, _ = run("", DENVER, hours=0.1)
    assert set(fleet.table.metrics) == {"temperature", "humidity", "pressure", "voltage"}
    fleet, _ = run("normal_parameters: {vibration: {mean: 3}}", DENVER, hours=0.1)
    assert set(fleet.table.metrics) == {"temperature", "humidity", "pressure", "voltage", "vibration"}


# Faults

TYPES = "{spike: {weight: 0.4}, trend: {weight: 0.2, duration_seconds: 300}, missing_data: {weight: 0.4}}"


@pytest.mark.parametrize("probability", [0.05, 0.2])
@pytest.mark.parametrize(
    ("types", "shares"),
    [
        ("{}", {"spike": 0.4, "trend": 0.2, "pattern": 0.1, "missing_data": 0.1, "noise": 0.2}),
        (TYPES, {"spike": 0.4, "trend": 0.2, "missing_data": 0.4}),
        ("{noise: {duration_seconds: 20}}", {"noise": 1.0}),
    ],
)
def test_probability_and_weights_are_shares_of_the_readings(probability, types, shares):
    """As theirs, whose anomalies change one reading each; whatever the durations and the interval are."""
    text = f"replicas: {{count: 60}}\nanomalies: {{probability: {probability}, types: {types}}}"
    identity = LegacyIdentity(manufacturer="other", firmware="9")
    fleet, batch = run(text + "\nsimulation: {readings_per_second: 0.2}", identity, hours=24, interval_s=5)
    steps = len(fleet.devices) * 24 * 720
    labelled = np.bincount(batch.fault[batch.fault >= 0], minlength=len(fleet.table.faults)) / steps
    # Spikes and trends are on one of the four metrics, the others on all; silence is what is missing.
    seen = {
        name: share / (1 if name in {"spike", "trend"} else 4)
        for name, share in zip(fleet.table.faults, labelled.tolist(), strict=True)
    }
    seen["missing_data"] = 1 - len(batch) / 4 / steps
    assert sum(seen.values()) == pytest.approx(probability, rel=0.1)
    for name, share in shares.items():
        assert seen[name] == pytest.approx(share * probability, rel=0.25), name
    assert {name for name, share in seen.items() if share > 0} == set(shares)


def test_a_fault_is_seen_within_minutes_of_their_example():
    """Theirs never fired one with the configuration that it came with."""
    text = """
simulation: {readings_per_second: 3}
anomalies:
  probability: 0.05
  types: {spike: {weight: 0.3}, trend: {weight: 0.25, duration_seconds: 300}, noise: {weight: 0.1, duration_seconds: 120}}
"""
    fleet, _ = run(text, DENVER, hours=0.5, interval_s=1 / 3)
    assert fleet.episodes["spike"] > 20


def faults(text):
    spec, _ = fleet_of(config(text), DENVER)
    return spec.faults


def test_only_kinds_that_are_listed_and_enabled_come_by_themselves():
    found = faults("anomalies: {types: {spike: {weight: 0.5}, trend: {enabled: false}, noise: }}")
    weights = {name: kind["weight"] for name, kind in found.kinds.items()}
    # At a reading a second, and noise of three minutes.
    assert weights == {"spike": 0.5, "trend": 0.0, "pattern": 0.0, "missing_data": 0.0, "noise": 1 / 180}
    assert all(kind["weight"] > 0 for kind in faults("anomalies: {probability: 0.1}").kinds.values())


@pytest.mark.parametrize(
    "text", ["{enabled: false}", "{types: {spike: {enabled: false}}}", "{types: {spike: {weight: 0}}}"]
)
def test_anomalies_can_be_switched_off(text):
    assert faults(f"anomalies: {text}").enabled is False


def test_the_ends_of_the_probability():
    assert faults("anomalies: {probability: 0}").probability == 0.0
    assert faults("anomalies: {probability: 1}").probability == 1.0


def test_an_identity_alone_has_the_chances_of_the_simulation():
    spec, found = fleet_of(None, DENVER)
    assert (spec.interval, spec.faults.probability, found) == (None, None, LegacyOptions())


def longest(text, kind):
    """Seconds that the longest episode of a kind lasts, and the readings' labels."""
    fleet, batch = run(
        f"anomalies: {{probability: 0.02, types: {{{text}}}}}\nsimulation: {{readings_per_second: 0.2}}",
        DENVER,
        hours=48,
        interval_s=5,
    )
    number = fleet.table.faults.index(kind)
    times = np.unique(batch.time[batch.fault == number])
    return max(len(run) for run in np.split(times, np.flatnonzero(np.diff(times) > 5_000_000) + 1)) * 5


@pytest.mark.parametrize("kind", ["spike", "trend", "pattern", "noise"])
def test_faults_last_as_long_as_they_say(kind):
    assert longest(f"{kind}: {{duration_seconds: 120}}", kind) == 120


def test_missing_data_is_missing():
    text = "anomalies: {probability: 0.05, types: {missing_data: {duration_seconds: 60}}}\nsimulation: {readings_per_second: 0.2}"
    fleet, batch = run(text, DENVER, hours=24, interval_s=5)
    times = np.unique(batch.time)
    assert set(np.diff(times) // 5_000_000) == {1, 13}
    assert not (batch.fault >= 0).any()
    assert fleet.episodes.keys() == {"missing_data"}


def test_multipliers_change_the_size_of_faults():
    base = CATALOGUE.types["environmental"].faults
    found = faults(
        "anomalies: {types: {spike: {severity_factor: 4}, trend: {rate_change: -0.2, duration_seconds: 120},"
        " pattern: {frequency: 0.01}, noise: {noise_multiplier: 3}}}"
    ).kinds
    assert found["spike"]["intensity"] == [2 * end for end in base["spike"].intensity]
    assert (found["trend"]["scale"], found["trend"]["sign"]) == ("baseline", "down")
    assert found["trend"]["intensity"] == pytest.approx(0.4)
    assert (found["pattern"]["effect"], found["pattern"]["period"]) == ("oscillate", "1m40s")
    # Noise of the usual size and this one make up three times the usual.
    assert found["noise"]["intensity"] ** 2 + 1 == pytest.approx(9)
    assert faults("anomalies: {types: {pattern: {frequency: 50}}}").kinds["pattern"]["period"] == "4s"


def test_the_default_severity_changes_nothing():
    base = CATALOGUE.types["environmental"].faults["spike"].intensity
    assert (
        tuple(faults("anomalies: {types: {spike: {severity_factor: 2.0}}}").kinds["spike"]["intensity"])
        == base
    )


# The options


def test_options():
    found = options("""
simulation: {readings_per_second: 10, run_time_seconds: 60, start_delay_seconds: 2}
logging: {level: WARNING, format: JSON}
monitoring: {enabled: true, host: localhost, port: 9000, health_check_path: /healthz}
dynamic_reloading: {check_interval_seconds: 7}
""")
    assert found == LegacyOptions(
        interval=0.1,
        duration=60.0,
        start_delay=2.0,
        log_level="warning",
        log_format="json",
        control=("localhost", 9000),
        reload_interval=7.0,
    )


def test_options_by_default():
    assert options() == LegacyOptions(interval=1.0, duration=3600.0, reload_interval=5.0)


@pytest.mark.parametrize("text", ["{enabled: false}", "{reload_on_change: false}"])
def test_reloading_can_be_switched_off(text):
    assert options(f"dynamic_reloading: {text}").reload_interval == 0.0


@pytest.mark.parametrize(
    ("host", "has_token", "listens", "ignored"),
    [
        ("0.0.0.0", False, "127.0.0.1", ("monitoring.host",)),
        ("0.0.0.0", True, "0.0.0.0", ()),
        ("127.0.0.2", False, "127.0.0.2", ()),
        ("'::1'", False, "::1", ()),
        ("panel.example", False, "127.0.0.1", ("monitoring.host",)),
    ],
)
def test_the_control_api_stays_on_loopback_without_a_token(host, has_token, listens, ignored):
    found = options(f"monitoring: {{enabled: true, host: {host}}}", has_token=has_token)
    assert found.control == (listens, 8080)
    assert found.ignored == ignored


def test_values_without_a_meaning_are_named():
    found = options("""
logging: {format: "%(message)s"}
monitoring: {health_check_path: /alive, metrics_path: /numbers}
random_location: {filter_by: area}
sensor: {type: seismic}
""")
    assert found.ignored == (
        "logging.format",
        "monitoring.health_check_path",
        "monitoring.metrics_path",
        "random_location.filter_by",
        "sensor.type",
    )


# Whatever they say

NUMBERS = (
    st.none() | st.integers(-3, 3) | st.floats(-1e9, 1e9) | st.sampled_from([0.05, 1e-9, 1e300, True, "x"])
)
PARAMETERS = st.none() | st.fixed_dictionaries(
    {}, optional={"mean": NUMBERS, "std_dev": NUMBERS, "min": NUMBERS, "max": NUMBERS, "colour": NUMBERS}
)
ANOMALIES = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "weight": NUMBERS,
        "duration_seconds": NUMBERS,
        "severity_factor": NUMBERS,
        "rate_change": NUMBERS,
        "frequency": NUMBERS,
        "noise_multiplier": NUMBERS,
    },
)
METRICS = ("temperature", "humidity", "pressure", "vibration", "voltage")
KINDS = ("spike", "trend", "pattern", "missing_data", "noise")
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "normal_parameters": st.fixed_dictionaries({}, optional=dict.fromkeys(METRICS, PARAMETERS)),
        "anomalies": st.fixed_dictionaries(
            {},
            optional={
                "probability": NUMBERS,
                "types": st.fixed_dictionaries({}, optional=dict.fromkeys(KINDS, ANOMALIES)),
            },
        ),
        "simulation": st.fixed_dictionaries(
            {}, optional={"readings_per_second": NUMBERS, "run_time_seconds": NUMBERS}
        ),
        "replicas": st.fixed_dictionaries(
            {}, optional={"count": st.integers(-1, 3), "prefix": st.text(max_size=3)}
        ),
        "random_location": st.fixed_dictionaries(
            {},
            optional={
                "enabled": st.booleans(),
                "gps_variation": NUMBERS,
                "number_of_cities": st.integers(-1, 3),
                "min_population": NUMBERS,
                "exclude_countries": st.lists(st.text(max_size=2), max_size=2),
            },
        ),
    },
)
IDENTITIES = st.fixed_dictionaries(
    {},
    optional={
        "sensor_id": st.text(max_size=4) | st.integers(),
        "location": st.text(max_size=4) | st.fixed_dictionaries({}, optional={"city": st.text(max_size=4)}),
        "latitude": st.floats(-91, 91),
        "longitude": st.floats(-181, 181),
        "firmware_version": st.text(max_size=4),
        "timezone": st.text(max_size=4),
        "metadata": st.dictionaries(
            st.text(max_size=2), st.text(max_size=2) | st.lists(st.integers()), max_size=2
        ),
    },
)


@given(DOCUMENTS, IDENTITIES)
@settings(max_examples=150)
def test_every_file_gives_readings_or_an_error_that_explains(document, identity):
    fleet = _fleet_or_refusal(document, identity)
    if isinstance(fleet, ConfigError):
        assert fleet.remedy
        return
    batch = fleet.between(BEGIN_US, BEGIN_US + 20 * fleet.interval_us)
    assert np.isfinite(batch.value).all()
    assert 1 <= len(fleet.devices) <= 3


def _fleet_or_refusal(document, identity):
    try:
        spec, said = fleet_of(config_of(document, Path("config.yaml")), identity_of(identity))
        return DeviceFleet(spec, CATALOGUE, 1, round(said.interval * 1e6))
    except ConfigError as error:
        return error
