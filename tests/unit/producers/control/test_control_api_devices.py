"""The REST API on a running fleet: its devices, one by one and many at once, their commands and their types."""

import re

import pytest
from control_answers import TIME, data, message, refusal

from producers.control.device_commands import DEVICE_COMMANDS
from tests.support.waiting import until

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


# iot-mock-service's interface


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


def test_readings_have_its_messages_form(fleet, client):
    fleet.still.set()
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


def test_device_types_are_names(client):
    names = data(client.get("/api/v1/device-types"))
    assert set(names) >= {"hvac", "lighting", "server", "industrial", "appliance", "oven", "signal"}


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
