"""`notify test` and `notify check`."""

import io
import json
import os
import sys

import pytest

from deploy.cli.main import main
from tests.support.receivers import Webhooks

ROUTES = """
targets: {{hook: '{url}'}}
routes:
- {{name: ovens, match: {{type: oven, severity: CRITICAL}}, targets: hook}}
- {{name: denver, match: {{place: Denver}}, targets: hook, continue: true}}
- {{name: rest, targets: [hook, 'json://me:hunter2@127.0.0.1:1/x']}}
"""


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SIGMAWATCH_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def webhooks():
    with Webhooks() as server:
        yield server


@pytest.fixture
def path(tmp_path, webhooks):
    file = tmp_path / "routes.yaml"
    file.write_text(ROUTES.format(url=webhooks.url()))
    return file


def answer(capsys):
    return json.loads(capsys.readouterr().out)


def test_a_sample_to_a_route_and_to_all(path, webhooks, capsys):
    assert main(["notify", "test", "ovens", "--routes", str(path)]) == 0
    assert f"ovens: hook (json://127.0.0.1:{webhooks.port}): taken" in capsys.readouterr().out
    assert main(["notify", "test", "--routes", str(path), "--json", "--set", "notify.timeout=2s"]) == 1
    found = answer(capsys)
    assert [each["accepted"] for each in found["results"]] == [True, True, True, False]
    assert "hunter2" not in json.dumps(found)
    assert len(webhooks.calls) == 4


def test_a_sample_to_an_address(webhooks, capsys, monkeypatch):
    assert main(["notify", "test", "--target", webhooks.url()]) == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(webhooks.url().encode() + b"\n")))
    assert main(["notify", "test", "--target", "-", "--json"]) == 0
    assert len(webhooks.calls) == 2
    assert main(["notify", "test", "--target", "nosuch://s3cretword"]) == 2
    assert "s3cretword" not in capsys.readouterr().err
    assert main(["notify", "test", "ovens", "--target", webhooks.url()]) == 2


def test_mistakes(path, capsys):
    assert main(["notify", "test"]) == 2
    assert "notify.routes is not set" in capsys.readouterr().err
    assert main(["notify", "test", "nope", "--routes", str(path)]) == 2
    assert "There are ovens, denver, rest" in capsys.readouterr().err
    assert main(["notify", "check", str(path), "--kind", "x", "--severity", "BAD"]) == 2


def test_check_says_what_is_fine_and_what_is_not(path, capsys):
    assert main(["notify", "check", str(path)]) == 0
    said = capsys.readouterr().err
    assert "3 routes, 2 targets, all fine" in said
    assert "hunter2" not in said
    path.write_text("routes: [{name: a, targets: 'nosuch://x'}]")
    assert main(["notify", "check", str(path)]) == 2
    assert "the target a#1 is no URL that Apprise knows" in capsys.readouterr().err


def test_check_explains_which_route_is_taken(path, capsys):
    arguments = ["notify", "check", str(path), "--type", "oven", "--place", "Denver"]
    assert main([*arguments, "--severity", "critical", "--json"]) == 0
    assert answer(capsys) == {
        "taken": ["ovens"],
        "not_taken": {"denver": "an earlier route has taken it", "rest": "an earlier route has taken it"},
    }
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ovens: does not fit: severity: CRITICAL or worse",
        "denver: takes it, to hook",
        "rest: takes it, to hook, rest#2",
    ]
