"""The features of sensor-log-generator, row by row of its document, each under its own words.

Elsewhere:

| row | tests |
|---|---|
| Docker, Docker Compose, building from source | tests/integration/deploy/test_image.py::test_a_worker_of_the_image_processes_readings |
| Container optimized | tests/integration/deploy/test_image.py::test_it_runs_as_nobody_in_particular |
| Database schema: readings, anomaly tracking; analyzing the data with SQL | tests/integration/producers/test_migrating_queries.py::test_sensor_data_is_as_sensor_log_generator_had_it |
| Every other key of config.yaml | tests/unit/producers/legacy/test_legacy_config.py::test_every_key_is_known_and_those_without_a_meaning_are_named |
| severity_factor, rate_change, frequency, noise_multiplier | tests/unit/producers/legacy/test_legacy_convert.py::test_multipliers_change_the_size_of_faults |
| Filters of random locations | tests/unit/producers/legacy/test_legacy_convert.py::test_cities_are_filtered |
| Resilient database: retries, no row lost or doubled | tests/integration/sinks/test_worker.py::test_the_database_restarts_in_between |
| --output-schema, --debug and the names of its variables | tests/unit/producers/legacy/test_migrating_guide.py::test_every_variable_and_flag_of_the_five_systems_is_in_the_guide |

Not here yet, because it is about dashboards: demonstrating monitoring systems with real-time dashboards. Without a meaning
here: SQLite's own settings (WAL, cache size, busy timeout, temporary directory, synced), its image builder and test scripts.
"""

import json
import re
import tracemalloc
from importlib.metadata import version
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import yaml
from feature_runs import json_lines, served, simulate

from producers.clock import MAX_SPEED
from producers.devices.places import load_cities
from producers.options import SimulateOptions
from producers.simulation.assembling import make_fleet
from producers.simulation.choosing import choose
from producers.simulation.running import run_simulate
from schemas.errors import InputError
from schemas.settings import Settings
from tests.integration.producers.mqtt.mqtt_simulations import simulation
from tests.support.processing import Pipeline
from tests.support.running_fleet import until
from tests.unit.producers.producers_fakes import NOW_US, FakeClock

SAMPLE = """
# Sensor configuration
sensor:
  type: "environmental"
  location: "San Francisco"  # Required
  manufacturer: "SensorTech"
  model: "EnvMonitor-3000"
  firmware_version: "1.4"

# Simulation settings
simulation:
  readings_per_second: 1
  run_time_seconds: 3600  # 1 hour

# Normal operating ranges
normal_parameters:
  temperature:
    mean: 22.0
    std_dev: 2.0
    min: 15.0
    max: 30.0
  humidity:
    mean: 65.0
    std_dev: 5.0
    min: 30.0
    max: 90.0
  pressure:
    mean: 1013.0
    std_dev: 10.0
    min: 990.0
    max: 1040.0

# Anomaly configuration
anomalies:
  enabled: true
  probability: 0.05  # 5% chance
  types:
    spike:
      enabled: true
      weight: 0.4
    trend:
      enabled: true
      weight: 0.2
      duration_seconds: 300
    pattern:
      enabled: true
      weight: 0.1
      duration_seconds: 600
    missing_data:
      enabled: true
      weight: 0.1
      duration_seconds: 30
    noise:
      enabled: true
      weight: 0.2
      duration_seconds: 180

# Database settings
database:
  path: "data/sensor_data.db"

# Logging configuration
logging:
  level: "INFO"
  file: "logs/sensor_simulator.log"
  console_output: true

# Monitoring API (optional)
monitoring:
  enabled: false
  port: 8080
  host: "0.0.0.0"
"""
FLAT = {
    "id": "SENSOR_NY_001",
    "location": "New York",
    "latitude": 40.7128,
    "longitude": -74.0060,
    "timezone": "America/New_York",
    "manufacturer": "SensorTech",
    "model": "TempSensor Pro",
    "firmware_version": "1.2.0",
}
NESTED = {
    "sensor_id": "SENSOR_CO_DEN_001",
    "location": {
        "city": "Denver",
        "state": "CO",
        "coordinates": {"latitude": 39.7337, "longitude": -104.9906},
        "timezone": "America/Denver",
    },
    "device_info": {
        "manufacturer": "DataLogger",
        "model": "AirData-Plus",
        "firmware_version": "3.15.21",
        "serial_number": "DL-578463",
    },
    "deployment": {
        "deployment_type": "mobile_unit",
        "installation_date": "2025-03-24",
        "height_meters": 8.3,
    },
}
NO_FAULTS = {"anomalies": {"enabled": False}}


@pytest.fixture
def write(tmp_path):
    """Puts documents into files: YAML, or JSON for an identity."""

    def put(document, name="config.yaml"):
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return put


@pytest.fixture(scope="module")
def two_days():
    """Sensors around the world, without faults."""
    return simulate(
        fleet="environmental", devices=60, duration=2 * 86_400.0, interval=1800.0, anomaly_rate=0.0
    )


def only(kind, **settings):
    """One kind of anomalies, and no other."""
    return {"probability": 0.2, "types": {kind: {"enabled": True, "weight": 1.0, **settings}}}


def counted(write, config):
    """The summary of what a configuration makes; the readings go nowhere."""
    options = SimulateOptions(config=write(config), to="/dev/null", format="csv", speed=MAX_SPEED)
    return run_simulate(Settings(), options, clock=FakeClock())


def kinds_of_readings(write, config):
    """How many readings have which fault, each with all of its metrics: None for those without, and those that are missing."""
    chosen = choose(SimulateOptions(config=write(config)))
    fleet, step = make_fleet(chosen), chosen.interval_us
    begin, count = -(-NOW_US // step) * step, round(chosen.options.duration * 1e6 / step)
    batch = fleet.between(begin, begin + count * step)
    rows = {device.device_id: row for row, device in enumerate(fleet.devices)}
    row_of_series = np.array([rows[device_id] for device_id in fleet.table.device_ids])
    found = np.full((len(rows), count), -2)
    np.maximum.at(found, (row_of_series[batch.series], (batch.time - begin) // step), batch.fault)
    names = {-2: "missing_data", -1: None} | dict(enumerate(fleet.table.faults))
    return {names[kind]: int((found == kind).sum()) for kind in np.unique(found).tolist()}


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


# Production features


def test_dynamic_configuration(tmp_path):
    """Dynamic configuration: hot-reload config changes without restart."""
    path, clock = tmp_path / "config.yaml", FakeClock()
    config = {"simulation": {"readings_per_second": 1, "run_time_seconds": 120}, **NO_FAULTS}
    path.write_text(yaml.safe_dump(config))
    later = config | {
        "normal_parameters": {"temperature": {"mean": 50.0, "std_dev": 1.0, "min": 40.0, "max": 60.0}}
    }
    texts = {40.0: yaml.safe_dump(later), 80.0: "simulation: {readings_per_second: fast}"}

    def change():
        for second in [second for second in texts if clock.passed >= second]:
            path.write_text(texts.pop(second))

    clock.on_wait = change
    warm = [
        (r.time - NOW_US) / 1e6
        for r in simulate(config=path, clock=clock, speed=1.0).of("temperature")
        if r.value > 35
    ]
    assert 40 <= min(warm) < 50
    # A faulty file is refused, and the old one stays.
    assert max(warm) > 118
    assert texts == {}


def test_simulating_sensor_degradation(tmp_path):
    """Simulating sensor degradation: use dynamic reload to increase the probability over time."""
    path, clock = tmp_path / "config.yaml", FakeClock()
    config = {"replicas": {"count": 10}, "simulation": {"readings_per_second": 1, "run_time_seconds": 400}}
    path.write_text(yaml.safe_dump(config | {"anomalies": only("spike") | {"probability": 0.01}}))
    texts = {200.0: yaml.safe_dump(config | {"anomalies": only("spike") | {"probability": 0.25}})}

    def change():
        for second in [second for second in texts if clock.passed >= second]:
            path.write_text(texts.pop(second))

    clock.on_wait = change
    found = simulate(config=path, clock=clock, speed=1.0)
    early = [r.fault is not None for r in found.readings if r.time < NOW_US + 200_000_000]
    late = [r.fault is not None for r in found.readings if r.time > NOW_US + 220_000_000]
    assert np.mean(late) > 5 * np.mean(early) > 0


@pytest.mark.integration
@pytest.mark.most_real
def test_resilient_operation(broker):
    """Resilient operation: automatic retry logic and graceful degradation: an outage of the broker loses nothing."""
    if not hasattr(broker, "pause"):
        pytest.skip(f"{broker.name} cannot be paused")
    pipeline = Pipeline(broker.bootstrap_servers).create_topics()
    with simulation(pipeline.overrides(), fleet="environmental", interval=0.1) as run:
        until(lambda: run.progress and run.progress.acknowledged > 40)
        broker.pause()
        try:
            sent = run.progress.sent
            until(lambda: run.progress.sent > sent + 100)
        finally:
            broker.resume()
        until(lambda: run.progress.acknowledged > sent + 100)
        run.stop.set()
        run.join()
    stored = [message for messages in pipeline.read(pipeline.readings).values() for message in messages]
    assert len({message.value() for message in stored}) == len(stored) == run.summary.produced > sent + 100


def test_corruption_is_said(tmp_path):
    """Resilient operation: corruption recovery: a broken checkpoint is refused with the reason."""
    state = tmp_path / "state.npz"
    state.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(InputError, match=r"state\.npz"):
        simulate(fleet="environmental", duration=60.0, resume=True, state=state)


def test_semantic_versioning(cli):
    """Semantic versioning."""
    assert cli("--version").out.split() == ["sigmawatch", version("sigmawatch")]
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", version("sigmawatch"))


def test_checkpoint_system(tmp_path):
    """Checkpoint system: resume from last state after restarts."""
    options = {
        "fleet": "environmental",
        "interval": 10.0,
        "duration": 3600.0,
        "start": NOW_US - 3_600_000_000,
    }
    whole = simulate(**options)
    state = {"resume": True, "state": tmp_path / "state.npz"}
    parts = [simulate(stop=stop, **state, **options) for stop in (_After(1), None)]
    assert 0 < len(parts[0].readings) < len(whole.readings)
    assert parts[0].readings + parts[1].readings == whole.readings


class _After:
    """An event that is set when it was looked at so often."""

    def __init__(self, looks):
        self.looks = looks

    def is_set(self):
        self.looks -= 1
        return self.looks < 0

    def wait(self, _seconds):
        return True


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


# Common use cases


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
    cli("simulate --config", config, "--identity", identity, "--speed", "max", "--to", path)
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


# Monitoring endpoints


@pytest.fixture(scope="module")
def monitor():
    with served("environmental") as found:
        yield found.http


def test_healthz(monitor):
    """/healthz: health check: {"status": "healthy"}."""
    answer = monitor.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


def test_statusz(monitor):
    """/statusz: system status: configuration and runtime stats."""
    found = monitor.get("/statusz").json()
    assert (found["running"], found["interval_seconds"], found["devices"]["total"]) == (True, 1.0, 10)
    assert found["readings_count"] > 0


def test_metricz(monitor):
    """/metricz: metrics data: reading counts, anomaly statistics."""
    found = monitor.get("/metricz").json()
    assert found["readings"].keys() >= {"sent", "with_fault"}
    assert isinstance(found["anomalies"], dict)


def test_samplez(monitor):
    """/samplez: recent samples: last 10 sensor readings."""
    found = monitor.get("/samplez").json()
    assert len(found) == 10
    assert found[0].keys() >= {
        "timestamp",
        "sensor_id",
        "temperature",
        "humidity",
        "pressure",
        "voltage",
        "anomaly_flag",
    }


def test_db_stats(monitor):
    """/db_stats: database info: record count."""
    assert monitor.get("/db_stats").json()["total_readings"] > 0


def test_enabling_monitoring(write, cli, tmp_path):
    """Enabling monitoring: monitoring: {enabled: true, port: 8080, host: 0.0.0.0}."""
    config = {
        "monitoring": {"enabled": True, "port": 0, "host": "0.0.0.0"},
        "simulation": {"run_time_seconds": 1},
    }
    said = cli("simulate --config", write(config), "--to", tmp_path / "x.csv").err
    # Off loopback only with a token.
    assert re.search(r"http://127\.0\.0\.1:\d+/docs", said)
    assert "monitoring.host" in said


# Key design features


def test_concurrent_safety():
    """Concurrent safety: several workers have the whole fleet between them, and no device twice."""
    workers = [choose(SimulateOptions(fleet="environmental", devices=40, shard=f"{n}/3")) for n in (1, 2, 3)]
    ids = [{device.device_id for device in make_fleet(worker).devices} for worker in workers]
    assert len(set().union(*ids)) == sum(map(len, ids)) == 40
    assert all(ids)


def test_memory_efficient(write):
    """Memory efficient: streaming design, no large buffers."""
    peaks = []
    for seconds in (86_400, 5 * 86_400):
        config = {
            "replicas": {"count": 10},
            "simulation": {"readings_per_second": 1 / 60, "run_time_seconds": seconds},
        }
        tracemalloc.start()
        counted(write, config)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


# Advanced usage


def test_multi_location_deployment(write):
    """Multi-location deployment: 20 cities, 500 m radius, 20 replicas GLOBAL."""
    config = {
        "random_location": {"enabled": True, "number_of_cities": 20, "gps_variation": 500},
        "replicas": {"count": 20, "prefix": "GLOBAL"},
    }
    found = simulate(config=write(config), duration=2.0)
    assert set(found.by_id) == {f"GLOBAL_{number}" for number in range(1, 21)}
    cities = {city.name: city for city in load_cities()}
    places = set()
    for device in found.devices:
        city = cities[device.attributes["city"]]
        places.add(city.name)
        north = (device.location.latitude - city.latitude) * 111_195
        east = (device.location.longitude - city.longitude) * 111_195 * np.cos(np.radians(city.latitude))
        assert 0 < np.hypot(north, east) <= 501
    assert 8 < len(places) <= 20


def test_stress_testing(write):
    """Stress testing: 100 sensors, 10 readings/second each: far beyond real time."""
    config = {"replicas": {"count": 100}, "simulation": {"readings_per_second": 10, "run_time_seconds": 60}}
    begun, summary = FakeClock().now_us(), counted(write, config)
    assert summary.produced > 0.9 * 4 * 100 * 10 * 60
    assert summary.last_us <= begun


def test_adding_sensor_types_and_anomaly_patterns(tmp_path):
    """Adding features: new sensor types; anomaly patterns."""
    types = {
        "faults": {
            "frost": {"effect": "add", "metrics": ["temperature"], "intensity": -30, "duration": "10m"}
        },
        "types": {
            "outdoor": {
                "extends": "environmental",
                "metrics": {"rain": {"unit": "mm", "baseline": 1}},
                "faults": {"frost": {}},
            }
        },
    }
    (tmp_path / "types.yaml").write_text(yaml.safe_dump(types))
    kinds = {kind: {"weight": 0} for kind in ("spike", "trend", "pattern", "missing_data", "noise")}
    fleet = {
        "types": ["types.yaml"],
        "groups": [{"type": "outdoor", "faults": {"probability": 0.01, "kinds": kinds}}],
    }
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    found = simulate(fleet=str(tmp_path / "fleet.yaml"), duration=7200.0, interval=5.0)
    assert found.faults == {"frost"}
    assert {reading.metric for reading in found.readings} == {
        "temperature",
        "humidity",
        "pressure",
        "voltage",
        "rain",
    }
    assert np.mean([r.value for r in found.of("temperature") if r.fault]) < 0
