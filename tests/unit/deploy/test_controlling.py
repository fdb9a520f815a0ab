"""`fault` and `devices` against a simulator that runs, by HTTP."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deploy.cli.main import main
from deploy.control_client import ControlClient
from producers.control.app import controlled
from schemas.errors import ConfigError
from schemas.settings import ControlSettings, Settings
from tests.support.running_fleet import device_types, running_fleet
from tests.support.waiting import until

TOKEN = "correct-horse-battery"


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    monkeypatch.delenv("SIGMAWATCH_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def serving(monkeypatch):
    """A fleet that is served; the settings name its port."""
    ports = []
    settings = Settings(control=ControlSettings(enabled=True, port=0))
    with (
        running_fleet() as fleet,
        controlled(settings, fleet.control, device_types, on_listening=ports.append),
    ):
        fleet.wait_for_readings()
        monkeypatch.setenv("SIGMAWATCH_CONTROL__PORT", str(ports[0]))
        fleet.port = ports[0]
        yield fleet


@pytest.fixture
def run(capsys):
    def command(*arguments, code=0):
        assert main([*arguments]) == code, capsys.readouterr().err
        shown = capsys.readouterr()
        if code:
            assert shown.out == ""
            assert shown.err.startswith("error: ")
            assert len(shown.err.strip().splitlines()) == 1
        return shown.err if code else shown.out + shown.err

    return command


def test_devices_are_listed(serving, run):
    lines = run("devices", "list").splitlines()
    assert lines[0].split() == ["device", "type", "name", "place", "state", "last", "readings"]
    assert len(lines) == 9
    assert "power " in lines[3]
    assert [
        line.split()[0] for line in run("devices", "list", "oven-*", "--limit", "2").splitlines()[1:]
    ] == [
        "oven-001",
        "oven-002",
    ]
    found = json.loads(run("devices", "list", "--type", "hvac", "--json"))
    assert [device["id"] for device in found] == ["hvac-001", "hvac-002", "hvac-003"]
    assert run("devices", "list", "--faulty") == "no device fits\n"


def test_a_device_is_shown(serving, run):
    said = run("devices", "show", "SENSOR_001")
    assert "Denver 39.7392 -104.9847 America/Denver" in said
    assert "temperature" in said
    assert json.loads(run("devices", "show", "hvac-001", "--json"))["base_power"] == 25.0


def test_a_devices_life(serving, run):
    assert (
        run("devices", "create", "hvac", "--id", "roof-1", "-p", "base_power=26.5", "--name", "Main")
        == "created  roof-1\n"
    )
    device = json.loads(run("devices", "show", "roof-1", "--json"))
    assert (device["base_power"], device["name"]) == (26.5, "Main")
    assert (
        run("devices", "update", "roof-1", "--offline", "-p", "base_power=30", "--location", "Roof")
        == "changed  roof-1\n"
    )
    device = json.loads(run("devices", "show", "roof-1", "--json"))
    assert (device["status"], device["base_power"], device["location"]) == ("offline", 30.0, "Roof")
    assert run("devices", "delete", "roof-1") == "deleted  roof-1\n"
    assert "there is no device roof-1" in run("devices", "show", "roof-1", code=2)


def test_many_at_once(serving, run):
    said = run("devices", "create", "oven", "--count", "3", "--id", "load-{number:02}", "--location", "Hall")
    assert said == "created  load-01\ncreated  load-02\ncreated  load-03\n"
    said = run(
        "devices", "update", "*", "--manufacturer", "DataLogger", "--new-firmware", "3.0-beta", "--json"
    )
    assert {device["firmware"] for device in json.loads(said)["devices"]} == {"3.0-beta"}
    assert run("devices", "update", "load-*", "--type", "hvac", "--disable", code=2)
    assert run("devices", "delete", "load-*", "--yes").count("deleted") == 3


def test_a_pattern_is_asked_about(serving, run, monkeypatch):
    assert "3 devices would be deleted. Give --yes" in run("devices", "delete", "oven-*", code=2)
    assert len(json.loads(run("devices", "list", "oven-*", "--json"))) == 3


def test_types(serving, run):
    assert "high_power_consumption" in run("devices", "types")
    said = run("devices", "types", "oven")
    assert "temperature °C" in said
    assert "drift: A value moves away slowly" in said
    assert json.loads(run("devices", "types", "hvac", "--json"))["name"] == "hvac"
    assert "Did you mean hvac?" in run("devices", "types", "hvca", code=2)


def test_faults(serving, run):
    assert run("fault", "status") == "no device has a fault\n"
    said = run("fault", "inject", "hvac-001", "power_spike", "--duration", "500 readings", "--intensity", "3")
    assert said == "hvac-001: power_spike, intensity 3, 500 readings\n"
    assert (
        run("fault", "inject", "oven-*", "drift", "--duration", "15m", "--onset", "0.5").count("drift") == 3
    )
    run("fault", "inject", "*", "--city", "Denver", "--one", "--duration", "forever")
    lines = run("fault", "status").splitlines()
    assert lines[0].split() == ["device", "type", "place", "fault", "intensity", "left", "began"]
    assert len(lines) == 6
    assert "until cleared" in lines[1]
    assert len(json.loads(run("fault", "status", "oven-*", "--json"))) == 3
    assert run("fault", "clear", "oven-002") == "1 fault ended\n"
    assert run("fault", "clear") == "4 faults ended\n"
    assert json.loads(run("fault", "clear", "--json"))["count"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fault", "inject", "hvac-001", "power_spke"], "Did you mean power_spike?"),
        (["fault", "inject", "nobody"], "there is no device nobody"),
        (["fault", "inject", "hvac-001", "--duration", "soon"], '--duration soon. Give 15m, "10 readings", or forever.'),
        (["fault", "inject", "hvac-001", "--duration", "3-5 readings"], "--duration"),
        (["fault", "inject", "*", "--type", "tardis"], "there is no device *"),
        (["devices", "create", "hvca"], "Did you mean hvac?"),
        (["devices", "create", "hvac", "--id", "hvac-001"], "already"),
        (["devices", "create", "hvac", "-p", "base_power"], "Write it as NAME=NUMBER"),
        (["devices", "create", "hvac", "-p", "base_power=much"], "Write it as NAME=NUMBER"),
        (["devices", "update", "hvac-001"], "nothing to change"),
        (["devices", "update", "hvac-001", "-p", "speed=1"], "speed"),
        (["devices", "show", "a/b"], "there is no"),
        (["devices", "list", "--url", "ftp://x"], "Give it as http://127.0.0.1:8090"),
        (["devices", "list", "--url", "http://["], "Give it as http://127.0.0.1:8090"),
        (["devices", "list", "--token-env", "NO_SUCH_VARIABLE"], "there is no such environment variable"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_mistakes(serving, run, arguments, said):
    assert said in run(*arguments, code=2)


def test_nobody_there(run):
    said = run("devices", "list", "--url", "http://127.0.0.1:1", code=1)
    assert "nothing answers at http://127.0.0.1:1" in said
    assert "Is `sigmawatch simulate --control` running?" in said


def test_somebody_else_there(run):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        said = run("devices", "list", "--url", f"http://127.0.0.1:{server.server_port}", code=1)
        server.shutdown()
        thread.join()
    assert "is no simulator of ours" in said


def test_a_simulation_that_hangs(serving, run, monkeypatch):
    serving.frozen.set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "producers.control.context.Api.apply", lambda *_: (_ for _ in ()).throw(TimeoutError("too slow"))
        )
        assert "too slow" in run("devices", "list", code=1)


def test_a_token(run, monkeypatch):
    ports = []
    settings = Settings(control=ControlSettings(enabled=True, port=0, token=TOKEN))
    with (
        running_fleet() as fleet,
        controlled(settings, fleet.control, device_types, on_listening=ports.append),
    ):
        until(lambda: ports)
        place = ["--url", f"http://127.0.0.1:{ports[0]}"]
        said = run("devices", "list", *place, code=1)
        assert "token is missing" in said
        assert "SIGMAWATCH_CONTROL__TOKEN" in said
        monkeypatch.setenv("MY_TOKEN", TOKEN)
        assert "hvac-001" in run("devices", "list", *place, "--token-env", "MY_TOKEN")
        monkeypatch.setenv("MY_TOKEN", "wrong-wrong-wrong-wrong")
        said = run("devices", "list", *place, "--token-env", "MY_TOKEN", code=1)
        assert "wrong-wrong" not in said
        monkeypatch.setenv("SIGMAWATCH_CONTROL__TOKEN", TOKEN)
        assert "hvac-001" in run("devices", "list", *place)


def test_a_long_list_comes_in_pages(serving, run, monkeypatch):
    monkeypatch.setattr("deploy.control_client._PAGE", 3)
    found = json.loads(run("devices", "list", "--json"))
    assert [device["id"] for device in found] == sorted(device["id"] for device in found)
    assert len(found) == 8


def test_a_url_must_be_one():
    for url in ("", "127.0.0.1:8090", "http://", "file:///etc"):
        with pytest.raises(ConfigError):
            ControlClient(url)
