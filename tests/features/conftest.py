"""Fixtures of the tests of features."""

import json
import os
import shlex
from dataclasses import dataclass

import pytest
from feature_runs import served

from deploy.cli.main import main


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SIGMAWATCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")


@dataclass
class Said:
    out: str
    err: str


@pytest.fixture
def cli(capsys):
    """Runs a command line of `sigmawatch`, and arguments behind it: what it said; `code` is its exit code."""

    def run(line, *arguments, code=0):
        words = [*shlex.split(line), *map(str, arguments)]
        assert main(words) == code, capsys.readouterr().err
        shown = capsys.readouterr()
        return Said(shown.out, shown.err)

    return run


@pytest.fixture
def write(tmp_path):
    """Puts documents into files: YAML, or JSON for an identity."""

    def put(document, name="config.yaml"):
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return put


@pytest.fixture(scope="module")
def service():
    """The shipped fleet of energy devices, served for the tests of a file."""
    with served("energy", cors_origins=("https://panel.example",)) as found:
        yield found


@pytest.fixture
def fresh():
    """A service of the test's own."""
    with served("energy") as found:
        yield found
