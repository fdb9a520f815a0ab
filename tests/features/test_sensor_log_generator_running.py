"""The features of sensor-log-generator, row by row of its document: how it runs, is watched and grows.

What is tested elsewhere, and what is not here, is in tests/features/test_sensor_log_generator_readings.py.
"""

import re
import tracemalloc
from importlib.metadata import version

import numpy as np
import pytest
import yaml
from feature_runs import served, simulate
from sensor_log_generator_runs import NO_FAULTS, counted, only

from producers.devices.places import load_cities
from producers.options import SimulateOptions
from producers.simulation.assembling import make_fleet
from producers.simulation.choosing import choose
from schemas.errors import InputError
from tests.integration.producers.mqtt.mqtt_simulations import simulation
from tests.support.processing import Pipeline
from tests.support.waiting import until
from tests.unit.producers.producers_fakes import NOW_US, FakeClock

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
