"""Runs `sigmawatch` as users do: in a process of its own, on a state folder of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from deploy.embedded import EmbeddedPostgres, cache_folder
from tests.support.sinks import plain_database as plain_database  # noqa: PLC0414 - a fixture of the tests here
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]
PATIENCE = 240.0
"""Seconds that a whole `up` may take on a loaded machine."""
LIVELY = ("--fleet", str(Path(__file__).with_name("steady_fleet.yaml")), "--interval", "100ms")
"""300 readings a second."""


def clean_environment(state: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGMAWATCH_")}
    return {**kept, "SIGMAWATCH_STATE_DIR": str(state), "SIGMAWATCH_CACHE_DIR": str(cache_folder())}


@dataclass
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def verdict(self):
        """The JSON object of `up --json`, which must be all of stdout."""
        assert self.code in (0, 1), self.err
        (line,) = self.out.splitlines()
        return json.loads(line)


@dataclass
class Stack:
    """A state folder and the commands that run on it.

    The dashboard, seconds of work for each `up`, is served only where a port is named for it.
    """

    state: Path
    running: list = field(default_factory=list)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        without = ["--no-serve"] if arguments[0] == "up" and "--port" not in arguments else []
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", *arguments, *without],
            cwd=ROOT,
            env={**clean_environment(self.state), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def run(self, *arguments: str, **environment: str) -> Ended:
        return self.end(self.start(*arguments, **environment))

    def end(self, process: subprocess.Popen) -> Ended:
        out, err = process.communicate(timeout=PATIENCE)
        return Ended(process.returncode, out, err)

    def wait_for_line(self, process: subprocess.Popen, text: str) -> str:
        """Read stderr up to a line with `text` in it; all of it so far."""
        said = ""
        while text not in said:
            line = process.stderr.readline()
            assert line, f"ended with {process.wait()} before it said {text!r}:\n{said}"
            said += line
        return said

    def wait_for_readings(self, process: subprocess.Popen) -> str:
        """Read stderr until a status line, of which one comes every 5 s, counts readings; all of it so far."""
        said = ""
        while not re.search(r"[1-9][\d,]* produced", said):
            said += self.wait_for_line(process, " produced")
        return said

    def processes(self, *words: str) -> list[int]:
        """Processes that belong to this state folder, with all `words` in their command lines."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
                ours = str(self.state).encode() in (folder / "environ").read_bytes() + b"".join(command)
            except OSError:
                continue
            if ours and all(word.encode() in command for word in words):
                found.append(int(folder.name))
        return found

    def rows(self, query: str):
        """What the database of the state folder answers, while no `up` runs."""
        with (
            EmbeddedPostgres(self.state, cache_folder()) as database,
            psycopg.connect(database.url) as connection,
        ):
            return connection.execute(query).fetchall()

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=60)
        self.until_nothing_runs()

    def until_nothing_runs(self) -> None:
        until(lambda: not self.processes(), 120, lambda: f"{self.processes()} have ended", pause=0.1)


def assert_exact(ended):
    verdict = ended.verdict
    assert (verdict["lost"], verdict["duplicated"], ended.code) == (0, 0, 0), ended.err
    readings, anomalies = verdict["readings"], verdict["anomalies"]
    assert readings["produced"] == readings["processed"] > 0
    assert anomalies["opened"] == anomalies["stored"]
    return verdict


@pytest.fixture
def stack(tmp_path):
    running = Stack(tmp_path / "state")
    yield running
    running.close()


@pytest.fixture
def data():
    """A real file, where it is here."""
    file = ROOT.parent / "shared/data/nab/realKnownCause/ambient_temperature_system_failure.csv"
    if not file.exists():
        pytest.skip(f"no {file}")
    return file


def interrupt(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGINT)
