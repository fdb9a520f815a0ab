"""The REST API on a running fleet: who may ask, what is refused to all, and that everything is described."""

import re
from pathlib import Path

import pytest
from control_answers import client_of, data, refusal
from pydantic import SecretStr

from producers.control.device_commands import DEVICE_COMMANDS
from schemas.errors import ConfigError

TOKEN = "correct-horse-battery"


# Who may


def test_errors_of_the_common_ground_are_envelopes(fleet, client):
    assert "there is no /nope" in refusal(client.get("/nope"), 404)
    assert "does not know PATCH. Use GET" in refusal(client.patch("/health"), 405)
    assert "Use DELETE, GET, PATCH, POST" in refusal(client.put("/api/v1/devices"), 405)
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


# What describes it


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
