"""The features of iot-mock-service, row by row of its document, each under its own words.

Elsewhere:

| row | tests |
|---|---|
| docker-compose up; integration with the other services | tests/integration/deploy/test_compose.py::test_the_fleet_runs_and_nothing_is_compiled_in_containers |
| Data flow: MQTT broker, data ingestion, store | tests/integration/producers/mqtt/test_mqtt_to_kafka.py::test_every_reading_arrives_as_it_was_simulated |
| Paths, bodies, envelopes and limits in full | tests/unit/producers/control/test_control_api.py |
| Names and defaults of its settings | tests/unit/producers/legacy/test_migrating_guide.py::test_every_variable_and_flag_of_the_five_systems_is_in_the_guide |

Not here yet, because they are about dashboards: data and alerts that appear there. No features but files of that project:
setup.py, simple_test.py, test_service.py, start-mock-service.ps1, its README.
"""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from feature_runs import json_lines, served, simulate

from producers.devices.fleets import load_fleet
from producers.options import ReplayOptions
from producers.replay.readings import file_readings
from tests.integration.producers.mqtt.mqtt_simulations import Listener, simulation
from tests.support.mosquitto import Mosquitto
from tests.support.running_fleet import until

ROOT = Path(__file__).parents[2]
FIVE = {"mock-hvac-001", "mock-lighting-001", "mock-server-001", "mock-industrial-001", "mock-appliance-001"}
HVAC = "/api/v1/devices/mock-hvac-001"


@pytest.fixture(scope="module")
def service():
    with served("energy", cors_origins=("https://panel.example",)) as found:
        yield found


@pytest.fixture
def fresh():
    """A service of the test's own."""
    with served("energy") as found:
        yield found


@pytest.fixture(scope="module")
def hour():
    """Its five devices for an hour, without faults."""
    return simulate(fleet="energy", duration=3600.0, anomaly_rate=0.0)


# Core service components


def test_individual_device_simulation(hour):
    """MockDevice: individual device simulation."""
    power = {device: hour.values("power", device) for device in FIVE}
    assert {len(values) for values in power.values()} == {720}
    assert len({tuple(values / values.mean()) for values in power.values()}) == 5


def test_power_voltage_current_and_energy_readings(hour):
    """MockDevice: power, voltage, current, and energy readings."""
    assert {reading.metric for reading in hour.readings} == {"power", "voltage", "current", "energy"}
    assert hour.by_id["mock-hvac-001"].units == {
        "power": "kW",
        "voltage": "V",
        "current": "A",
        "energy": "kWh",
    }
    power, voltage, current = (
        hour.values(metric, "mock-server-001") for metric in ("power", "voltage", "current")
    )
    assert current == pytest.approx(1000 * power / voltage, abs=0.001)


def test_realistic_data_variations(hour):
    """MockDevice: realistic data variations. DeviceSimulator: realistic energy consumption patterns."""
    assert len(set(hour.values("power", "mock-hvac-001"))) > 700
    assert all((np.diff(hour.values("energy", device)) > 0).all() for device in FIVE)


def test_manages_virtual_devices_lifecycle(fresh):
    """MockDeviceManager: manages virtual IoT devices lifecycle."""
    made = fresh.post("/api/v1/devices", {"device_type": "server", "name": "Rack 9", "location": "Cellar"})
    path = f"/api/v1/devices/{made['id']}"
    fresh.until(path, lambda device: device["last_update"] is not None)
    assert fresh.put(path, {"enabled": False})["enabled"] is False
    fresh.data(fresh.http.delete(path))
    assert fresh.http.get(path).status_code == 404


def test_processes_device_commands(fresh):
    """MockDeviceManager: processes device commands."""
    assert (
        fresh.post(f"{HVAC}/command", {"command": "set_power", "parameters": {"power": 30}})["base_power"]
        == 30
    )
    fresh.until(f"{HVAC}/readings", lambda readings: readings["power"] > 27.6)


def test_maintains_device_state_and_status(fresh):
    """MockDeviceManager: maintains device state and status."""
    fresh.put(HVAC, {"online": False})
    assert (fresh.get(HVAC)["status"], fresh.get(HVAC)["enabled"]) == ("offline", True)


def test_continuous_data_generation_in_the_background(service):
    """DeviceSimulator: continuous data generation and transmission; background processing."""
    sent = service.get("/api/v1/simulation/status")["workers"][0]["readings_sent"]
    service.until(
        "/api/v1/simulation/status", lambda status: status["workers"][0]["readings_sent"] > sent + 100
    )


def test_configurable_simulation_intervals():
    """DeviceSimulator: configurable simulation intervals. Key feature: configurable intervals and data ranges."""
    assert load_fleet("energy").interval == 5
    for interval in (1.0, 30.0):
        times = [
            r.time
            for r in simulate(fleet="energy", duration=300.0, interval=interval).of("power", "mock-hvac-001")
        ]
        assert set(np.diff(times)) == {interval * 1e6}


def test_configurable_data_ranges(tmp_path):
    """Key features: configurable intervals and data ranges. Settings: device types and ranges; data variation settings."""
    fleet = {
        "groups": [
            {
                "type": "hvac",
                "device_id": "h",
                "metrics": {
                    "power": {"noise": {"uniform": "40 %"}, "range": [20, 30]},
                    "voltage": {"noise": {"uniform": 5}},
                },
                "parameters": {"base_voltage": 230},
                "faults": {"enabled": False},
            }
        ]
    }
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(fleet))
    found = simulate(fleet=str(path), duration=3600.0, interval=5.0)
    assert (found.values("power").min(), found.values("power").max()) == (20, 30)
    assert 225 <= found.values("voltage").min() < 226 < 234 < found.values("voltage").max() <= 235


# REST API


def test_list_all_devices(service):
    """GET /api/v1/devices - List all devices."""
    assert {device["id"] for device in service.get("/api/v1/devices")} >= FIVE


def test_get_device_details(service):
    """GET /api/v1/devices/{id} - Get device details."""
    device = service.get(HVAC)
    assert (device["id"], device["name"], device["type"], device["location"]) == (
        "mock-hvac-001",
        "HVAC System",
        "hvac",
        "Building A HVAC",
    )


def test_create_new_device(fresh):
    """POST /api/v1/devices - Create new device. Key feature: dynamic device creation via API."""
    body = {
        "device_type": "hvac",
        "name": "Roof",
        "location": "Annex",
        "base_power": 12.5,
        "base_voltage": 230,
    }
    made = fresh.post("/api/v1/devices", body)
    assert (made["name"], made["location"], made["base_power"], made["base_voltage"]) == (
        "Roof",
        "Annex",
        12.5,
        230,
    )


def test_update_device(fresh):
    """PUT /api/v1/devices/{id} - Update device."""
    assert fresh.put(HVAC, {"name": "New", "base_power": 40})["name"] == "New"
    assert fresh.get(HVAC)["base_power"] == 40


def test_delete_device(fresh):
    """DELETE /api/v1/devices/{id} - Delete device."""
    fresh.data(fresh.http.delete(HVAC))
    assert "mock-hvac-001" not in {device["id"] for device in fresh.get("/api/v1/devices")}


def test_get_current_readings(service):
    """GET /api/v1/devices/{id}/readings - Get current readings."""
    readings = service.get(f"{HVAC}/readings")
    assert 22.5 <= readings["power"] <= 27.5
    assert readings["energy"] > 0


def test_send_device_command(fresh):
    """POST /api/v1/devices/{id}/command - Send device command."""
    assert fresh.post(f"{HVAC}/command", {"command": "turn_off"})["enabled"] is False


def test_trigger_data_simulation(service):
    """POST /api/v1/devices/{id}/simulate - Trigger data simulation."""
    assert service.post(f"{HVAC}/simulate").keys() == service.get(f"{HVAC}/readings").keys()


def test_get_simulation_status(service):
    """GET /api/v1/simulation/status - Get simulation status."""
    status = service.get("/api/v1/simulation/status")
    assert (status["is_running"], status["total_devices"]) == (True, 5)


def test_start_and_stop_simulation(fresh):
    """POST /api/v1/simulation/start - Start simulation; POST /api/v1/simulation/stop - Stop simulation."""
    fresh.post("/api/v1/simulation/stop")
    before = fresh.until("/api/v1/simulation/status", lambda status: not status["is_running"])
    assert fresh.get("/api/v1/simulation/status")["workers"][0]["time"] == before["workers"][0]["time"]
    fresh.post("/api/v1/simulation/start")
    fresh.until(
        "/api/v1/simulation/status",
        lambda status: status["workers"][0]["time"] > before["workers"][0]["time"],
    )


# Default devices


@pytest.mark.parametrize(
    ("device_id", "name", "power", "location"),
    [
        ("mock-hvac-001", "HVAC System", 25, "Building A HVAC"),
        ("mock-lighting-001", "LED Lighting", 8.5, "Office lighting"),
        ("mock-server-001", "Server Rack", 45, "Data center equipment"),
        ("mock-industrial-001", "Production Line", 120, "Industrial equipment"),
        ("mock-appliance-001", "Kitchen Equipment", 15, "Cafeteria appliances"),
    ],
)
def test_the_service_creates_five_realistic_devices(hour, device_id, name, power, location):
    """Default devices: name (kW) - place."""
    device = hour.by_id[device_id]
    assert (device.name, device.location.name) == (name, location)
    assert hour.values("power", device_id).mean() == pytest.approx(power, rel=0.01)
    assert len(hour.devices) == 5


# Key features: realistic simulation


def test_power_variations(hour):
    """Power variations: ±10% realistic fluctuations."""
    power = hour.values("power", "mock-hvac-001") / 25
    assert 0.9 <= power.min() < 0.905 < 1.095 < power.max() <= 1.1


def test_voltage_stability(hour):
    """Voltage stability: ±2% variations around nominal."""
    voltage = hour.values("voltage") / 240
    assert 0.98 <= voltage.min() < 0.981 < 1.019 < voltage.max() <= 1.02


def test_energy_integration(hour):
    """Energy integration: cumulative energy consumption."""
    power, energy = hour.values("power", "mock-hvac-001"), hour.values("energy", "mock-hvac-001")
    assert energy == pytest.approx(np.cumsum(power) * 5 / 3600, abs=1e-6)


@pytest.mark.parametrize("state", ["online", "enabled"])
def test_device_states(fresh, state):
    """Device states: online/offline, enabled/disabled."""
    fresh.put(HVAC, {state: False})
    before = fresh.get(HVAC)["last_update"]
    others = fresh.get("/api/v1/devices/mock-server-001")["last_update"]
    fresh.until("/api/v1/devices/mock-server-001", lambda device: device["last_update"] > others)
    silent = fresh.get(HVAC)
    assert (silent[state], silent["power"], silent["last_update"]) == (False, 0, before)
    fresh.put(HVAC, {state: True})
    fresh.until(HVAC, lambda device: device["last_update"] > before)


def test_error_conditions(fresh):
    """Error conditions: simulated device failures."""
    fresh.post(
        f"{HVAC}/command",
        {"command": "inject_fault", "parameters": {"fault": "device_failure", "duration": 1000}},
    )
    fresh.until(
        f"{HVAC}/readings",
        lambda readings: readings["power"] == 0 and readings["anomaly_type"] == "device_failure",
    )


# Key features: device management


def test_device_type_support(service):
    """Device type support: HVAC, lighting, server, industrial, appliance. Multiple device types for testing."""
    assert set(service.get("/api/v1/device-types")) >= {
        "hvac",
        "lighting",
        "server",
        "industrial",
        "appliance",
    }


def test_remote_control_by_api(fresh):
    """Remote control: commands via MQTT or API (the API)."""
    for command, online in (("offline", False), ("online", True)):
        assert fresh.post(f"{HVAC}/command", {"command": command})["online"] is online


def test_status_monitoring(fresh):
    """Status monitoring: real-time device status."""
    fresh.put(HVAC, {"online": False})
    assert fresh.get("/api/v1/simulation/status")["online_devices"] == 4


def test_configuration_updates(fresh):
    """Configuration updates: runtime parameter changes."""
    fresh.put(HVAC, {"base_power": 100, "base_voltage": 400})
    fresh.until(f"{HVAC}/readings", lambda readings: readings["power"] > 89 and readings["voltage"] > 391)


# Key features: easy integration


@pytest.fixture(scope="module")
def by_mqtt(tmp_path_factory):
    """The five devices on an MQTT broker: what was heard there, after a command to one of them."""
    with Mosquitto(tmp_path_factory.mktemp("mqtt")) as broker:
        ear = Listener(broker.port, "energy/#")
        with simulation({"mqtt.url": broker.url}, fleet="energy", interval=0.1, anomaly_rate=0.0) as run:
            until(lambda: len({topic for topic, _, _ in ear.heard if topic.endswith("/data")}) == 5)
            ear.publish(
                "energy/devices/mock-hvac-001/commands",
                {"command": "set_power", "parameters": {"power": 500}},
            )
            until(lambda: any(said["power"] > 400 for said in ear.said("energy/devices/mock-hvac-001/data")))
            run.stop.set()
            run.join()
        ear.close()
        yield ear


@pytest.mark.integration
def test_energy_readings_by_mqtt(by_mqtt):
    """Topic energy/devices/{device_id}/data - Energy readings. Standard MQTT topics."""
    assert all(by_mqtt.said(f"energy/devices/{device_id}/data") for device_id in FIVE)


@pytest.mark.integration
def test_data_format(by_mqtt):
    """Data format: {device_id, timestamp, power, voltage, current, energy, status, enabled}."""
    said = by_mqtt.said("energy/devices/mock-lighting-001/data")[0]
    assert said.keys() >= {
        "device_id",
        "timestamp",
        "power",
        "voltage",
        "current",
        "energy",
        "status",
        "enabled",
    }
    assert (said["device_id"], said["status"], said["enabled"]) == ("mock-lighting-001", "online", True)
    assert said["timestamp"].endswith("Z")


@pytest.mark.integration
def test_device_status_by_mqtt(by_mqtt):
    """Topic energy/devices/{device_id}/status - Device status."""
    statuses = [said["status"] for said in by_mqtt.said("energy/devices/mock-server-001/status")]
    assert (statuses[0], statuses[-1]) == ("online", "offline")


@pytest.mark.integration
def test_device_commands_by_mqtt(by_mqtt):
    """Topic energy/devices/{device_id}/commands - Device commands. Remote control: commands via MQTT or API (MQTT)."""
    answers = [said.get("last_command") for said in by_mqtt.said("energy/devices/mock-hvac-001/status")]
    assert {"command": "set_power", "success": True} in [
        {key: answer[key] for key in ("command", "success")} for answer in answers if answer
    ]
    assert by_mqtt.said("energy/devices/mock-hvac-001/data")[-1]["power"] > 400


def test_docker_compose_integration():
    """Docker: docker-compose.yml, Dockerfile with health checks, environment configuration."""
    compose = yaml.safe_load((ROOT / "deploy/images/compose.yaml").read_text())
    assert compose["services"]["simulate"]["command"][0] == "simulate"
    assert "SIGMAWATCH_KAFKA__BOOTSTRAP_SERVERS" in compose["services"]["simulate"]["environment"]
    assert "HEALTHCHECK" in (ROOT / "deploy/images/Dockerfile").read_text()


def test_health_checks_and_monitoring(service):
    """Health checks and monitoring. Health check: http://localhost:8090/health."""
    health = service.http.get("/health").json()
    assert (health["status"], health["device_simulator"], health["active_devices"]) == (
        "healthy",
        "running",
        5,
    )
    assert "sigmawatch_simulator_readings_sent_total" in service.http.get("/metrics").text


def test_cors_support(service):
    """CORS support for web interface integration."""
    named = service.http.get("/api/v1/devices", headers={"Origin": "https://panel.example"})
    assert named.headers["access-control-allow-origin"] == "https://panel.example"
    other = service.http.get("/api/v1/devices", headers={"Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in other.headers


# Access points, and how to use it


def test_service_on_its_port(cli, service):
    """Service: http://localhost:8090."""
    assert "port 8090" in cli("simulate --help").out
    assert service.http.get("/").status_code == 200


def test_api_docs(service):
    """API Docs: http://localhost:8090/docs."""
    assert service.http.get("/docs").status_code == 200
    assert "/api/v1/devices/{device_id}/command" in service.http.get("/openapi.json").json()["paths"]


def test_the_service_beside_the_simulation(tmp_path):
    """Quick start: start the service; curl http://localhost:8090/api/v1/simulation/status, and /api/v1/devices."""
    control = {"control.enabled": "true", "control.port": "0"}
    with simulation(control, fleet="energy", interval=0.05, to=str(tmp_path / "x.csv")) as run:
        until(lambda: run.port)
        url = f"http://127.0.0.1:{run.port}/api/v1"
        status = httpx.get(f"{url}/simulation/status", trust_env=False).json()["data"]
        assert (status["is_running"], status["total_devices"]) == (True, 5)
        assert len(httpx.get(f"{url}/devices", trust_env=False).json()["data"]) == 5
        run.stop.set()
        run.join()


# Integration with your platform


def test_new_devices_automatically_start_sending_data(fresh):
    """Device management: add new devices via the API; they automatically start sending data."""
    made = fresh.post("/api/v1/devices", {"device_type": "appliance", "name": "Grill", "location": "Yard"})
    fresh.until(f"/api/v1/devices/{made['id']}/readings", lambda readings: (readings["energy"] or 0) > 0)


def test_remove_devices_when_no_longer_needed(fresh):
    """Device management: remove devices when no longer needed."""
    for device_id in FIVE:
        fresh.data(fresh.http.delete(f"/api/v1/devices/{device_id}"))
    assert fresh.get("/api/v1/simulation/status")["total_devices"] == 0


def test_environment_configuration(cli, monkeypatch, tmp_path):
    """Docker: environment configuration. Settings: simulation parameters."""
    monkeypatch.setenv("SIGMAWATCH_SIMULATE__FLEET", "energy")
    monkeypatch.setenv("SIGMAWATCH_SIMULATE__INTERVAL", "10s")
    cli("simulate --duration 60s --speed max --to", tmp_path / "x.jsonl")
    assert len(json_lines(tmp_path / "x.jsonl")) == 5 * 4 * 6


def test_api_and_mqtt_configuration(cli):
    """Settings: API configuration; MQTT broker connection."""
    described = json.loads(cli("settings --json").out)
    keys = {setting["key"] for setting in described} if isinstance(described, list) else set(described)
    wanted = {
        "control.host",
        "control.port",
        "control.cors_origins",
        "mqtt.url",
        "mqtt.prefix",
        "mqtt.client_id",
    }
    assert wanted <= keys


# Benefits


def test_consistent_test_data():
    """Consistent test data for reproducible testing."""
    first, again = (simulate(fleet="energy", duration=300.0, seed=7) for _ in range(2))
    assert first.readings == again.readings
    assert first.readings != simulate(fleet="energy", duration=300.0, seed=8).readings


def test_multiple_simultaneous_devices():
    """Load testing with many simulated devices; multiple simultaneous devices showing scale."""
    found = simulate(fleet="energy", devices=1000, duration=10.0)
    assert len({reading.device_id for reading in found.readings}) == 1000


@pytest.mark.parametrize(
    ("fault", "holds"),
    [
        ("device_failure", lambda readings: readings["power"] == 0),
        ("sustained_high_load", lambda readings: readings["power"] > 1.8 * 25),
        ("voltage_fluctuation", lambda readings: not 0.98 * 240 <= readings["voltage"] <= 1.02 * 240),
    ],
    ids=["failures", "high loads", "variations"],
)
def test_controlled_scenarios(fresh, fault, holds):
    """Controlled scenarios (failures, variations, etc.). Edge case simulation (failures, high loads). Interactive control."""
    fresh.post("/trigger-anomaly", {"device_id": "mock-hvac-001", "anomaly_type": fault, "duration": 50})
    fresh.until(f"{HVAC}/readings", holds)


# Future enhancements that are there


def test_device_profiles(tmp_path):
    """Device profiles for different energy patterns."""
    types = {
        "types": {
            "heat_pump": {
                "extends": "hvac",
                "parameters": {"base_power": {"default": 6}},
                "metrics": {"power": {"cycles": [{"period": "1d", "amplitude": "30 %", "peak": "18:00"}]}},
            }
        }
    }
    (tmp_path / "types.yaml").write_text(yaml.safe_dump(types))
    fleet = {
        "types": ["types.yaml"],
        "groups": [{"type": "heat_pump", "device_id": "p", "faults": {"enabled": False}}],
    }
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    found = simulate(fleet=str(tmp_path / "fleet.yaml"), duration=86_400.0, interval=600.0)
    by_hour = {}
    for reading in found.of("power"):
        by_hour.setdefault(reading.time // 3_600_000_000 % 24, []).append(reading.value)
    assert max(by_hour, key=lambda hour: np.mean(by_hour[hour])) in {16, 17, 18, 19}


def test_scenario_scripting():
    """Scenario scripting for complex test cases."""
    assert {"voltage_fluctuation", "power_spike"} <= simulate(scenario="brown-out").faults


def test_historical_data_replay(tmp_path):
    """Historical data replay from real devices."""
    path = tmp_path / "meter.csv"
    path.write_text("timestamp,device_id,power\n2026-01-01T00:00:00Z,meter-1,25.3\n")
    (reading,) = file_readings(path, ReplayOptions(), 1_795_261_139_000_000)
    assert (reading.device_id, reading.metric, reading.value) == ("meter-1", "power", 25.3)


def test_advanced_failure_simulation(fresh):
    """Advanced failure simulation."""
    body = {"select": {"type": "hvac"}, "fault": "stuck", "seconds": 600, "onset": 0.0}
    assert fresh.post("/api/v1/faults", body)["count"] == 1
    assert fresh.get("/api/v1/faults")[0]["fault"]["fault"] == "stuck"
