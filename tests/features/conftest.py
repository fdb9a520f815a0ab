"""Fixtures of the tests of features."""

import os
import shlex
from dataclasses import dataclass

import pytest

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
