"""The REST API on a running fleet: faults, and the anomalies of iot-mock-anomalies."""

import pytest
from control_answers import TIME, data, refusal

from tests.support.waiting import until

# iot-mock-service's interface


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_anomalies(fleet, client, prefix):
    fleet.still.set()
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


def test_an_anomaly_somewhere(fleet, client):
    fleet.still.set()
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


# What is ours


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
