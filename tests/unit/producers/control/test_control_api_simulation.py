"""The REST API on a running fleet: the simulation itself, its health, probes and monitor."""

import re

from control_answers import client_of, data, message, refusal

from producers.simulation.commands import ListDevices
from tests.support.waiting import until

# iot-mock-service's interface


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
