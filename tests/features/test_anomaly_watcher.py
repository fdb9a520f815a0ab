"""The features of anomaly-watcher, row by row of its document, each under its own words.

Elsewhere:

| row | tests |
|---|---|
| Store data in TimescaleDB | tests/integration/sinks/test_worker.py::test_everything_is_stored_once_over_restarts |
| Start TimescaleDB with Docker Compose | tests/integration/deploy/test_compose.py::test_readings_and_anomalies_are_stored_though_parts_are_killed |
| Compression and retention at work | tests/integration/sinks/test_community.py::test_old_readings_go_into_the_columnstore_and_stay_one_row_a_key |
| The table sensors_data, its columns and the queries on it | tests/integration/producers/test_migrating_queries.py::test_questions_of_anomaly_watcher_are_answered |
| Data and its detection side by side (run_with_monitoring.py) | tests/integration/deploy/test_up.py::test_a_run_and_a_second_one_that_finds_its_readings |
| train --hours --categories, and the folder of models | tests/integration/deploy/test_models.py::test_a_model_is_what_its_history_says |
| detect with a trained model | tests/integration/deploy/test_models.py::test_an_engine_with_the_model_finds_what_breaks_the_pattern |
| status of models | tests/integration/deploy/test_models.py::test_status_and_show |
| read --limit, from the database | tests/integration/deploy/test_up_serves.py::test_the_address_that_it_says_has_devices_series_and_control |
| read --loop | tests/unit/deploy/test_stored_rows.py::test_what_comes_is_shown_once_and_what_was_there_is_not |
| The web page: sensors, their data and anomalies | tests/integration/dashboard/test_dashboard_catch.py::test_a_fault_injected_by_click_is_caught_and_shown_on_the_chart, tests/integration/dashboard/test_dashboard_page.py::test_the_fleet_opens_sorted_by_trouble_and_draws_only_what_is_seen |
| Real-time anomaly monitoring and alerting | tests/integration/sinks/notify/test_notify_worker.py::test_mail_with_what_the_database_knows_of_the_device |
"""

import json
from itertools import pairwise

import numpy as np
import psycopg
import pytest
import yaml
from feature_runs import healthy_groups, json_lines, simulate

from producers.control.app import controlled
from schemas.settings import ControlSettings, Settings, load_settings
from sinks.timescale.migrate import Strength, inspect_server, migrate
from tests.integration.producers.mqtt.mqtt_simulations import simulation
from tests.support.processing import Pipeline
from tests.support.running_fleet import device_types, running_fleet
from tests.support.sinks import new_database
from tests.unit.producers.producers_fakes import FakeClock

TYPES = ("oven", "heater", "lamp", "fan", "pm")
PLACES = {"restaurant", "supermarket", "factory"}


@pytest.fixture(scope="module")
def day():
    """Its sensors, ten of each, for a day without faults."""
    return simulate(fleet="industrial", devices=50, duration=86_400.0, interval=60.0, anomaly_rate=0.0)


def values(found, kind, metric):
    return np.array([r.value for r in found.of(metric) if found.by_id[r.device_id].type == kind])


def by_device(found, kind, metric):
    """(devices, times) of a type's metric."""
    ids = [device.device_id for device in found.devices if device.type == kind]
    return np.array([found.values(metric, device_id) for device_id in ids])


# Features


def test_realistic_time_series_for_industrial_environments(day):
    """Generate realistic time-series sensor data for industrial environments (ovens, heaters, fans, lamps, PM sensors)."""
    assert {device.type for device in day.devices} == set(TYPES)


def test_command_line_interface(cli):
    """Command-line interface for easy data generation and reading."""
    assert "For example:" in cli("simulate --help").out
    assert "For example:" in cli("tail --help").out


def test_batch_and_continuous_generation():
    """Support for both batch and continuous data generation."""
    batch = simulate(fleet="industrial", duration=600.0, interval=60.0, seed=3)
    continuous = simulate(fleet="industrial", duration=600.0, interval=60.0, seed=3, speed=1.0)
    assert batch.summary.produced == continuous.summary.produced == 10 * 6


def test_anomaly_injection_for_testing_detection():
    """NEW: anomaly injection for testing detection algorithms: with its ground truth."""
    found = simulate(fleet="industrial", devices=20, duration=86_400.0, interval=60.0, anomaly_rate=0.002)
    assert 0.005 < found.faulty_share < 0.2


# Industrial sensor types


@pytest.mark.parametrize(
    ("row", "kind", "metric", "low", "high"),
    [
        ("Oven Temperature Sensors: Analog sensors (0-350°C)", "oven", "temperature", 0, 350),
        ("Heater Temperature Sensors: Analog sensors (0-180°C)", "heater", "temperature", 0, 180),
        ("Digital Lamps: Digital I/O sensors (ON/OFF)", "lamp", "state", 0, 1),
        ("Digital Fans: Digital I/O sensors (ON/OFF)", "fan", "state", 0, 1),
        ("Fan Speed Sensors: Analog RPM sensors (0-1000 RPM)", "fan", "speed", 0, 1000),
        ("Particulate Matter (PM) Sensors: Serial sensors (0-36000 PM)", "pm", "pm", 0, 36_000),
    ],
    ids=lambda value: value if isinstance(value, str) and "(" in value else "",
)
def test_industrial_sensor_types(day, row, kind, metric, low, high):
    """A type, how it is connected, and its range."""
    assert device_types()[kind].metrics[metric].limits in (None, device_types()[kind].metrics[metric].range)
    found = values(day, kind, metric)
    assert low <= found.min() < found.max() <= high
    if "ON/OFF" in row:
        assert set(found) == {0, 1}
    else:
        (how,) = {device.attributes["kind"] for device in day.devices if device.type == kind}
        assert how in row.lower()


# Usage


def test_generate_sample_data(cli, tmp_path):
    """Generate 7 days of sample data with 5-minute intervals for 6 sensors: sample --days 7 --interval 5 --sensors 6."""
    path = tmp_path / "week.jsonl"
    cli("simulate --fleet industrial --days 7 --interval 5m --devices 6 --to", path)
    rows = json_lines(path)
    assert len({row["device_id"] for row in rows}) == 6
    assert len({row["time"] for row in rows if row["device_id"].startswith("lamp")}) == 7 * 24 * 12


def test_generate_sample_data_with_anomaly_injection(cli, tmp_path):
    """Generate sample data with anomaly injection: sample --days 7 --interval 1 --sensors 5 --anomaly-rate 0.02."""
    path = tmp_path / "week.jsonl"
    command = "simulate --fleet industrial --days 7 --interval 1m --devices 5"
    said = json.loads(cli(command, "--anomaly-rate", "0.02", "--to", path, "--json").out)
    faulty = sum(row["fault"] is not None for row in json_lines(path))
    assert said["faults"] == faulty > 0.02 * said["produced"]


def test_continuous_generation():
    """Generate data in real-time with a 60-second interval: continuous --interval 60 --sensors 6 --duration 30."""
    found = simulate(fleet="industrial", devices=6, interval=60.0, duration=1800.0, speed=1.0)
    assert len(found.devices) == 6
    assert {
        len(found.of("state", device.device_id)) for device in found.devices if device.type == "lamp"
    } == {30}
    assert found.summary.seconds == pytest.approx(1800, abs=60)


def test_continuous_generation_with_anomaly_injection():
    """Generate with anomaly injection (3% rate): continuous --interval 60 --sensors 5 --anomaly-rate 0.03 --duration 60."""
    found = simulate(
        fleet="industrial", devices=5, interval=60.0, duration=3600.0, anomaly_rate=0.03, speed=1.0
    )
    assert found.faults


def test_demo_mode():
    """Demo mode with example anomalies: continuous --interval 30 --sensors 5 --demo --duration 30."""
    options = {"devices": 5, "interval": 30.0, "duration": 1800.0, "speed": 1.0, "anomaly_rate": 0.0}
    assert simulate(fleet="industrial", demo=True, **options).faults
    assert not simulate(fleet="industrial", **options).faults


@pytest.mark.integration
@pytest.mark.most_real
def test_read_data(broker, cli):
    """Read the latest sensor data: read --limit 100. Real-time data reading capabilities: read --loop."""
    pipeline = Pipeline(broker.bootstrap_servers).create_topics()
    settings = load_settings(None, pipeline.overrides(), {})
    readings = settings.topics.readings
    where = ("--bootstrap-servers", broker.bootstrap_servers)
    names = [
        f"--set={key}={value}" for key, value in pipeline.overrides().items() if key.startswith("topics.")
    ]
    cli(*names, "simulate", "--fleet", "industrial", "--duration", "10m", "--speed", "max", *where)
    shown = cli(
        *names, "tail", readings, "--from", "beginning", "--max", "100", "--json", *where
    ).out.splitlines()
    assert len(shown) == 100
    with simulation(pipeline.overrides(), fleet="industrial", interval=0.2, duration=30.0) as run:
        live = cli(*names, "tail", readings, "--max", "5", *where).out.splitlines()
        run.stop.set()
    assert len(live) == 5


# Manual anomaly control


@pytest.fixture
def by_hand(monkeypatch):
    """A fleet that is served by HTTP; the settings name its port."""
    ports = []
    settings = Settings(control=ControlSettings(enabled=True, port=0))
    with (
        running_fleet(healthy_groups("industrial")) as fleet,
        controlled(settings, fleet.control, device_types, on_listening=ports.append),
    ):
        fleet.wait_for_readings()
        monkeypatch.setenv("SIGMAWATCH_CONTROL__PORT", str(ports[0]))
        yield {device.type: device.device_id for device in fleet.fleet.devices}


@pytest.mark.parametrize(
    ("kind", "fault", "duration"),
    [("oven", "spike", 15), ("fan", "stall", 20), ("pm", "pollution_spike", 30)],
    ids=["anomaly force oven-restaurant-abc123 oven spike --duration 15", "anomaly force fan-factory-def456 fan stall --duration 20", "anomaly force pm-supermarket-ghi789 pm pollution_spike --duration 30"],
)  # fmt: skip
def test_force_specific_anomalies(by_hand, cli, kind, fault, duration):
    """Force specific anomalies during generation."""
    said = cli(
        "fault inject", by_hand[kind], fault, "--duration", f"{duration * 1000} readings", "--json"
    ).out
    assert json.loads(said)["devices"][0]["fault"]["fault"] == fault


def test_anomaly_status_and_clear(by_hand, cli):
    """Check anomaly status: anomaly status. Clear all anomalies: anomaly clear."""
    cli("fault inject", by_hand["oven"], "drift", "--duration", "10000 readings")
    assert by_hand["oven"] in cli("fault status").out
    cli("fault clear")
    assert by_hand["oven"] not in cli("fault status").out


# Anomaly types: what a fault did, beside what there would have been


def injected(tmp_path, kind, fault):
    """(with the fault, without it) of the readings that it changed; it begins after an hour."""
    state = {"fan": "running", "lamp": "lit"}.get(kind)
    begin = [{"at": 0, "update": {"state": state} if state else {"firmware": "4.2.0"}}]
    metric = {"lamp": "state", "pm": "pm", "fan": "speed"}.get(kind, "temperature")
    fleet = {"groups": [{"type": kind, "device_id": "x"}], "faults": {"probability": 0}}
    scenario = {"title": fault, "fleet": fleet, "interval": "10s", "duration": "4h", "seed": 1}
    runs = []
    for timeline in ([*begin, {"at": "1h", "fault": {"kind": fault}}], begin):
        path = tmp_path / "scenario.yaml"
        path.write_text(yaml.safe_dump(scenario | {"timeline": timeline}))
        runs.append(simulate(scenario=str(path)).of(metric))
    changed = [n for n, reading in enumerate(runs[0]) if reading.fault == fault]
    return tuple(np.array([run[n].value for n in changed]) for run in runs)


def gradual(change):
    """Whether something comes little by little, and at last is there."""
    return np.abs(np.diff(change)).max() < 0.35 * np.abs(change).max()


EFFECTS = [
    ("oven", "spike", "Temperature spikes (+50-100°C)", lambda new, old: 49 < (new - old).min() <= (new - old).max() < 101),
    ("oven", "drop", "drops (-30-10°C)", lambda new, old: -31 < (new - old).min() <= (new - old).max() < -9),
    ("oven", "drift", "drift", lambda new, old: gradual(new - old) and 19 < np.abs(new - old)[-1] < 61),
    ("oven", "oscillation", "oscillation", lambda new, old: (new - old).min() < -9 < 9 < (new - old).max()),
    ("heater", "spike", "Temperature spikes", lambda new, old: 29 < (new - old).min() <= (new - old).max() < 71),
    ("heater", "drop", "drops", lambda new, old: -21 < (new - old).min() <= (new - old).max() < -4),
    ("heater", "drift", "gradual drift", lambda new, old: gradual(new - old) and 9 < np.abs(new - old)[-1] < 31),
    ("heater", "oscillation", "oscillation", lambda new, old: (new - old).min() < -6 < 6 < (new - old).max()),
    ("lamp", "flicker", "Flicker (rapid on/off)", lambda new, _: np.abs(np.diff(new)).mean() > 0.9),
    ("lamp", "stuck_off", "stuck off", lambda new, _: set(new) == {0}),
    ("lamp", "stuck_on", "stuck on", lambda new, _: set(new) == {1}),
    ("fan", "spike", "RPM spikes", lambda new, old: 199 < (new - old).min() <= (new - old).max() < 401),
    ("fan", "stall", "stall (stops)", lambda new, old: set(new) == {0} and old.max() > 400),
    ("fan", "vibration", "vibration", lambda new, old: (new - old).std() > 20 and np.abs(new - old).max() < 101),
    ("fan", "overspeed", "overspeed", lambda new, old: (new - old).min() > 199 and new.max() > 800),
    ("pm", "pollution_spike", "Pollution spikes (+50-150 µg/m³)", lambda new, old: 49 < (new - old).max() < 151),
    ("pm", "drift", "sensor drift", lambda new, old: gradual(new - old) and 19 < (new - old)[-1] < 61),
    ("pm", "calibration_error", "calibration errors", lambda new, old: np.ptp(new / old) < 0.02 and 0.2 < abs(new[0] / old[0] - 1) < 0.8),
    ("pm", "dust_storm", "dust storms", lambda new, old: gradual(new - old) and (new - old).max() > 99),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "fault", "row", "holds"), EFFECTS, ids=[f"{kind}: {row}" for kind, _, row, _ in EFFECTS]
)
def test_anomaly_types(tmp_path, kind, fault, row, holds):
    """The system can inject various realistic anomalies."""
    new, old = injected(tmp_path, kind, fault)
    assert len(new) > 3, row
    assert holds(new, old), (new - old).round(1).tolist()


# Database schema: what of it comes from the sensors


def test_schema_columns(tmp_path, cli):
    """sensors_data: timestamp, sensor_id, type, category, value, unit, location, sensors_metadata (firmware version, battery level)."""
    path = tmp_path / "x.jsonl"
    cli("simulate --fleet industrial --duration 1m --speed max --to", path)
    rows, devices = json_lines(path), json_lines(tmp_path / "x.jsonl.devices.jsonl")
    assert rows[0].keys() == {"device_id", "metric", "time", "value", "fault"}
    for device in devices:
        made_of = device["attributes"]
        assert made_of["kind"] in {"analog", "digital", "serial"}
        assert made_of["category"] == device["type"]
        assert made_of["place"] in PLACES
        assert device["firmware"]
        assert 0 <= float(made_of["battery_level"]) <= 100
    units = {device["type"]: device["units"] for device in devices}
    assert units["oven"] == units["heater"] == {"temperature": "°C"}
    assert (units["lamp"], units["fan"]) == ({"state": "io"}, {"state": "io", "speed": "rpm"})
    assert units["pm"] == {"pm": "µg/m³"}


@pytest.fixture(scope="module")
def tables(real_database_server):
    with (
        new_database(real_database_server) as store,
        psycopg.connect(store.url, autocommit=True) as connection,
    ):
        migrate(connection)
        yield connection


@pytest.mark.integration
def test_initialize_the_database(cli, real_database_server):
    """Initialize the database: python -m generator.db. Database connection: a URL."""
    with new_database(real_database_server) as store:
        first, again = (json.loads(cli("db migrate --json --database", store.url).out) for _ in range(2))
        assert first["applied"]
        assert again["applied"] == []
        assert store.query("SELECT count(*) FROM readings") == [(0,)]


@pytest.fixture
def timescale(tables):
    if inspect_server(tables).strength is Strength.PLAIN:
        pytest.skip("no TimescaleDB here")
    return tables


@pytest.mark.integration
def test_hypertables_and_chunk_intervals(timescale):
    """Hypertables: automatic partitioning by timestamp. Chunk intervals: 1-day chunks for optimal query performance."""
    query = "SELECT time_interval = INTERVAL '1 day' FROM timescaledb_information.dimensions WHERE hypertable_schema = current_schema() AND hypertable_name = 'readings'"
    assert timescale.execute(query).fetchall() == [(True,)]


@pytest.mark.integration
def test_compression(timescale):
    """Compression: automatic compression for chunks older than 7 days."""
    if inspect_server(timescale).strength is not Strength.COMMUNITY:
        pytest.skip("compression is in the community edition")
    query = "SELECT config::text FROM timescaledb_information.jobs WHERE hypertable_schema = current_schema() AND hypertable_name = 'readings'"
    assert any("7 days" in config for (config,) in timescale.execute(query).fetchall())


@pytest.mark.integration
def test_retention_policies(cli, real_database_server):
    """Retention policies: configurable data retention."""
    with new_database(real_database_server) as store:
        cli("db migrate --database", store.url)
        store.query(
            "INSERT INTO readings VALUES ('d', 'm', now() - INTERVAL '40 days', 1), ('d', 'm', now(), 2)"
        )
        ran = json.loads(cli("db maintain --json --keep-readings 30d --database", store.url).out)
        if ran["server"] == "community":
            assert any("older than 30 days" in change for change in ran["policies"])
        else:
            assert store.query("SELECT value FROM readings") == [(2.0,)]
            assert store.query("SELECT sum(readings)::int FROM readings_hourly") == [(2,)]


@pytest.mark.integration
def test_indexes(tables):
    """Indexes: optimized indexes on sensor_id and timestamp. Database schema optimized for time-series queries."""
    query = "SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = 'readings'"
    found = tables.execute(query).fetchall()
    assert any("(device_id, metric, " in definition for (definition,) in found)
    assert any('("time" DESC)' in definition for (definition,) in found)


# Realistic sensor behaviour


def test_state_persistence(tmp_path):
    """State persistence: sensors remember their last values."""
    options = {"fleet": "industrial", "interval": 10.0, "duration": 600.0, "speed": 1.0, "anomaly_rate": 0.0}
    resumed = {**options, "resume": True, "state": tmp_path / "state.npz", "clock": FakeClock()}
    before, after = simulate(**resumed), simulate(**resumed)
    (oven,) = (device.device_id for device in before.devices if device.type == "oven")
    assert abs(before.values("temperature", oven)[-1] - after.values("temperature", oven)[0]) < 15


def test_gradual_changes(day):
    """Gradual changes: analog sensors change gradually, not randomly."""
    for kind, metric in (("oven", "temperature"), ("heater", "temperature"), ("pm", "pm")):
        series = by_device(day, kind, metric)
        together = [np.corrcoef(row[:-1], row[1:])[0, 1] for row in series]
        assert min(together) > 0.75, kind
        assert np.abs(np.diff(series)).max() < 0.5 * np.ptp(series), kind


def test_realistic_ranges():
    """Realistic ranges: each sensor type has appropriate min/max values."""
    for kind in TYPES:
        for name, metric in device_types()[kind].metrics.items():
            assert metric.digital or metric.limits, (kind, name)


def test_location_based_ids(day):
    """Location-based IDs: sensor IDs include location information."""
    for device in day.devices:
        kind, place, token = device.device_id.split("-")
        assert (kind, place) == (device.type, device.attributes["place"])
        assert len(token) == 6
    assert {device.attributes["place"] for device in day.devices} == PLACES


def test_digital_logic(day):
    """Digital logic: digital sensors properly toggle between 0/1 states."""
    for kind in ("lamp", "fan"):
        series = by_device(day, kind, "state")
        assert set(series.ravel()) == {0, 1}
        # An hour or so in a state, not another at every reading.
        assert 5 < np.abs(np.diff(series)).sum() / len(series) < 100


def test_industrial_patterns(day):
    """Industrial patterns: simulates real industrial equipment behavior: a fan turns while it is on, ovens heat and rest."""
    state, speed = by_device(day, "fan", "state"), by_device(day, "fan", "speed")
    steady = np.diff(state, prepend=-1, axis=1) == 0
    assert speed[(state == 1) & steady].mean() == pytest.approx(550, rel=0.02)
    assert speed[(state == 0) & steady].mean() < 60
    oven = values(day, "oven", "temperature")
    assert np.mean(oven > 150) > 0.5
    assert np.mean(oven < 120) > 0.05


def test_anomaly_injection_is_configurable():
    """Anomaly injection: configurable injection of realistic anomalies."""
    shares = [simulate(fleet="industrial", devices=10, duration=86_400.0, interval=60.0, anomaly_rate=rate).faulty_share for rate in (0.0, 0.001, 0.01)]  # fmt: skip
    assert shares[0] == 0 < shares[1] < shares[2]


# Development


def test_historical_data(cli, tmp_path):
    """Generate historical data: sample --days 30 --interval 1."""
    said = json.loads(
        cli("simulate --fleet industrial --days 30 --interval 1m --devices 1 --to", tmp_path / "x.avro", "--json").out
    )  # fmt: skip
    assert said["produced"] == 30 * 24 * 60
    assert said["last_us"] - said["first_us"] == (30 * 24 * 60 - 1) * 60_000_000


def test_real_time_generation():
    """Start real-time generation: continuous --interval 30 --sensors 10."""
    found = simulate(fleet="industrial", devices=10, interval=30.0, duration=300.0, speed=1.0)
    times = sorted(
        {reading.time for reading in found.readings if reading.device_id == found.devices[0].device_id}
    )
    assert {after - before for before, after in pairwise(times)} == {30_000_000}


def test_adding_new_sensor_types(tmp_path):
    """Adding new sensor types: edit SENSOR_CLASSES to add new sensor configurations."""
    types = {
        "types": {
            "fridge": {"metrics": {"temperature": {"unit": "°C", "baseline": 4, "noise": {"normal": 0.2}}}}
        }
    }
    (tmp_path / "types.yaml").write_text(yaml.safe_dump(types))
    (tmp_path / "fleet.yaml").write_text(
        yaml.safe_dump({"types": ["types.yaml"], "groups": [{"type": "fridge", "count": 3}]})
    )
    found = simulate(fleet=str(tmp_path / "fleet.yaml"), duration=600.0, interval=10.0)
    assert found.values("temperature").mean() == pytest.approx(4, abs=0.1)
