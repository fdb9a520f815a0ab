"""The REST API on a running fleet: iot-mock-service's interface, what is ours beside it, and errors."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from producers.control.app import control_app
from producers.control.device_commands import DEVICE_COMMANDS
from producers.simulation.commands import ListDevices
from schemas.errors import ConfigError
from schemas.settings import ControlSettings
from tests.support.running_fleet import device_types, running_fleet, until

TOKEN = "correct-horse-battery"
TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
def fleet():
    with running_fleet() as running:
        running.wait_for_readings()
        yield running


def client_of(fleet, **settings):
    app = control_app(fleet.control, fleet.control, device_types, ControlSettings(**settings))
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture
def client(fleet):
    with client_of(fleet) as made:
        yield made


@pytest.fixture(scope="module")
def refusing():
    """A client for what is refused and changes nothing, so that many tests can share the fleet."""
    with running_fleet() as running, client_of(running) as made:
        running.wait_for_readings()
        yield made
        assert len(data(made.get("/api/v1/devices"))) == 8


def data(answer, status=200):
    """The data of an answer, whose envelope is checked."""
    body = answer.json()
    assert answer.status_code == status, body
    assert list(body) == ["success", "data", "message", "errors"]
    assert body["success"] is True
    assert body["errors"] is None
    assert body["message"]
    return body["data"]


def refusal(answer, status):
    """The message of an error, whose envelope is checked."""
    body = answer.json()
    assert answer.status_code == status, body
    assert list(body) == ["success", "data", "message", "errors"]
    assert body["success"] is False
    assert body["data"] is None
    assert body["errors"]
    assert all(isinstance(error, str) and error for error in body["errors"])
    return body["message"]


def message(answer):
    data(answer)
    return answer.json()["message"]


# iot-mock-service's interface

DEVICE_KEYS = {
    "id", "name", "type", "location", "status", "enabled", "lastSeen", "createdAt", "firmware", "model",
    "serialNumber", "currentReadings", "basePower", "baseVoltage",
}  # fmt: skip
READING_KEYS = {
    "device_id",
    "timestamp",
    "power",
    "voltage",
    "current",
    "energy",
    "status",
    "enabled",
    "anomaly",
}


def test_an_energy_device_has_what_its_clients_know(client):
    device = data(client.get("/api/v1/devices/hvac-001"))
    assert device.keys() >= DEVICE_KEYS
    assert device["id"] == device["device_id"] == "hvac-001"
    assert (device["name"], device["type"], device["status"], device["enabled"]) == (
        "Roof 1",
        "hvac",
        "online",
        True,
    )
    assert device["basePower"] == device["base_power"] == 25.0
    assert device["baseVoltage"] == device["base_voltage"] == 240.0
    assert device["currentReadings"].keys() >= READING_KEYS
    assert device["power"] == device["readings"]["power"] == device["currentReadings"]["power"]
    assert device["current"] == pytest.approx(device["power"] * 1000 / device["voltage"], rel=1e-3)
    assert TIME.fullmatch(device["lastSeen"])
    assert device["serialNumber"] == device["serial_number"] != ""


def test_a_device_of_another_type_has_its_metrics(client):
    device = data(client.get("/api/v1/devices/oven-001"))
    assert device.keys() >= DEVICE_KEYS
    assert device["readings"].keys() == {"temperature"}
    assert device["units"]["temperature"] == "°C"
    assert device["state"] in {"heating", "resting"}
    assert [device[name] for name in ("power", "voltage", "current", "energy", "basePower")] == [None] * 5
    sensor = data(client.get("/api/v1/devices/SENSOR_001"))
    assert sensor["place"]["timezone"] == "America/Denver"
    assert sensor["location"] == "Denver"
    # Its voltage is a battery's and no energy device's.
    assert sensor["readings"]["voltage"] > 0
    assert sensor["voltage"] is None


def test_the_list_is_all_devices_by_id(client):
    devices = data(client.get("/api/v1/devices"))
    assert [device["id"] for device in devices] == [
        "SENSOR_001", "SENSOR_002", "hvac-001", "hvac-002", "hvac-003", "oven-001", "oven-002", "oven-003",
    ]  # fmt: skip
    assert all(device.keys() >= DEVICE_KEYS for device in devices)


def test_create_as_its_clients_do(client):
    device = data(
        client.post(
            "/api/v1/devices",
            json={
                "device_type": "hvac", "name": "Main Building HVAC", "location": "Building A - Roof",
                "base_power": 26.5, "base_voltage": 230,
            },
        )
    )  # fmt: skip
    assert re.fullmatch(r"hvac-[0-9a-f]{8}", device["id"])
    assert (device["name"], device["location"]) == ("Main Building HVAC", "Building A - Roof")
    assert (device["base_power"], device["base_voltage"]) == (26.5, 230.0)
    assert device["last_update"] is None
    until(lambda: data(client.get(f"/api/v1/devices/{device['id']}"))["power"] is not None)
    assert 23.8 < data(client.get(f"/api/v1/devices/{device['id']}/readings"))["power"] < 29.2


def test_what_its_makers_did_not_say(client):
    device = data(
        client.post("/api/v1/devices", json={"device_type": "server", "name": "x", "location": "y"})
    )
    assert (device["base_power"], device["base_voltage"]) == (10.0, 240.0)


def test_create_a_device_of_any_type(client):
    body = {
        "device_type": "oven", "device_id": "oven-x", "name": "Pizza", "location": "Kitchen", "latitude": 41.9,
        "longitude": 12.5, "timezone": "Europe/Rome", "firmware": "3.0-beta", "attributes": {"fuel": "wood"},
    }  # fmt: skip
    device = data(client.post("/api/v1/devices", json=body))
    assert device["id"] == "oven-x"
    assert device["place"] == {
        "name": "Kitchen",
        "latitude": 41.9,
        "longitude": 12.5,
        "timezone": "Europe/Rome",
    }
    assert device["attributes"]["fuel"] == "wood"
    assert device["base_power"] is None
    again = client.post("/api/v1/devices", json=body)
    assert "there is a device oven-x already" in refusal(again, 409)
    body = {"device_type": "environmental", "city": "Denver"}
    assert data(client.post("/api/v1/devices", json=body))["place"]["timezone"] == "America/Denver"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"device_type": "hvca"}, "there is no device type 'hvca'. Did you mean hvac?"),
        ({}, "device_type: Field required"),
        (
            {"device_type": "hvac", "base_power": 0.05},
            "base_power: Input should be greater than or equal to 0.1",
        ),
        ({"device_type": "hvac", "base_voltage": 601}, "base_voltage"),
        ({"device_type": "hvac", "device_id": "a/b"}, "device_id"),
        ({"device_type": "hvac", "device_id": "hvac-*"}, "device_id"),
        ({"device_type": "hvac", "timezone": "Mars/Olympus"}, "there is no such time zone"),
        ({"device_type": "hvac", "city": "Denver", "location": "Roof"}, "give one of locations and cities"),
        ({"device_type": "hvac", "city": "Atlantis"}, "Atlantis"),
        ({"device_type": "oven", "base_power": 5}, "base_power"),
        ({"device_type": "hvac", "parameters": {"speed": 5}}, "speed"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_cannot_be_created(refusing, body, said):
    assert said in refusal(refusing.post("/api/v1/devices", json=body), 422)


def test_update_changes_what_is_given(client):
    change = {"name": "New", "location": "Cellar", "base_power": 40, "base_voltage": 400, "enabled": False}
    device = data(client.put("/api/v1/devices/hvac-001", json=change))
    assert (device["name"], device["location"], device["enabled"]) == ("New", "Cellar", False)
    assert (device["base_power"], device["base_voltage"]) == (40.0, 400.0)
    readings = data(client.get("/api/v1/devices/hvac-001/readings"))
    assert (readings["power"], readings["current"], readings["enabled"]) == (0.0, 0.0, False)
    assert readings["readings"]["power"] > 20
    device = data(client.put("/api/v1/devices/hvac-001", json={"enabled": True, "online": False}))
    assert (device["status"], device["online"], device["name"]) == ("offline", False, "New")
    data(client.put("/api/v1/devices/hvac-001", json={"online": True}))
    until(lambda: data(client.get("/api/v1/devices/hvac-001"))["power"] > 35)
    assert data(client.put("/api/v1/devices/hvac-001", json={}))["base_power"] == 40.0


def test_a_whole_device_may_be_sent_back(client):
    device = data(client.get("/api/v1/devices/hvac-001"))
    answer = client.put("/api/v1/devices/hvac-001", json=device | {"base_power": 30, "base_powr": 1})
    assert "updated successfully; ignored: id, device_id" in message(answer)
    after = data(answer)
    assert (after["base_power"], after["parameters"]["base_power"], after["attributes"]["base_power"]) == (
        30,
        30,
        "30",
    )
    after["parameters"]["base_voltage"] = 230
    after["attributes"]["fuel"] = "gas"
    after = data(client.put("/api/v1/devices/hvac-001", json=after))
    assert (after["base_power"], after["base_voltage"], after["attributes"]["fuel"]) == (30, 230, "gas")
    assert {name: after[name] for name in ("name", "location", "firmware", "model", "state")} == {
        name: device[name] for name in ("name", "location", "firmware", "model", "state")
    }


def test_update_of_what_makes_no_sense(refusing):
    for change, said in [
        ({"base_power": 1001}, "less than or equal to 1000"),
        ({"enabled": "maybe"}, "enabled"),
        ({"state": "flying"}, "have no state 'flying'"),
        ({"parameters": {"speed": 1}}, "speed"),
    ]:
        assert said in refusal(refusing.put("/api/v1/devices/hvac-001", json=change), 422)


def test_delete(client):
    assert data(client.delete("/api/v1/devices/hvac-001")) is None
    assert "there is no device hvac-001" in refusal(client.get("/api/v1/devices/hvac-001"), 404)
    refusal(client.delete("/api/v1/devices/hvac-001"), 404)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None), ("PUT", "", {"name": "x"}), ("DELETE", "", None), ("GET", "/readings", None),
        ("POST", "/simulate", None), ("POST", "/command", {"command": "turn_on"}),
        ("POST", "/command", {"command": "inject_fault"}), ("POST", "/command", {"command": "clear_fault"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("device_id", ["nobody", "hvac-*", "*", "hvac-00?", "x" * 200])
def test_a_device_that_is_not_there(refusing, method, path, body, device_id):
    path = f"/api/v1/devices/{device_id.replace('?', '%3F')}{path}"
    assert "there is no device" in refusal(refusing.request(method, path, json=body), 404)


def test_readings_have_its_messages_form(client):
    readings = data(client.get("/api/v1/devices/hvac-002/readings"))
    assert readings.keys() >= READING_KEYS
    assert readings["anomaly"] is False
    data(client.post("/trigger-anomaly", json={"device_id": "hvac-002", "duration": 50}))
    readings = data(client.get("/api/v1/devices/hvac-002/readings"))
    assert readings["anomaly"] is True
    assert readings["anomaly_type"]
    assert 0 < readings["anomaly_duration_remaining"] <= 50


def test_simulate_answers_with_the_current_reading_and_changes_none(fleet, client):
    data(client.post("/api/v1/simulation/stop"))
    until(lambda: not fleet.control.running.is_set())
    before = data(client.get("/api/v1/devices/hvac-001/readings"))
    for _ in range(3):
        assert data(client.post("/api/v1/devices/hvac-001/simulate")) == before


def test_commands(client):
    def send(command, parameters=None, device="hvac-001"):
        body = {"command": command} | ({} if parameters is None else {"parameters": parameters})
        return data(client.post(f"/api/v1/devices/{device}/command", json=body))

    assert send("set_power", {"power": 30.0})["base_power"] == 30.0
    assert send("set_power", {"power": "31"})["base_power"] == 31.0
    assert send("set_voltage", {"voltage": 230})["base_voltage"] == 230.0
    assert send("set_enabled", {"enabled": False})["enabled"] is False
    assert send("set_enabled")["enabled"] is True
    assert send("set_online", {"online": False})["status"] == "offline"
    assert send("online")["status"] == "online"
    assert send("offline")["online"] is False
    assert send("set_online", {})["online"] is True
    assert send("turn_off")["enabled"] is False
    assert send("turn_on")["enabled"] is True
    assert send("disable")["enabled"] is False
    assert send("Enable ")["enabled"] is True
    assert send("set_firmware", {"firmware": "3.0-beta"})["firmware"] == "3.0-beta"
    assert send("set_parameters", {"base_power": 12, "base_voltage": 110})["parameters"] == {
        "base_power": 12.0,
        "base_voltage": 110.0,
    }
    assert send("set_state", {"state": "resting"}, "oven-001")["state"] == "resting"
    assert (
        send("inject_fault", {"fault": "power_spike", "duration": 40, "intensity": 3})["fault"]["intensity"]
        == 3.0
    )
    assert send("clear_fault")["fault"] is None
    assert send("clear_fault")["fault"] is None


def test_energy_is_counted_from_zero_again(client):
    until(lambda: data(client.get("/api/v1/devices/hvac-001"))["energy"] > 0.3)
    for command in ("reset_energy", "reset_counters"):
        data(client.post("/api/v1/devices/hvac-001/command", json={"command": command}))
    until(lambda: data(client.get("/api/v1/devices/hvac-001"))["energy"] < 0.3)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            {"command": "set_pover"},
            "'set_pover' is no command of a device. Did you mean set_power? Commands are set_power,",
        ),
        ({"command": "explode"}, f"Commands are {', '.join(DEVICE_COMMANDS)}"),
        ({"command": "set_power"}, "set_power needs the parameter power"),
        ({"command": "set_power", "parameters": {"power": "much"}}, "set_power: power is much"),
        ({"command": "set_power", "parameters": {"power": True}}, "power is True"),
        ({"command": "set_power", "parameters": {"power": [1]}}, "power is a list"),
        ({"command": "set_power", "parameters": {"power": 5000}}, "base_power"),
        ({"command": "set_enabled", "parameters": {"enabled": "no"}}, "Give true or false"),
        ({"command": "set_firmware", "parameters": {"firmware": ""}}, "a text of at most 200"),
        ({"command": "set_parameters"}, "needs parameters"),
        ({"command": "inject_fault", "parameters": {"fault": "power_spke"}}, "Did you mean power_spike?"),
        ({"command": "inject_fault", "parameters": {"duration": 0.5}}, "a duration of 0.5 readings"),
        ({"command": ""}, "command"),
        ({}, "command: Field required"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_commands_that_make_no_sense(refusing, body, said):
    assert said in refusal(refusing.post("/api/v1/devices/hvac-001/command", json=body), 422)


def test_simulation_status_has_its_keys(client):
    status = data(client.get("/api/v1/simulation/status"))
    assert status["is_running"] is True
    assert (status["total_devices"], status["online_devices"], status["enabled_devices"]) == (8, 8, 8)
    assert status["simulation_interval"] == "1.0 seconds"
    assert status["mqtt_connected"] is False
    data(client.put("/api/v1/devices/hvac-001", json={"enabled": False}))
    data(client.put("/api/v1/devices/hvac-002", json={"online": False}))
    status = data(client.get("/api/v1/simulation/status"))
    assert (status["total_devices"], status["online_devices"], status["enabled_devices"]) == (8, 7, 7)
    (worker,) = status["workers"]
    assert worker["shard"] == "1/1"
    assert worker["readings_sent"] > 0


def test_start_and_stop(fleet, client):
    assert "already running" in message(client.post("/api/v1/simulation/start"))
    assert "stopped" in message(client.post("/api/v1/simulation/stop"))
    assert data(client.get("/api/v1/simulation/status"))["is_running"] is False
    stood = fleet.time_us
    # It obeys all the same.
    assert data(client.put("/api/v1/devices/hvac-001", json={"name": "Paused"}))["name"] == "Paused"
    assert "already stopped" in message(client.post("/api/v1/simulation/stop"))
    assert fleet.time_us <= stood + 1_000_000
    assert message(client.post("/api/v1/simulation/start")) == "Device simulation started"
    until(lambda: fleet.time_us > stood + 5_000_000)


def test_device_types_are_names(client):
    names = data(client.get("/api/v1/device-types"))
    assert set(names) >= {"hvac", "lighting", "server", "industrial", "appliance", "oven", "signal"}


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_anomalies(client, prefix):
    asked = {
        "device_id": "hvac-003",
        "anomaly_type": "high_power_consumption",
        "duration": 50,
        "power_multiplier": 4,
    }
    assert data(client.post(f"{prefix}/trigger-anomaly", json=asked)) == {
        "device_id": "hvac-003",
        "device_name": "Roof 3",
        "anomaly_type": "high_power_consumption",
        "duration": 50,
        "power_multiplier": 4.0,
    }
    status = data(client.get(f"{prefix}/anomaly-status"))
    assert (status["total_devices"], status["active_anomalies"]) == (8, 1)
    assert len(status["devices"]) == 8
    (active,) = status["anomaly_details"]
    assert (active["device_id"], active["anomaly_type"], active["base_power"]) == (
        "hvac-003",
        "high_power_consumption",
        25.0,
    )
    assert active["anomaly_active"] is True
    assert active["power_ratio"] == pytest.approx(active["current_power"] / 25.0)
    quiet = next(device for device in status["devices"] if device["device_id"] == "hvac-001")
    assert (quiet["anomaly_active"], quiet["anomaly_type"], quiet["anomaly_remaining_duration"]) == (
        False,
        None,
        0,
    )
    assert data(client.post(f"{prefix}/clear-anomalies")) == {"cleared_anomalies": 1}
    assert data(client.get(f"{prefix}/anomaly-status"))["active_anomalies"] == 0


def test_an_anomaly_somewhere(client):
    triggered = data(client.post("/trigger-anomaly", json={"duration": 50}))
    assert triggered["duration"] == 50
    assert data(client.get("/anomaly-status"))["anomaly_details"][0]["device_id"] == triggered["device_id"]
    data(client.post("/clear-anomalies"))
    assert data(client.post("/trigger-anomaly"))["anomaly_type"]


def test_a_power_multiplier_alone_means_high_consumption(client):
    triggered = data(
        client.post(
            "/trigger-anomaly", json={"device_id": "hvac-001", "power_multiplier": 2.5, "duration": 40}
        )
    )
    assert (triggered["anomaly_type"], triggered["power_multiplier"]) == ("high_power_consumption", 2.5)
    until(lambda: data(client.get("/api/v1/devices/hvac-001"))["power"] > 50)


def test_a_power_multiplier_for_what_does_not_multiply(client):
    asked = {
        "device_id": "hvac-001",
        "anomaly_type": "voltage_fluctuation",
        "power_multiplier": 0.83,
        "duration": 40,
    }
    answer = client.post("/trigger-anomaly", json=asked)
    assert data(answer)["power_multiplier"] == 1.0
    assert "power_multiplier means nothing for voltage_fluctuation" in answer.json()["message"]
    asked = {"device_id": "oven-001", "power_multiplier": 2}
    assert "no fault that multiplies" in refusal(client.post("/trigger-anomaly", json=asked), 422)


@pytest.mark.parametrize(
    ("device_id", "fault"),
    [
        ("oven-001", "drift"),
        ("SENSOR_001", "missing_data"),
        ("hvac-001", "stuck"),
        ("oven-002", "level_shift"),
    ],
)
def test_any_fault_of_any_type(client, device_id, fault):
    asked = {"device_id": device_id, "anomaly_type": fault, "duration": 50}
    assert data(client.post("/trigger-anomaly", json=asked))["anomaly_type"] == fault


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"duration": 0}, 422, "duration"),
        ({"duration": 51}, 422, "duration: Input should be less than or equal to 50"),
        ({"power_multiplier": 0.4}, 422, "power_multiplier"),
        ({"power_multiplier": 10.5}, 422, "power_multiplier"),
        ({"device_id": "nobody"}, 404, "there is no device nobody"),
        ({"device_id": "nobody", "power_multiplier": 2}, 404, "there is no device nobody"),
        ({"device_id": "hvac-*"}, 404, "there is no device hvac-*"),
        ({"device_id": "hvac-001", "anomaly_type": "power_spik"}, 422, "Did you mean power_spike?"),
        ({"device_id": "oven-001", "anomaly_type": "power_spike"}, 422, "devices of type oven have no fault"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_anomalies_that_make_no_sense(refusing, body, status, said):
    assert said in refusal(refusing.post("/trigger-anomaly", json=body), status)


def test_an_empty_fleet(client):
    data(client.delete("/api/v1/devices", params={"device_id": "*"}))
    assert data(client.get("/api/v1/devices")) == []
    assert "there is no device" in refusal(client.post("/trigger-anomaly"), 404)
    assert data(client.post("/clear-anomalies")) == {"cleared_anomalies": 0}
    assert data(client.get("/anomaly-status"))["total_devices"] == 0
    assert client.get("/samplez").json() == []
    assert client.get("/healthz").status_code == 200


# What is ours


def test_filters(client):
    def ids(**query):
        return [device["id"] for device in data(client.get("/api/v1/devices", params=query))]

    assert ids(type="oven") == ["oven-001", "oven-002", "oven-003"]
    assert ids(device_id="*-001") == ["hvac-001", "oven-001"]
    assert ids(city="Den*", manufacturer="DataLogger") == ["SENSOR_001", "SENSOR_002"]
    assert ids(type="oven", device_id="hvac-001") == []
    assert ids(type="") == ids()
    data(
        client.post(
            "/api/v1/faults", json={"select": {"type": "oven"}, "fault": "drift", "until_cleared": True}
        )
    )
    assert ids(faulty="true") == ["oven-001", "oven-002", "oven-003"]


def test_pages(client):
    answer = client.get("/api/v1/devices", params={"limit": 3, "type": "*"})
    assert len(data(answer)) == 3
    assert answer.headers["x-total-count"] == "8"
    seen = [device["id"] for device in data(answer)]
    for _ in range(3):
        assert "link" in answer.headers
        answer = client.get(re.match('<(.*)>; rel="next"', answer.headers["link"])[1])
        seen += [device["id"] for device in data(answer)]
        if len(data(answer)) < 3:
            break
    assert "link" not in answer.headers
    assert seen == [device["id"] for device in data(client.get("/api/v1/devices"))]
    page = data(client.get("/api/v1/devices", params={"limit": 2, "offset": 3}))
    assert [device["id"] for device in page] == seen[3:5]
    assert data(client.get("/api/v1/devices", params={"limit": 0})) == []
    for query in ({"limit": -1}, {"limit": 1001}, {"offset": "x"}, {"faulty": "perhaps"}):
        refusal(client.get("/api/v1/devices", params=query), 422)


def test_changing_and_deleting_many(client):
    touched = data(
        client.patch("/api/v1/devices", params={"manufacturer": "DataLogger"}, json={"firmware": "3.0-beta"})
    )
    assert touched["count"] == 2
    assert {device["firmware"] for device in touched["devices"]} == {"3.0-beta"}
    assert data(client.delete("/api/v1/devices", params={"type": "oven"}))["count"] == 3
    assert len(data(client.get("/api/v1/devices"))) == 5
    for answer in (client.delete("/api/v1/devices"), client.patch("/api/v1/devices", json={"online": False})):
        assert "no devices are named" in refusal(answer, 422)


def test_groups(client):
    touched = data(client.post("/api/v1/groups", json={"type": "fan", "count": 20, "places": ["factory"]}))
    assert touched["count"] == len(touched["devices"]) == 20
    refusal(client.post("/api/v1/groups", json={"type": "fan", "count": 10_001}), 422)
    assert "Did you mean fan" in refusal(client.post("/api/v1/groups", json={"type": "fann"}), 422)
    assert "colour" in refusal(client.post("/api/v1/groups", json={"type": "fan", "colour": "red"}), 422)


def test_catalogue(client):
    kinds = {kind["name"]: kind for kind in data(client.get("/api/v1/catalogue"))}
    assert kinds["hvac"]["metrics"] == {"power": "kW", "voltage": "V", "current": "A", "energy": "kWh"}
    assert kinds["hvac"]["parameters"]["base_power"] == "25 kW (0.1 to 1000)"
    assert "power_spike" in kinds["hvac"]["faults"]
    assert kinds["oven"]["states"] == ["heating", "resting"]


def test_faults_with_every_setting(client):
    asked = {"select": {"type": "oven"}, "fault": "drift", "seconds": 900, "intensity": 7, "onset": 0.5}
    touched = data(client.post("/api/v1/faults", json=asked))
    assert touched["count"] == 3
    listed = data(client.get("/api/v1/faults"))
    assert [device["device_id"] for device in listed] == ["oven-001", "oven-002", "oven-003"]
    fault = listed[0]["fault"]
    assert (fault["fault"], fault["intensity"], fault["injected"]) == ("drift", 7.0, True)
    assert 850 < fault["readings_left"] <= 900
    assert TIME.fullmatch(fault["began"])
    assert TIME.fullmatch(fault["ends"])
    assert data(client.post("/api/v1/faults/clear", json={"select": {"device_id": "oven-002"}}))["count"] == 1
    assert data(client.post("/api/v1/faults/clear"))["count"] == 2
    data(
        client.post(
            "/api/v1/faults",
            json={"select": {"device_id": "oven-001"}, "fault": "stuck", "until_cleared": True},
        )
    )
    fault = data(client.get("/api/v1/faults"))[0]["fault"]
    assert (fault["ends"], fault["readings_left"]) == (None, None)
    one = data(
        client.post("/api/v1/faults", json={"select": {"type": "hvac"}, "random_one": True, "readings": 500})
    )
    assert one["count"] == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"readings": 3, "seconds": 3}, "give one of readings, seconds and until_cleared"),
        ({"select": {"typ": "oven"}}, "select.typ"),
        ({"seconds": 1e12}, "seconds"),
        ({"onset": 2}, "onset"),
        ({"fault": "drfit"}, "Did you mean drift?"),
    ],
    ids=str,
)
def test_faults_that_make_no_sense(refusing, body, said):
    assert said in refusal(refusing.post("/api/v1/faults", json=body), 422)


def test_chances(fleet, client):
    changed = data(client.put("/api/v1/faults/chances", json={"type": "hvac", "probability": 1}))
    assert changed == {"count": 3}
    until(lambda: {device["type"] for device in data(client.get("/api/v1/faults"))} == {"hvac"})
    assert "no device of type" in refusal(client.put("/api/v1/faults/chances", json={"type": "lamp"}), 422)


# Outside the prefix


def test_root_and_health(fleet, client):
    assert client.get("/").json()["message"] == "Sigmawatch simulator"
    health = client.get("/health").json()
    assert health["status"] == "healthy"
    assert (health["device_manager"], health["device_simulator"], health["active_devices"]) == (
        "initialized",
        "running",
        8,
    )
    assert client.get("/healthz").json() == {"status": "healthy"}
    data(client.post("/api/v1/simulation/stop"))
    assert client.get("/healthz").json() == {"status": "healthy"}
    assert client.get("/health").json()["device_simulator"] == "stopped"


def test_health_of_a_simulation_that_hangs(fleet):
    fleet.frozen.set()
    with client_of(fleet, timeout=0.05) as client:
        for path in ("/health", "/healthz"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert answer.json()["status"] == "unhealthy"
        assert client.get("/livez").status_code == 200


def test_readiness_of_a_simulation_that_hangs_and_wakes_and_ends(fleet, client, monkeypatch):
    monkeypatch.setattr("producers.control.pulse._PATIENCE_SECONDS", 0.1)
    assert client.get("/readyz").status_code == 200
    fleet.frozen.set()
    until(lambda: client.get("/readyz").status_code == 503)
    assert "has not answered for 0 s" in client.get("/readyz").text
    fleet.frozen.clear()
    until(lambda: client.get("/readyz").status_code == 200)
    fleet.stop()
    until(lambda: "the simulation has ended" in client.get("/readyz").text)


def test_a_simulation_that_hangs_is_a_504(fleet):
    fleet.frozen.set()
    with client_of(fleet, timeout=0.05) as client:
        for method, path, body in [
            ("GET", "/api/v1/devices", None),
            ("POST", "/trigger-anomaly", {}),
            ("GET", "/samplez", None),
            ("PUT", "/api/v1/devices/hvac-001", {"name": "x"}),
        ]:
            said = refusal(client.request(method, path, json=body), 504)
            assert "did not answer within 0.05 s" in said
    fleet.frozen.clear()
    assert fleet.control.apply(ListDevices()).devices[2].device.name == "Roof 1"


def test_a_simulation_that_has_ended(fleet, client):
    fleet.stop()
    assert "the simulation has ended" in refusal(client.get("/api/v1/devices"), 503)


def test_the_monitor_of_sensor_log_generator(fleet, client):
    data(
        client.post(
            "/trigger-anomaly", json={"device_id": "SENSOR_001", "anomaly_type": "noise", "duration": 50}
        )
    )
    fleet.wait_for_readings()
    data(client.post("/api/v1/simulation/stop"))
    until(lambda: client.get("/statusz").json()["running"] is False)
    fleet.control.apply(ListDevices(limit=0))
    status = client.get("/statusz").json()
    assert status["readings_count"] == fleet.sent
    assert status["elapsed_seconds"] > 0
    assert status["devices"] == {"total": 8, "online": 8, "enabled": 8, "faulty": 1}
    metrics = client.get("/metricz").json()
    assert metrics["readings"] == {"sent": fleet.sent, "acknowledged": fleet.sent, "with_fault": fleet.faults}
    assert metrics["anomalies"] == {"noise": 1}
    stats = client.get("/db_stats").json()
    assert stats["total_readings"] == fleet.sent
    assert stats["sync_status"] == {
        "total": fleet.sent,
        "synced": fleet.sent,
        "unsynced": 0,
        "sync_percentage": 100,
    }
    samples = client.get("/samplez").json()
    assert len(samples) == 8
    assert [row["timestamp"] for row in samples] == sorted(
        (row["timestamp"] for row in samples), reverse=True
    )
    row = next(row for row in samples if row["sensor_id"] == "SENSOR_001")
    assert row.keys() >= {
        "temperature",
        "humidity",
        "pressure",
        "voltage",
        "latitude",
        "longitude",
        "firmware_version",
    }
    assert (row["anomaly_flag"], row["anomaly_type"], row["manufacturer"]) == (True, "noise", "DataLogger")


def test_samples_are_ten(client):
    data(client.post("/api/v1/groups", json={"type": "hvac", "count": 20}))
    until(lambda: len(client.get("/samplez").json()) == 10)


def test_probes_and_metrics(fleet, client):
    assert client.get("/livez").text == "alive\n"
    assert client.get("/readyz").text == "ready\n"
    data(client.post("/trigger-anomaly", json={"device_id": "hvac-001", "anomaly_type": "noise"}))
    said = client.get("/metrics").text
    assert re.search(r"^sigmawatch_simulator_readings_sent_total \d{2,}\.0$", said, re.MULTILINE)
    assert 'sigmawatch_simulator_devices_count{state="all"} 8.0' in said
    assert 'sigmawatch_simulator_faults_total{fault="noise"} 1.0' in said
    assert "sigmawatch_simulator_running 1.0" in said
    assert "hvac-001" not in said
    assert 'route="/api/v1/devices/{device_id}"' in said or 'route="/trigger-anomaly"' in said


def test_the_description_names_everything(client):
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) >= {
        "/api/v1/devices", "/api/v1/devices/{device_id}", "/api/v1/devices/{device_id}/readings",
        "/api/v1/devices/{device_id}/command", "/api/v1/devices/{device_id}/simulate", "/api/v1/simulation/status",
        "/api/v1/simulation/start", "/api/v1/simulation/stop", "/api/v1/device-types", "/api/v1/trigger-anomaly",
        "/api/v1/anomaly-status", "/api/v1/clear-anomalies", "/trigger-anomaly", "/anomaly-status",
        "/clear-anomalies", "/", "/health", "/healthz", "/statusz", "/metricz", "/samplez", "/db_stats",
    }  # fmt: skip
    command = schema["paths"]["/api/v1/devices/{device_id}/command"]["post"]
    assert all(name in command["description"] for name in DEVICE_COMMANDS)
    assert client.get("/docs").status_code == 200


def test_the_documentation_names_everything(client):
    said = (Path(__file__).parents[4] / "docs/control.md").read_text()
    missing = [name for name in DEVICE_COMMANDS if f"`{name}`" not in said]
    paths = {path.removeprefix("/api/v1") for path in client.get("/openapi.json").json()["paths"]}
    missing += [path for path in paths if path.replace("{device_id}", "{id}") not in said]
    missing += [
        name
        for name in re.findall(
            r"^# TYPE sigmawatch_simulator_(\w+)", client.get("/metrics").text, re.MULTILINE
        )
        if name not in said
    ]
    assert missing == []


# Who may


def test_errors_of_the_common_ground_are_envelopes(fleet, client):
    assert "there is no /nope" in refusal(client.get("/nope"), 404)
    assert "does not know PATCH. Use GET" in refusal(client.patch("/health"), 405)
    assert "no JSON" in refusal(
        client.post("/trigger-anomaly", content=b"{", headers={"content-type": "application/json"}), 400
    )
    assert "content type" in refusal(
        client.post("/trigger-anomaly", content=b"{}", headers={"content-type": "text/plain"}), 415
    )
    assert "names 'evil.example'" in refusal(
        client.get("/api/v1/devices", headers={"host": "evil.example"}), 400
    )
    with client_of(fleet, max_body_bytes=1024) as small:
        assert "larger than 1024" in refusal(small.post("/trigger-anomaly", json={"x": "y" * 2000}), 413)
    with client_of(fleet, rate_limit="2/minute") as slow:
        codes = [slow.get("/api/v1/device-types").status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        answer = slow.get("/api/v1/device-types")
        assert "more requests than" in refusal(answer, 429)
        assert int(answer.headers["retry-after"]) > 0
        assert int(answer.headers["content-length"]) == len(answer.content)


def test_a_token(fleet):
    with client_of(fleet, token=SecretStr(TOKEN)) as client:
        assert "token is missing" in refusal(client.get("/api/v1/devices"), 401)
        answer = client.post("/clear-anomalies", headers={"Authorization": "Bearer wrong"})
        assert "token is wrong" in refusal(answer, 401)
        assert TOKEN not in answer.text
        assert client.get("/livez").status_code == 200
        good = {"Authorization": f"Bearer {TOKEN}"}
        assert len(data(client.get("/api/v1/devices", headers=good))) == 8
        assert "security" in client.get("/openapi.json").json()


def test_off_loopback_a_token_is_required(fleet):
    with pytest.raises(ConfigError, match="no token is set"):
        client_of(fleet, host="0.0.0.0")


def test_pages_of_other_origins_change_nothing(fleet, client):
    evil = {"origin": "https://evil.example"}
    assert "may not change anything" in refusal(client.post("/clear-anomalies", headers=evil), 403)
    assert "may not change anything" in refusal(client.post("/api/v1/simulation/stop", headers=evil), 403)
    assert fleet.control.running.is_set()
    assert data(client.post("/clear-anomalies", headers={"origin": "http://127.0.0.1"})) is not None
    assert len(data(client.get("/api/v1/devices", headers=evil))) == 8
    with client_of(fleet, cors_origins=("https://panel.example",)) as known:
        answer = known.post("/clear-anomalies", headers={"origin": "https://panel.example"})
        assert data(answer) is not None
        assert answer.headers["access-control-allow-origin"] == "https://panel.example"


def test_what_a_client_sends_does_not_break_the_answer(client):
    broken = b'{"command": "\\ud800"}'
    answer = client.post(
        "/api/v1/devices/hvac-001/command", content=broken, headers={"content-type": "application/json"}
    )
    refusal(answer, 422)
    refusal(client.get("/api/v1/devices/%ff%fe"), 404)
    refusal(client.get("/api/v1/devices/a%00b"), 404)
