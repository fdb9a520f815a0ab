"""What `--mqtt` becomes, and what does not go with it."""

import pytest

from deploy.cli.main import main
from producers.options import SimulateOptions
from producers.simulation import running
from producers.simulation.simulator import SimulateSummary
from schemas.errors import ConfigError
from schemas.settings import load_settings


def test_flags_and_environment(monkeypatch, capsys):
    taken = []

    def run(settings, options, **more):
        taken.extend([settings, more["publisher"]])
        return SimulateSummary(20, {}, 0, 5, 1, 2, 1.0)

    monkeypatch.setattr(running, "run_simulate", run)
    monkeypatch.setenv("SIGMAWATCH_MQTT__PASSWORD", "hunter2")
    assert main(["simulate", "--mqtt", "mqtt://me@h:18", "--mqtt-prefix", "plant"]) == 0
    settings, publisher = taken
    assert settings.mqtt.url.get_secret_value() == "mqtt://me@h:18"
    assert settings.mqtt.password.get_secret_value() == "hunter2"
    assert settings.mqtt.prefix == "plant"
    assert publisher is None, "no Kafka is needed"
    assert "20 readings of 5 devices acknowledged" in capsys.readouterr().err


def test_a_mistake_does_not_repeat_the_password(capsys):
    for url in ("http://me:hunter2@h", "mqtt://me:hunter2@h:port", "mqtt://me:hunter2@h/topic"):
        assert main(["simulate", "--mqtt", url, "--duration", "1s"]) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 3
    assert "hunter2" not in said


def test_the_help_says_that_kafka_is_left_out(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["simulate", "--help"]) == 0
    said = capsys.readouterr().out
    assert "Publish to this MQTT broker instead of Kafka" in said
    assert "SIGMAWATCH_MQTT__URL" in said


@pytest.mark.parametrize("options", [{"to": "x.csv"}, {"troubles": ("late",)}])
def test_what_does_not_go_with_it(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {"mqtt.url": "mqtt://127.0.0.1:1"}, {})
    with pytest.raises(ConfigError, match="--mqtt") as caught:
        running.run_simulate(settings, SimulateOptions(duration=1.0, **options))
    assert "Leave" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []
