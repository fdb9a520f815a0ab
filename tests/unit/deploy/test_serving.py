"""What the server for people asks of processors and of a simulation."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from deploy.control_client import ControlClient
from deploy.control_proxy import add_control
from deploy.serving import Processors, ProcessorsAwayError, lags_of, pipeline_figures
from producers.control.app import control_app
from schemas.errors import InputError, SigmawatchError
from schemas.settings import ControlSettings, WebSettings
from schemas.web.app import new_app, serve
from tests.support.running_fleet import device_types, running_fleet

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


@contextmanager
def running(app, settings):
    stop, listening, ports = threading.Event(), threading.Event(), []

    def told(port):
        ports.append(port)
        listening.set()

    thread = threading.Thread(target=serve, args=(app, settings, stop), kwargs={"on_listening": told})
    thread.start()
    try:
        assert listening.wait(60)
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        stop.set()
        thread.join(60)


@pytest.fixture(scope="module")
def simulator():
    """The control API of a fleet, which asks for a token."""
    settings = ControlSettings(port=0, token=SecretStr(TOKEN))
    with running_fleet() as fleet:
        fleet.wait_for_readings()
        with running(control_app(fleet.control, fleet.control, device_types, settings), settings) as url:
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


def test_a_simulation_that_is_away_is_said_to_be(free_tcp_port):
    with TestClient(passing_on(f"http://127.0.0.1:{free_tcp_port}"), base_url="http://127.0.0.1") as client:
        answer = client.get("/control/api/v1/devices")
    assert answer.status_code == 502
    assert "does not answer" in answer.json()["detail"]


@pytest.mark.parametrize("below", ["", "/control"])
def test_our_own_client_finds_it(simulator, below):
    with (
        running(passing_on(simulator), WebSettings()) as url,
        ControlClient(f"{url}{below}") as control,
    ):
        assert len(list(control.pages("/devices", {}))) == 8
        with pytest.raises(InputError, match="nobody"):
            control.call("GET", "/devices/nobody")


def test_what_is_no_simulator_is_said_to_be_none():
    app = new_app("Test", WebSettings())
    with (
        running(app, WebSettings()) as url,
        ControlClient(url) as control,
        pytest.raises(SigmawatchError, match="no simulator of ours: it answers 404"),
    ):
        control.call("GET", "/devices")
