"""The features of iot-mock-service, row by row of its document: its REST API, MQTT, and what surrounds them.

What is tested elsewhere, and what is not here, is in tests/features/test_iot_mock_service_devices.py.
"""

import json
from pathlib import Path

import httpx
import pytest
import yaml
from feature_runs import ENERGY_DEVICES, json_lines

from tests.integration.producers.mqtt.mqtt_simulations import simulation
from tests.support.listening import Listener
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
HVAC = "/api/v1/devices/mock-hvac-001"


# REST API


def test_list_all_devices(service):
    """GET /api/v1/devices - List all devices."""
    assert {device["id"] for device in service.get("/api/v1/devices")} >= ENERGY_DEVICES


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
    assert all(by_mqtt.said(f"energy/devices/{device_id}/data") for device_id in ENERGY_DEVICES)


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
    for device_id in ENERGY_DEVICES:
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
