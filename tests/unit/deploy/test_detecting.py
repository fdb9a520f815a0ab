"""`detection check` and `detection show`."""

import json
import os

import pytest

from deploy.cli.main import main

RULES = """
rules:
  - {types: [kiln], metrics: [temperature], alarm: {minimum_deviation: 2}, kinds: {spike: overheating}}
  - {devices: [oven-7], jump: {on: false}}
"""


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SIGMAWATCH_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


def shown(capsys, *arguments):
    assert main(["detection", "show", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_file_that_is_fine(path, capsys):
    assert main(["detection", "check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(path), "rules": 2, "preset": None}
    assert main(["detection", "check", str(path)]) == 0
    assert "2 rules, all fine" in capsys.readouterr().err


def test_a_file_that_is_not(path, capsys):
    path.write_text(RULES.replace("jump", "jumb"))
    assert main(["detection", "check", str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{path}, line 4: rules[1].jumb: no such key. Did you mean jump?" in said
    assert "Traceback" not in said


def test_what_differs_is_shown_with_the_rules_that_say_so(path, capsys):
    said = shown(capsys, "kiln", "temperature", "--rules", str(path))
    assert said["differing"] == {"alarm.minimum_deviation": "2", "kinds.spike": "overheating"}
    assert said["rules"] == [f"{path}, line 3"]
    assert said["profile"]["jump.on"] == "true"
    said = shown(capsys, "", "x", "--device", "oven-7", "--rules", str(path))
    assert said["differing"] == {"jump.on": "false"}


def test_the_shipped_rules_are_among_it(capsys):
    assert shown(capsys, "", "wash_total")["differing"] == {"meaning.counter": "true"}
    said = shown(capsys, "hvac", "energy", "--preset", "moving-average")
    assert said["differing"] == {}
    assert said["profile"]["jump.on"] == "false"


def test_a_table_for_people(path, capsys):
    assert main(["detection", "show", "kiln", "temperature", "--rules", str(path)]) == 0
    said = capsys.readouterr().out
    assert "kinds.spike" in said
    assert "overheating" in said
    assert "jump.threshold" not in said
    assert main(["detection", "show", "kiln", "humidity"]) == 0
    assert "all as the preset has it" in capsys.readouterr().out
    assert main(["detection", "show", "kiln", "humidity", "--all"]) == 0
    assert "jump.threshold" in capsys.readouterr().out
