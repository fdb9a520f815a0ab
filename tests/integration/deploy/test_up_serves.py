"""`sigmawatch up` serves the dashboard and the API beside it, and `read` shows what it has stored."""

import json
import re
import socket

import httpx
import pytest

from deploy.embedded import EmbeddedPostgres, cache_folder, free_port
from tests.integration.deploy.conftest import LIVELY, assert_exact, interrupt
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_the_address_that_it_says_has_devices_series_and_control(stack):
    port = free_port()
    process = stack.start("up", "--json", "--port", str(port), *LIVELY)
    said = stack.wait_for_line(process, "dashboard and API")
    address = re.search(r"dashboard and API: (\S+)", said)[1]
    assert address == f"http://127.0.0.1:{port}/"
    stack.wait_for_readings(process)
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        seen = until(
            lambda: [one for one in client.get("/api/v1/devices").json()["devices"] if one["latest"]]
        )
        device, metric = seen[0]["device_id"], next(iter(seen[0]["latest"]))
        series = until(lambda: client.get(f"/api/v1/series/{device}/{metric}/readings").json().get("time"))
        assert series

        def state_if_ready():
            state = client.get("/api/v1/pipeline").json()
            return state if (state["processors"] or {}).get("ready") == 1 and not state["trouble"] else None

        assert until(state_if_ready)["live"]["readings_per_second"] > 0
        assert client.get("/readyz").status_code == 200
        assert client.get("/").headers["content-type"].startswith("text/html")
        assert client.get("/subjects").json() == ["anomalies-value", "devices-value", "readings-value"]
        for prefix in ("", "/control"):
            fault = client.post(f"{prefix}/api/v1/faults", json={"fault": "spike", "device_id": device})
            assert fault.json()["success"], fault.text
        # A stream that is open does not hold up the end.
        with client.stream("GET", "/api/v1/stream/readings") as stream:
            lines = stream.iter_lines()
            until(lambda: next(lines).startswith("data: "))
            interrupt(process)
            assert_exact(stack.end(process))
    assert stack.processes() == []
    with EmbeddedPostgres(stack.state, cache_folder()) as database:
        url = database.url
        ended = stack.run("read", "--limit", "3", "--device", device, "--json", SIGMAWATCH_DATABASE__URL=url)
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert [row["device_id"] for row in rows] == [device] * 3
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


def test_a_port_that_is_taken_is_told_at_once(stack):
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        ended = stack.run("up", "--port", str(port))
    assert (ended.code, ended.out) == (2, "")
    assert f"port {port} is taken" in ended.err
