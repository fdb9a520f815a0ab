"""The features of sensor-log-generator, row by row of its document: its files, variables and command line.

What is tested elsewhere, and what is not here, is in tests/features/test_sensor_log_generator_readings.py.
"""

import json

import pytest
import yaml
from feature_runs import json_lines, simulate
from sensor_log_generator_runs import NO_FAULTS, kinds_of_readings

from producers.devices.places import load_cities
from tests.integration.producers.mqtt.mqtt_simulations import simulation
from tests.support.sensor_log_generator import FLAT, NESTED, SAMPLE
from tests.support.waiting import until

# Production features: flexible identity


def test_flexible_identity_legacy_format(cli, write, tmp_path):
    """Legacy format (backward compatible)."""
    identity, path = write(FLAT, "identity.json"), tmp_path / "x.jsonl"
    cli("simulate --identity", identity, "--duration", "10s", "--speed", "max", "--to", path)
    (device,) = json_lines(tmp_path / "x.jsonl.devices.jsonl")
    assert (device["device_id"], device["manufacturer"], device["model"], device["firmware"]) == (
        "SENSOR_NY_001",
        "SensorTech",
        "TempSensor Pro",
        "1.2.0",
    )
    assert device["location"] == {
        "name": "New York",
        "latitude": 40.7128,
        "longitude": -74.006,
        "timezone": "America/New_York",
    }


def test_flexible_identity_enhanced_format(cli, write, tmp_path):
    """Enhanced format (recommended)."""
    identity, path = write(NESTED, "identity.json"), tmp_path / "x.jsonl"
    cli("simulate --identity", identity, "--duration", "10s", "--speed", "max", "--to", path)
    (device,) = json_lines(tmp_path / "x.jsonl.devices.jsonl")
    assert (device["device_id"], device["location"]["name"], device["serial_number"]) == (
        "SENSOR_CO_DEN_001",
        "Denver",
        "DL-578463",
    )
    assert device["attributes"]["deployment_type"] == "mobile_unit"
    assert device["attributes"]["installation_date"] == "2025-03-24"
    assert float(device["attributes"]["height_meters"]) == 8.3
    assert device["attributes"]["state"] == "CO"


# Quick start


def test_run_with_defaults(cli, tmp_path):
    """uv run main.py: run with defaults."""
    cli("simulate --fleet environmental --duration 10s --speed max --to", tmp_path / "x.jsonl")
    assert {row["device_id"] for row in json_lines(tmp_path / "x.jsonl")} == {
        f"SENSOR_{number:03}" for number in range(1, 11)
    }


def test_run_with_custom_config(cli, write, tmp_path):
    """uv run main.py --config config/config.yaml --identity config/identity.json."""
    config, identity, path = write(SAMPLE), write(FLAT, "identity.json"), tmp_path / "x.jsonl"
    start = "2026-01-01T00:00:00Z"  # how many readings are missing depends on it
    cli("simulate --config", config, "--identity", identity, "--speed", "max", "--start", start, "--to", path)
    rows = json_lines(path)
    assert {row["device_id"] for row in rows} == {"SENSOR_NY_001"}
    assert 0.9 * 4 * 3600 < len(rows) <= 4 * 3600


def test_generate_identity_template(cli, write, tmp_path):
    """uv run main.py --generate-identity."""
    template = json.loads(cli("simulate --generate-identity").out)
    assert template.keys() >= {"sensor_id", "location", "device_info", "deployment"}
    path = write(template, "identity.json")
    cli("simulate --identity", path, "--duration", "5s", "--speed", "max", "--to", tmp_path / "x.csv")


def test_what_has_no_meaning_is_named_in_one_warning(cli, write, tmp_path):
    """Sample configuration: database and log file, which have no meaning here."""
    said = cli("simulate --config", write(SAMPLE), "--speed", "max", "--to", tmp_path / "x.csv").err
    (line,) = [line for line in said.splitlines() if "without a meaning here" in line]
    for key in ("database.path", "logging.file", "logging.console_output"):
        assert key in line


# Environment variables: what replaces each


def test_env_sensor_id_and_location(write):
    """SENSOR_ID: unique sensor identifier. SENSOR_LOCATION: sensor location/city."""
    found = simulate(config=write({"sensor": {"id": "SENSOR_001", "location": "Chicago"}}), duration=10.0)
    (device,) = found.devices
    assert (device.device_id, device.location.name, device.location.timezone) == (
        "SENSOR_001",
        "Chicago",
        "America/Chicago",
    )


def test_env_defaults_of_id_and_location(write):
    """SENSOR_ID default: auto-generated. SENSOR_LOCATION default: random city."""
    found = simulate(config=write({"replicas": {"count": 5}}), duration=10.0)
    assert len(found.by_id) == 5
    assert {device.location.name for device in found.devices} <= {city.name for city in load_cities()}


def test_env_sensor_interval(cli, monkeypatch, tmp_path):
    """SENSOR_INTERVAL: reading interval (seconds)."""
    monkeypatch.setenv("SIGMAWATCH_SIMULATE__INTERVAL", "5s")
    cli(
        "simulate --fleet environmental --duration 1m --speed max --anomaly-rate 0 --to", tmp_path / "x.jsonl"
    )
    assert len(json_lines(tmp_path / "x.jsonl")) == 10 * 4 * 12


def test_env_anomaly_probability(cli, monkeypatch, tmp_path):
    """ANOMALY_PROBABILITY: chance of anomalies (0-1)."""
    monkeypatch.setenv("SIGMAWATCH_SIMULATE__ANOMALY_RATE", "1")
    cli("simulate --fleet environmental --duration 1m --speed max --to", tmp_path / "x.jsonl")
    assert any(row["fault"] for row in json_lines(tmp_path / "x.jsonl"))


def test_env_log_level(cli, monkeypatch, tmp_path):
    """LOG_LEVEL: logging verbosity (DEBUG/INFO/WARNING/ERROR). Test with debug mode."""
    command = "simulate --fleet environmental --anomaly-rate 1 --interval 0.1 --duration 0.5s"
    said = []
    for level in ("debug", "error"):
        monkeypatch.setenv("SIGMAWATCH_LOG__LEVEL", level)
        said.append(cli(command, "--to", tmp_path / f"{level}.csv").err)
    assert "a fault began" in said[0]
    assert "a fault began" not in said[1]


def test_env_preserve_existing(cli, tmp_path):
    """PRESERVE_EXISTING_DB: keep existing data on startup."""
    command = (
        "simulate --fleet environmental --duration 5s --speed max --to",
        tmp_path / "x.csv",
    )
    cli(*command)
    before = (tmp_path / "x.csv").read_bytes()
    assert "exists" in cli(*command, code=2).err
    assert (tmp_path / "x.csv").read_bytes() == before


def test_env_monitoring_enabled_and_port(tmp_path):
    """MONITORING_ENABLED, MONITORING_PORT: enable web monitoring, and its port."""
    settings = {"control.enabled": "true", "control.port": "0"}
    with simulation(settings, fleet="environmental", interval=0.1, to=str(tmp_path / "x.csv")) as run:
        until(lambda: run.port)
        run.stop.set()
        run.join()


def test_env_config_file_and_identity_file(cli):
    """CONFIG_FILE, IDENTITY_FILE: path to configuration YAML, and to identity JSON."""
    said = cli("simulate --help").out
    assert "--config" in said
    assert "--identity" in said


# config.yaml


@pytest.mark.parametrize(
    ("metric", "parameters"),
    [
        ("temperature", {"mean": 5.0, "std_dev": 1.0, "min": 0.0, "max": 10.0}),
        ("humidity", {"mean": 40.0, "std_dev": 3.0, "min": 30.0, "max": 50.0}),
        ("pressure", {"mean": 1000.0, "std_dev": 4.0, "min": 985.0, "max": 1015.0}),
        ("voltage", {"mean": 3.3, "std_dev": 0.05, "min": 3.0, "max": 3.6}),
        ("vibration", {"mean": 2.0, "std_dev": 0.2, "min": 1.0, "max": 3.0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_normal_operating_ranges(write, metric, parameters):
    """Normal operating ranges: mean, std_dev, min, max."""
    config = {
        "normal_parameters": {metric: parameters},
        "replicas": {"count": 60},
        "simulation": {"readings_per_second": 1 / 1800, "run_time_seconds": 2 * 86_400},
        **NO_FAULTS,
    }
    values = simulate(config=write(config)).values(metric)
    assert parameters["min"] <= values.min() < values.max() <= parameters["max"]
    assert values.mean() == pytest.approx(parameters["mean"], abs=0.25 * parameters["std_dev"])
    assert values.std() == pytest.approx(parameters["std_dev"], rel=0.15)


def test_simulation_settings(write):
    """Simulation settings: readings_per_second, run_time_seconds."""
    found = simulate(
        config=write({"simulation": {"readings_per_second": 4, "run_time_seconds": 30}, **NO_FAULTS})
    )
    assert len(found.of("pressure")) == 120


def test_anomaly_weights(write):
    """Anomaly configuration: types with weights: 0.4 spike, 0.2 trend, 0.1 pattern, 0.1 missing data, 0.2 noise."""
    config = yaml.safe_load(SAMPLE) | {
        "replicas": {"count": 200},
        "simulation": {"readings_per_second": 0.2, "run_time_seconds": 21_600},
    }
    config["anomalies"]["probability"] = 0.2
    found = kinds_of_readings(write, config)
    del found[None]
    # Each of their anomalies is one reading: the weights are shares of these.
    assert {kind: count / sum(found.values()) for kind, count in found.items()} == pytest.approx(
        {"spike": 0.4, "trend": 0.2, "pattern": 0.1, "missing_data": 0.1, "noise": 0.2}, abs=0.03
    )


def test_anomalies_switched_off(write):
    """Anomaly configuration: enabled."""
    anomalies = {"enabled": False, "probability": 1.0, "types": {"spike": {"enabled": True}}}
    assert not simulate(config=write({"anomalies": anomalies}), duration=60.0).faults


def test_sensor_section(write):
    """Sensor configuration: type, location, manufacturer, model, firmware_version."""
    (device,) = simulate(config=write(SAMPLE), duration=5.0).devices
    assert (device.type, device.location.name, device.manufacturer, device.model, device.firmware) == (
        "environmental",
        "San Francisco",
        "SensorTech",
        "EnvMonitor-3000",
        "1.4",
    )
