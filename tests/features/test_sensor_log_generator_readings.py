"""The features of sensor-log-generator, row by row of its document, each under its own words: what its readings are.

Its files and settings are in tests/features/test_sensor_log_generator_configuration.py, how it runs in
tests/features/test_sensor_log_generator_running.py.

Elsewhere:

| row | tests |
|---|---|
| Docker, Docker Compose, building from source | tests/integration/deploy/test_image.py::test_a_worker_of_the_image_processes_readings |
| Container optimized | tests/integration/deploy/test_image.py::test_it_runs_as_nobody_in_particular |
| Database schema: readings, anomaly tracking; analyzing the data with SQL | tests/integration/producers/test_migrating_queries.py::test_sensor_data_is_as_sensor_log_generator_had_it |
| Every other key of config.yaml | tests/unit/producers/legacy/test_legacy_config.py::test_every_key_is_known_and_those_without_a_meaning_are_named |
| severity_factor, rate_change, frequency, noise_multiplier | tests/unit/producers/legacy/test_legacy_faults.py::test_multipliers_change_the_size_of_faults |
| Filters of random locations | tests/unit/producers/legacy/test_legacy_devices.py::test_cities_are_filtered |
| Resilient database: retries, no row lost or doubled | tests/integration/sinks/test_worker.py::test_the_database_restarts_in_between |
| Demonstrating monitoring systems with real-time dashboards | tests/integration/dashboard/test_dashboard_catch.py::test_a_fault_injected_by_click_is_caught_and_shown_on_the_chart, tests/integration/dashboard/test_dashboard_page.py::test_the_fleet_opens_sorted_by_trouble_and_draws_only_what_is_seen |
| --output-schema, --debug and the names of its variables | tests/unit/producers/legacy/test_migrating_guide.py::test_every_variable_and_flag_of_the_five_systems_is_in_the_guide |

Without a meaning here: SQLite's own settings (WAL, cache size, busy timeout, temporary directory, synced), its image builder and test scripts.
"""

import re
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from feature_runs import json_lines, simulate
from sensor_log_generator_runs import NO_FAULTS, counted, kinds_of_readings, only

from producers.devices.places import load_cities
from tests.support.engines import PRESETS, apply_in, engine_of, opened
from tests.support.sensor_log_generator import NESTED


@pytest.fixture(scope="module")
def two_days():
    """Sensors around the world, without faults."""
    return simulate(
        fleet="environmental", devices=60, duration=2 * 86_400.0, interval=1800.0, anomaly_rate=0.0
    )


def beside(write, anomalies, **config):
    """Two runs of one sensor, with and without anomalies: {metric: {time: (value, value without, fault)}}."""
    common = {"simulation": {"readings_per_second": 0.2, "run_time_seconds": 7200}, **config}
    disturbed = simulate(config=write(common | {"anomalies": anomalies}))
    plain = {(r.metric, r.time): r.value for r in simulate(config=write(common | NO_FAULTS)).readings}
    found = {}
    for r in disturbed.readings:
        found.setdefault(r.metric, {})[r.time] = (r.value, plain[r.metric, r.time], r.fault)
    return found


# Realistic data generation


def test_multi_metric_readings(two_days):
    """Multi-metric readings: temperature, humidity, pressure, and voltage with realistic patterns."""
    means = {
        metric: two_days.values(metric).mean()
        for metric in ("temperature", "humidity", "pressure", "voltage")
    }
    assert means == pytest.approx(
        {"temperature": 22, "humidity": 65, "pressure": 1013, "voltage": 12}, rel=0.02
    )
    assert len({reading.metric for reading in two_days.readings}) == 4


@pytest.mark.parametrize(
    ("manufacturer", "factor"), [("SensorTech", 1.2), ("DataLogger", 1.1), ("DataSense", 0.8), ("MonitorPro", 0.9)],
    ids=["SensorTech: 20% more anomalies (budget hardware)", "DataLogger: 10% more anomalies", "DataSense: 20% fewer anomalies (premium)", "MonitorPro: 10% fewer anomalies"],
)  # fmt: skip
def test_manufacturer_behaviors(write, manufacturer, factor):
    """Manufacturer behaviors: different brands exhibit unique failure rates and characteristics."""
    found = {
        name: faults_of(write, manufacturer=name, firmware_version="4.0") for name in (manufacturer, "Acme")
    }
    assert found[manufacturer] / found["Acme"] == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize(
    ("firmware", "factor"), [("1.4.2", 0.7), ("2.0.0", 0.85), ("3.0.0-beta", 1.5), ("3.1-alpha", 1.5), ("3.15.21", 1.0)],
    ids=["1.x versions: 30% fewer anomalies (stable)", "2.x versions: 15% fewer anomalies", "3.x-beta: 50% more anomalies (unstable)", "3.x-alpha: 50% more anomalies (unstable)", "3.x: as they are"],
)  # fmt: skip
def test_firmware_quirks(write, firmware, factor):
    """Firmware quirks: beta versions produce more anomalies than stable releases."""
    found = {
        version: faults_of(write, manufacturer="Acme", firmware_version=version)
        for version in (firmware, "4.0")
    }
    assert found[firmware] / found["4.0"] == pytest.approx(factor, rel=0.05)


def faults_of(write, **sensor):
    """How many faults a hundred sensors have."""
    config = {
        "sensor": sensor,
        "replicas": {"count": 100},
        "simulation": {"run_time_seconds": 600},
        "anomalies": only("spike") | {"probability": 0.1},
    }
    return sum(counted(write, config).episodes.values())


def test_location_intelligence(two_days):
    """Location intelligence: city-based simulation with real coordinates and timezones."""
    cities = {city.name: city for city in load_cities()}
    for device in two_days.devices:
        city = cities[device.attributes["city"]]
        assert device.location.latitude == pytest.approx(city.latitude, abs=0.01)
        assert device.location.timezone == city.timezone


def test_environmental_patterns(two_days):
    """Environmental patterns: temperature, humidity, and pressure follow realistic daily cycles.

    Pressure's cycle of half a day is in tests/unit/producers/simulation/test_catalogue_statistics.py.
    """
    by_hour = {}
    for reading in two_days.of("temperature"):
        zone = ZoneInfo(two_days.by_id[reading.device_id].location.timezone)
        hour = (
            np.datetime64(reading.time, "us")
            .astype("O")
            .replace(tzinfo=ZoneInfo("UTC"))
            .astimezone(zone)
            .hour
        )
        by_hour.setdefault(hour, []).append(reading.value)
    means = {hour: np.mean(values) for hour, values in by_hour.items()}
    assert max(means, key=means.get) in {13, 14, 15, 16}
    assert np.ptp(list(means.values())) == pytest.approx(4.8, rel=0.25)
    # It is drier where it is warmer.
    together = np.corrcoef(two_days.values("temperature"), two_days.values("humidity"))[0, 1]
    assert together < -0.4


# Comprehensive anomaly types


def test_spike_anomalies(write):
    """Spike anomalies: sudden value jumps (sensor malfunctions)."""
    found = beside(write, only("spike"))
    jumps = [abs(new - old) for new, old, fault in found["temperature"].values() if fault]
    assert jumps
    assert min(jumps) > 3 * 2.0


def test_trend_anomalies(write):
    """Trend anomalies: gradual drift from baseline (sensor degradation). trend: duration_seconds."""
    found = beside(write, only("trend", duration_seconds=600))["pressure"]
    drifts = np.array([new - old for new, old, fault in found.values() if fault])
    assert len(drifts) >= 110
    assert np.abs(np.diff(drifts[:110])).max() < 5
    assert np.abs(drifts[:118]).max() > 3 * 10


def test_pattern_anomalies(write):
    """Pattern anomalies: disrupted normal cycles (timing issues)."""
    found = beside(write, only("pattern", duration_seconds=600))["temperature"]
    pairs = np.array([(new - 22, old - 22) for new, old, fault in found.values() if fault])
    assert len(pairs) > 100
    assert np.corrcoef(pairs.T)[0, 1] < 0.2


def test_missing_data(write):
    """Missing data: simulated dropouts (network/power failures). missing_data: duration_seconds: 30."""
    config = {
        "simulation": {"readings_per_second": 1, "run_time_seconds": 3600},
        "anomalies": only("missing_data", duration_seconds=30),
    }
    gaps = np.diff([reading.time for reading in simulate(config=write(config)).of("voltage")]) / 1e6
    assert {30 * n + 1 for n in (1, 2)} >= set(gaps[gaps > 1]) >= {31}


def test_noise_anomalies(write):
    """Noise anomalies: increased variance (environmental interference)."""
    found = beside(write, only("noise", duration_seconds=600))["voltage"]
    noise = np.array([new - old for new, old, fault in found.values() if fault])
    assert noise.std() > 2 * 0.1
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.3


# What it is for, and common use cases


def test_developing_anomaly_detection_algorithms(write):
    """Developing anomaly detection algorithms with controlled, reproducible scenarios."""
    for kind in ("spike", "trend", "noise"):
        config = {"simulation": {"run_time_seconds": 1800}, "anomalies": only(kind)}
        first, again = (simulate(config=write(config)) for _ in range(2))
        assert first.readings == again.readings
        assert first.faults == {kind}


def test_validating_alerting_systems(write):
    """Validating alerting systems with predictable anomalies: ours opens an episode at almost every spike."""
    config = {
        "replicas": {"count": 10},
        "simulation": {"readings_per_second": 1 / 60, "run_time_seconds": 2 * 86_400},
        "anomalies": only("spike") | {"probability": 0.0015},
    }
    readings = sorted(simulate(config=write(config)).readings, key=lambda reading: reading.time)
    spikes = {(r.device_id, r.metric, r.time) for r in readings if r.fault}
    alarms = opened(apply_in(engine_of(PRESETS["standard"]), readings))
    found = {(alarm.device_id, alarm.metric, alarm.opened_at) for alarm in alarms} & spikes
    assert len(spikes) > 20
    assert len(found) > 0.8 * len(spikes)


def test_testing_anomaly_detection_systems(write):
    """chaos-test.yaml: 20% anomaly rate for stress testing; spikes and trends."""
    types = {
        "spike": {"enabled": True, "weight": 0.5},
        "trend": {"enabled": True, "weight": 0.3, "duration_seconds": 600},
    }
    config = {
        "anomalies": {"enabled": True, "probability": 0.20, "types": types},
        "sensor": {"manufacturer": "Acme", "firmware_version": "4.0"},
        "replicas": {"count": 60},
        "simulation": {"readings_per_second": 0.1, "run_time_seconds": 21_600},
    }
    found = kinds_of_readings(write, config)
    healthy = found.pop(None)
    assert found.keys() == {"spike", "trend"}
    assert sum(found.values()) / (sum(found.values()) + healthy) == pytest.approx(0.2, rel=0.1)
    assert found["spike"] / sum(found.values()) == pytest.approx(0.5 / 0.8, rel=0.1)


def test_load_testing(write):
    """load-test.yaml: 100 concurrent sensors, LOAD; 10 readings a second each, 1,000 total readings/second."""
    config = {
        "replicas": {"count": 100, "prefix": "LOAD"},
        "simulation": {"readings_per_second": 10, "run_time_seconds": 5},
        **NO_FAULTS,
    }
    found = simulate(config=write(config))
    assert {reading.device_id for reading in found.readings} == {f"LOAD_{number}" for number in range(1, 101)}
    assert len(found.of("temperature")) == 1000 * 5


def test_training_ml_models(write):
    """ml-training.yaml: labeled training data with known anomaly patterns."""
    sensor = {"manufacturer": "SensorTech", "firmware_version": "3.0.0-beta"}
    found = simulate(config=write({"anomalies": {"enabled": True, "probability": 0.05}, "sensor": sensor}))
    assert found.faults
    assert (found.devices[0].manufacturer, found.devices[0].firmware) == ("SensorTech", "3.0.0-beta")


# Data output


@pytest.mark.parametrize(
    ("column", "of"),
    [
        ("firmware_version", lambda device: device["firmware"]),
        ("model", lambda device: device["model"]),
        ("manufacturer", lambda device: device["manufacturer"]),
        ("serial_number", lambda device: device["serial_number"]),
        ("location", lambda device: device["location"]["name"]),
        ("latitude", lambda device: device["location"]["latitude"]),
        ("longitude", lambda device: device["location"]["longitude"]),
        ("timezone", lambda device: device["location"]["timezone"]),
        ("deployment_type", lambda device: device["attributes"]["deployment_type"]),
        ("installation_date", lambda device: device["attributes"]["installation_date"]),
        ("height_meters", lambda device: device["attributes"]["height_meters"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_device_metadata_location_and_deployment(cli, write, tmp_path, column, of):
    """Database schema: device metadata, location data, deployment info."""
    identity = write(NESTED, "identity.json")
    cli("simulate --identity", identity, "--duration", "2s", "--speed", "max", "--to", tmp_path / "x.csv")
    (device,) = json_lines(tmp_path / "x.csv.devices.jsonl")
    parts = {
        **NESTED["location"],
        **NESTED["location"]["coordinates"],
        **NESTED["device_info"],
        **NESTED["deployment"],
    }
    parts["location"] = "Denver"
    assert str(of(device)) == str(parts[column])


def test_json_output(cli, tmp_path):
    """JSON output format: timestamp, sensor_id, readings, anomaly {detected, type}."""
    cli(
        "simulate --fleet environmental --duration 10m --speed max --anomaly-rate 0.05 --to",
        tmp_path / "x.jsonl",
    )
    rows = json_lines(tmp_path / "x.jsonl")
    assert {row["metric"] for row in rows} == {"temperature", "humidity", "pressure", "voltage"}
    assert {type(row["fault"]) for row in rows} == {type(None), str}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", row["time"]) for row in rows)


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.avro", "x.csv.gz"])
def test_output_formats(cli, tmp_path, name):
    """Adding features: output formats."""
    cli("simulate --fleet environmental --duration 30s --speed max --to", tmp_path / name)
    assert (tmp_path / name).stat().st_size > 500
