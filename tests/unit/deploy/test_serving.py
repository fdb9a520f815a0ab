"""What the server for people asks of processors and of a simulation."""

import json
import re
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from deploy.control_client import ControlClient
from deploy.control_paths import described_with, operations_of
from deploy.control_proxy import add_control
from deploy.serving import Processors, ProcessorsAwayError, lags_of, people_app, pipeline_figures
from producers.control.app import control_app
from producers.control.local import LocalControl
from producers.simulation.control import CommandQueue
from schemas.errors import InputError, SigmawatchError
from schemas.settings import ApiSettings, ControlSettings, Settings, WebSettings
from schemas.web.app import new_app
from tests.support.running_fleet import running_fleet
from tests.support.served_app import running_app, running_control
from tests.unit.sinks.api.api_parts import told_api

TOKEN = "correct-horse-battery"
PAGES = {
    "/readyz": "{}",
    "/partitions": '{"1": {"next_offset": 12, "committed_offset": 10, "dead_letters": 1, "series": 4, "open": 2}}',
    "/metrics": "# TYPE sigmawatch_processor_lag_readings gauge\n"
    'sigmawatch_processor_lag_readings{partition="1"} 7.0\n',
}


@contextmanager
def pages(content):
    """A server of these pages."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = content.get(self.path, "").encode()
            self.send_response(200 if body else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_processors_that_answer_are_shown(free_tcp_port):
    with pages(PAGES) as url:
        processors = Processors([url, f"http://127.0.0.1:{free_tcp_port}"])
        try:
            shown = processors.as_json()
            figures = pipeline_figures(*processors.look())
        finally:
            processors.close()
    assert shown == {
        "ready": 1,
        "lag": 7,
        "dead_letters": 1,
        "uncommitted": 2,
        "partitions": {
            "1": {
                "next_offset": 12,
                "committed_offset": 10,
                "lag": 7,
                "dead_letters": 1,
                "series": 4,
                "open": 2,
            }
        },
    }
    assert (figures.workers_ready, figures.partitions[0].lag, figures.partitions[0].warming) == (1, 7, 0)


@pytest.mark.parametrize(
    "content",
    [{}, PAGES | {"/partitions": "[]"}, PAGES | {"/partitions": '{"1": {}}'}, PAGES | {"/partitions": "?"}],
)
def test_processors_that_talk_nonsense_do_not_answer(content):
    with pages(content) as url:
        processors = Processors([url])
        try:
            with pytest.raises(ProcessorsAwayError):
                processors.look()
        finally:
            processors.close()


def test_a_page_without_lag_has_none():
    assert lags_of("# TYPE other gauge\nother 1\n") == {}


@pytest.fixture(scope="module")
def simulator():
    """The control API of a fleet, which asks for a token."""
    with running_fleet() as fleet:
        fleet.wait_for_readings()
        with running_control(fleet, TOKEN) as url:
            yield url


def passing_on(url, token=TOKEN, origins=()):
    app = new_app("Test", WebSettings())
    add_control(app, url, token, origins)
    return app


@pytest.fixture
def client(simulator):
    with TestClient(
        passing_on(simulator, origins=("https://panel.example",)), base_url="http://127.0.0.1"
    ) as made:
        yield made


def test_the_control_api_is_passed_on_below_its_prefix(client):
    found = client.get("/control/api/v1/devices", params={"type": "oven", "limit": 1}).json()
    assert found["success"]
    assert [one["type"] for one in found["data"]] == ["oven"]
    device = found["data"][0]["id"]
    done = client.post("/control/api/v1/faults", json={"fault": "spike", "device_id": device})
    assert done.json()["success"], done.text
    assert client.get("/control/api/v1/devices/no%2Fbody").status_code == 404
    assert client.get("/control/api/v1/devices/%3Cb%3E").status_code == 404
    refused = client.post("/control/api/v1/faults", content=b"{}", headers={"Content-Type": "text/plain"})
    assert refused.status_code == 415


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://elsewhere.example", 403),
        ("https://panel.example", 200),
        ("http://127.0.0.1", 200),
        (None, 200),
    ],
)
def test_other_pages_change_nothing(client, origin, status):
    headers = {} if origin is None else {"Origin": origin}
    assert client.post("/control/api/v1/clear-anomalies", headers=headers).status_code == status
    assert client.get("/control/api/v1/simulation/status", headers=headers).status_code == 200


@pytest.mark.parametrize("target", ["/control%2F@{}/x", "%2Fapi%2Fv1%2Fdevices%2Fx@{}/x"])
def test_no_path_leads_to_another_host(simulator, target):
    """Over a socket, as no client would write it; the host of a URL ends at its first slash."""
    with pages({"/x": "another's"}) as other, running_app(passing_on(simulator), WebSettings(port=0)) as url:
        place = urlsplit(url)
        with socket.create_connection((place.hostname, place.port), timeout=60) as line:
            path = target.format(urlsplit(other).netloc)
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert answer.split()[1] in {b"400", b"404"}, answer
    assert b"another's" not in answer


def test_headers_that_are_no_text_are_passed_on_all_the_same(client):
    answer = client.post("/control/api/v1/faults", content=b"{}", headers={b"Content-Type": b"text/\xe9"})
    assert answer.status_code == 415


def test_a_simulation_that_is_away_is_said_to_be(free_tcp_port):
    with TestClient(passing_on(f"http://127.0.0.1:{free_tcp_port}"), base_url="http://127.0.0.1") as client:
        answer = client.get("/control/api/v1/devices")
    assert answer.status_code == 502
    assert "does not answer" in answer.json()["detail"]


@pytest.mark.parametrize("below", ["", "/control"])
def test_our_own_client_finds_it(simulator, below):
    with (
        running_app(passing_on(simulator), WebSettings()) as url,
        ControlClient(f"{url}{below}") as control,
    ):
        assert len(list(control.pages("/devices", {}))) == 8
        with pytest.raises(InputError, match="nobody"):
            control.call("GET", "/devices/nobody")


def test_what_is_no_simulator_is_said_to_be_none():
    app = new_app("Test", WebSettings())
    with (
        running_app(app, WebSettings()) as url,
        ControlClient(url) as control,
        pytest.raises(SigmawatchError, match="no simulator of ours: it answers 404"),
    ):
        control.call("GET", "/devices")


def test_a_command_that_may_have_been_carried_out_is_not_said_again():
    asked = []
    app = new_app("Test", WebSettings())

    @app.post("/api/v1/clear-anomalies", status_code=502)
    @app.post("/control/api/v1/clear-anomalies", status_code=502)
    def clear():
        asked.append(True)

    with (
        running_app(app, WebSettings()) as url,
        ControlClient(url) as control,
        pytest.raises(SigmawatchError, match="502"),
    ):
        control.call("POST", "/clear-anomalies")
    assert asked == [True]


# -- the control API beside the rest


@pytest.fixture(scope="module")
def directly(simulator):
    """A client of the simulator itself."""
    with httpx.Client(
        base_url=simulator, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=60
    ) as made:
        yield made


@pytest.fixture(scope="module")
def people(simulator):
    """A client of all that is served at one address, without database and Kafka."""
    settings = Settings(api=ApiSettings(control=simulator, control_token=SecretStr(TOKEN), rate_limit="off"))
    with TestClient(people_app(settings, told_api()), base_url="http://127.0.0.1") as made:
        yield made


def documented_collisions():
    """The operations that docs/api.md says this server answers itself."""
    text = (Path(__file__).parents[3] / "docs/api.md").read_text()
    (section,) = re.findall(r"^## The control API beside it$(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    return {tuple(found.split()) for found in re.findall(r"`([A-Z]+ /\S*)`", section)}


def every_operation(app):
    """All that a control API answers, hidden paths too."""
    described = {tuple(operation) for operation in operations_of(app.openapi())}
    hidden = {
        ("GET", route.path)
        for route in app.routes
        if getattr(route, "methods", None) and "GET" in route.methods and "oauth2" not in route.path
    }
    return described | hidden


def shape_of(answer):
    """Status, and what kind of answer it is: JSON by its names, other texts by their type."""
    kind = answer.headers["content-type"]
    if not kind.startswith("application/json"):
        return answer.status_code, kind
    body = answer.json()
    return answer.status_code, sorted(body) if isinstance(body, dict) else "list"


def test_every_path_of_the_control_api_is_at_its_own_place_or_known_to_collide(people, directly):
    nobody = LocalControl(CommandQueue(), lambda: None)
    collisions, found = documented_collisions(), set()
    for method, path in sorted(every_operation(control_app(nobody, nobody, dict, ControlSettings()))):
        filled = path.replace("{device_id}", "nobody")
        theirs = shape_of(directly.request(method, filled))
        if (method, path) in collisions:
            found.add((method, path))
        else:
            assert shape_of(people.request(method, filled)) == theirs, (method, path)
        assert shape_of(people.request(method, f"/control{filled}")) == theirs, (method, path)
    assert found == collisions


def test_what_the_query_api_answers_it_still_answers(people):
    page = people.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "states" in people.get("/api/v1/devices").json()
    # Its database is away: so it was the query API that was asked.
    assert people.get("/api/v1/devices/quiet").status_code == 503
    assert people.get("/db_stats").json()["detail"].startswith("the database")
    assert people.get("/livez").text == "alive\n"
    assert "sigmawatch_api_live_clients_count" in people.get("/metrics").text
    for mistyped in ("/api/v1/anomaly", "/api/v1/simulation", "/statusz/now", "/api/v1/devices/a/b/readings"):
        assert people.get(mistyped).status_code == 404, mistyped


def test_calls_of_earlier_systems_at_the_one_address(people):
    """iot-mock-service's and sensor-log-generator's paths, as their clients write them."""
    made = people.post(
        "/api/v1/devices", json={"device_type": "hvac", "name": "New", "location": "Roof", "base_power": 5}
    ).json()
    assert made["success"], made
    path = f"/api/v1/devices/{made['data']['id']}"
    assert people.put(path, json={"base_power": 7.5}).json()["data"]["basePower"] == 7.5
    assert people.get(f"{path}/readings").json()["data"]["device_id"] == made["data"]["id"]
    sent = people.post(f"{path}/command", json={"command": "turn_off"})
    assert sent.json()["data"]["enabled"] is False
    assert people.post(f"{path}/simulate").json()["success"]
    for prefix in ("", "/api/v1"):
        triggered = people.post(f"{prefix}/trigger-anomaly", json={"duration": 50}).json()
        assert set(triggered["data"]) == {
            "device_id",
            "device_name",
            "anomaly_type",
            "duration",
            "power_multiplier",
        }
        assert people.get(f"{prefix}/anomaly-status").json()["data"]["total_devices"] == 9
        assert people.post(f"{prefix}/clear-anomalies").json()["success"]
    assert people.post("/api/v1/simulation/stop").json()["success"]
    assert people.get("/api/v1/simulation/status").json()["data"]["is_running"] is False
    assert people.post("/api/v1/simulation/start").json()["success"]
    assert "hvac" in people.get("/api/v1/device-types").json()["data"]
    assert people.get("/health").json()["status"] == "healthy"
    assert people.get("/healthz").json() == {"status": "healthy"}
    assert people.get("/statusz").json()["running"] is True
    assert people.get("/metricz").json()["readings"]["sent"] > 0
    assert {"timestamp", "sensor_id", "anomaly_flag"} <= set(people.get("/samplez").json()[0])
    assert people.delete(path).json()["success"]


def test_an_id_is_passed_on_as_it_was_written(people):
    for written in ("%2E%2E", "..%3B", "100%25", "%F0%9F%92%A9"):
        refused = people.put(f"/api/v1/devices/{written}", json={"enabled": True})
        assert refused.status_code == 404, refused.text
        assert "there is no device" in refused.json()["message"]


def test_the_way_to_the_next_page_is_passed_back(people):
    first = people.get("/control/api/v1/devices", params={"limit": 3})
    assert first.headers["x-total-count"] == "8"
    (following,) = re.findall(r'^<(\S+)>; rel="next"$', first.headers["link"])
    assert following.startswith("/control/api/v1/devices?")
    second = people.get(following).json()["data"]
    assert second[0]["id"] > first.json()["data"][-1]["id"]
    beside = people.get("/anomaly-status", params={"limit": 3})
    assert beside.headers["link"].startswith("</anomaly-status?")


@pytest.mark.parametrize("path", ["/api/v1/clear-anomalies", "/clear-anomalies", "/control/clear-anomalies"])
def test_token_and_origin_are_asked_for_at_every_place(simulator, path):
    settings = Settings(
        api=ApiSettings(control=simulator, control_token=SecretStr(TOKEN), token=SecretStr("other-" + TOKEN))
    )
    with TestClient(people_app(settings, told_api())) as client:
        assert client.post(path).status_code == 401
        assert client.post(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 401
        ours = {"Authorization": f"Bearer other-{TOKEN}"}
        assert client.post(path, headers=ours).status_code == 200
        assert client.post(path, headers={**ours, "Origin": "https://elsewhere.example"}).status_code == 403


def test_one_client_asks_for_all_and_is_closed_at_the_end(simulator, monkeypatch):
    made = []

    class Watched(httpx.AsyncClient):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr("deploy.control_proxy.httpx.AsyncClient", Watched)
    with TestClient(passing_on(simulator), base_url="http://127.0.0.1") as client:
        for path in ("/control/healthz", "/healthz", "/statusz", "/api/v1/faults"):
            assert client.get(path).status_code == 200
        assert [one.is_closed for one in made] == [False]
    assert [one.is_closed for one in made] == [True]


def test_what_is_passed_on_is_described(people):
    described = people.get("/openapi.json").json()
    assert "requestBody" in described["paths"]["/api/v1/faults"]["post"]
    listed = described["paths"]["/api/v1/devices"]
    assert {"get", "post", "patch", "delete"} == set(listed)
    assert listed["get"]["tags"] == ["devices"]
    assert listed["post"]["tags"] == ["simulation: devices"]
    assert {"403", "502"} <= set(listed["post"]["responses"])
    assert "`/control`" in described["info"]["description"]
    text = json.dumps(described)
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert name in described["components"]["schemas"], name


def test_schemas_of_one_name_are_told_apart():
    def api(path, properties):
        shape = {"$ref": "#/components/schemas/Device"}
        answer = {"description": "", "content": {"application/json": {"schema": shape}}}
        return {
            "paths": {path: {"get": {"responses": {"200": answer}}}},
            "components": {"schemas": {"Device": {"properties": properties}, "Same": {"type": "object"}}},
        }

    def shape_at(path):
        content = found["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        return found["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]

    own, control = api("/own", {"ours": {}}), api("/theirs", {"theirs": {}})
    found = described_with(own, control, operations_of(control))
    assert shape_at("/own") == {"properties": {"ours": {}}}
    assert shape_at("/theirs") == {"properties": {"theirs": {}}}
    assert set(found["components"]["schemas"]) == {"Device", "ControlDevice", "Same"}
