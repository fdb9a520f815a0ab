"""The command line of the bridge, where it ends before it connects to anything."""

import pytest

from deploy.cli.main import main


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGMAWATCH_STATE_DIR", str(tmp_path / "state"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "bridge.mqtt is not set. Use --mqtt or SIGMAWATCH_BRIDGE__MQTT"),
        (["--mqtt", "http://me:hunter2@h"], "expected mqtt://USER:PASSWORD@HOST:PORT"),
        (["--mqtt", "mqtt://:hunter2@h"], "a password for the MQTT broker, and no user"),
        (["--mqtt", "mqtts://h", "--ca-file", "/nowhere.pem"], "/nowhere.pem cannot be used: No such file"),
        (["--mqtt", "mqtt://h", "--set", "bridge.rules=[]"], "expected one rule at least"),
        (["--mqtt", "mqtt://h", "--set", "bridge.rules=[{"], "expected a list in JSON"),
        (["--mqtt", "mqtt://h", "--client-id", "a b"], "bridge.client_id"),
        (["--mqtt", "mqtt://h", "--protocol", "4"], "'5' or '3.1.1'"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(capsys, flags, said):
    assert main(["bridge", "mqtt", *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert "hunter2" not in error


def test_help(capsys):
    assert main(["bridge", "mqtt", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--mqtt" in text
    assert "SIGMAWATCH_BRIDGE__PASSWORD" in text
