"""The commands on a real broker: topics made and checked, readings simulated, tailed, recorded and brought back."""

import json
import subprocess
import sys

import pytest

from deploy.cli.main import main

pytestmark = pytest.mark.integration


@pytest.fixture
def sigmawatch(fresh_broker, monkeypatch, capfd):
    """Runs a command in this process; gives its lines on stdout."""
    monkeypatch.setenv("SIGMAWATCH_KAFKA__BOOTSTRAP_SERVERS", fresh_broker.bootstrap_servers)

    def run(*arguments, code=0):
        capfd.readouterr()
        ended = main(list(arguments))
        shown = capfd.readouterr()
        assert ended == code, shown.err
        return shown.out.splitlines() if code == 0 else shown.err

    return run


def test_from_topics_to_a_recording_and_back(sigmawatch, tmp_path):
    assert "topic readings is missing" in sigmawatch("topics", "check", code=1)
    (line,) = sigmawatch("topics", "create", "--json", "--partitions", "3")
    assert "readings" in json.loads(line)["created"]
    (line,) = sigmawatch("topics", "create", "--json", "--partitions", "3")
    assert json.loads(line)["created"] == []
    assert "partitions is 3, expected 8" in sigmawatch("topics", "check", code=1)
    sigmawatch("topics", "check", "--partitions", "3")

    (line,) = sigmawatch(
        "simulate", "--fleet", "signal", "--duration", "5", "--speed", "max", "--rate", "150", "--json"
    )
    assert json.loads(line)["produced"] == 750
    everything = ("--from", "beginning", "--no-follow")
    readings = [json.loads(line) for line in sigmawatch("tail", "readings", *everything, "--json")]
    assert len(readings) == 750
    assert all(line["key"] == line["reading"]["device_id"] for line in readings)
    one = sigmawatch("tail", "readings", *everything, "--key", "signal-003", "--max", "4")
    assert len(one) == 4
    assert all("signal-003" in line for line in one)
    assert len(sigmawatch("tail", "devices", *everything)) == 10
    assert "There are: anomalies, " in sigmawatch("tail", "nothing", code=1)

    file = tmp_path / "readings.avro"
    (line,) = sigmawatch("record", "readings", str(file), "--json")
    assert json.loads(line)["messages"] == 750
    assert "exists" in sigmawatch("record", "readings", str(file), code=2)
    (line,) = sigmawatch("replay", str(file), "--json")
    assert json.loads(line)["produced"] == 750
    both = [json.loads(line) for line in sigmawatch("tail", "readings", *everything, "--json")]
    assert len(both) == 1500
    by_partition = {
        number: [line["reading"] for line in both if line["partition"] == number] for number in range(3)
    }
    assert all(lines[: len(lines) // 2] == lines[len(lines) // 2 :] for lines in by_partition.values())


@pytest.mark.most_real
def test_a_file_and_the_window_that_suits_it(sigmawatch, tmp_path, capfd):
    sigmawatch("topics", "create")
    file = tmp_path / "hourly.csv"
    hours = [f"2026-01-{day:02}T{hour:02}:00:00Z,{hour}" for day in (1, 2) for hour in range(24)]
    file.write_text("\n".join(["time,value", *hours]) + "\n")
    assert main(["replay", str(file)]) == 0
    assert "`sigmawatch process --window 4d4h` does" in capfd.readouterr().err
    file.write_text(file.read_text() + "2026-01-03T00:00:00Z,warm\n")
    refused = sigmawatch("replay", str(file), code=2)
    assert "line 50" in refused
    assert "the 48 readings before it are published and acknowledged" in refused


@pytest.mark.most_real
def test_tail_follows_from_the_end_only_what_is_new(fresh_broker, sigmawatch, monkeypatch):
    sigmawatch("topics", "create")
    sigmawatch("simulate", "--duration", "1", "--speed", "max", "--rate", "100", "--seed", "1")
    arguments = [
        sys.executable,
        "-m",
        "deploy.cli",
        "tail",
        "readings",
        "--json",
        "--max",
        "20",
        "--log-level",
        "debug",
    ]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as tail:
        seen = []
        # Until the tail has found the end, what is sent may come before it.
        while tail.poll() is None and not seen:
            sigmawatch("simulate", "--duration", "1", "--speed", "max", "--rate", "100", "--interval", "50ms")
            if tail.poll() is not None:
                seen = tail.stdout.read().splitlines()
    assert len(seen) == 20
    assert all(json.loads(line)["offset"] > 0 for line in seen)
