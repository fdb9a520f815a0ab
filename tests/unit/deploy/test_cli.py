"""The command line: every mistake is one line and an exit code, help teaches and is quick."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from deploy.cli.main import app, main

ROOT = typer.main.get_command(app)


def commands(group=ROOT, above=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*above, name))
        else:
            yield (*above, name)


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SIGMAWATCH_")]:
        monkeypatch.delenv(name)


def test_these_are_the_commands():
    assert {" ".join(command) for command in commands()} == {
        "up", "down", "simulate", "scenarios", "fleets", "replay", "record", "ingest", "bridge mqtt", "fault inject",
        "fault status", "fault clear", "devices list", "devices show", "devices create", "devices update", "devices delete",
        "devices types", "process", "sink timescale", "sink log", "tail",
        "dlq list", "dlq show", "dlq redrive", "doctor", "export", "read", "serve",
        "sink notify", "sink mqtt", "notify test", "notify check", "notify status",
        "evaluate faults", "evaluate nab", "quality", "model train", "model status", "model show", "detection check", "detection show", "topics create",
        "topics check", "schemas register", "schemas check", "db migrate", "db status", "db maintain", "db roles", "settings",
    }  # fmt: skip


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_help_explains_with_examples(command, capsys):
    assert main([*command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "For example:" in said
    assert f"sigmawatch {' '.join(command)}" in said
    assert "SIGMAWATCH_CONFIG" in said


def test_flags_of_settings_say_their_variable_and_default(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main(["process", "--help"])
    said = capsys.readouterr().out
    assert "SIGMAWATCH_PROCESSOR__WINDOW" in said
    assert "[default: 10m]" in said


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from deploy.cli.main import main; main(['--help']);"
        "heavy = {'numba', 'faust', 'numpy', 'confluent_kafka', 'psycopg', 'pydantic'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "processor.kk=5", "settings"], 2, "Did you mean processor.k?"),
        (["settings", "--set", "nonsense"], 2, "KEY=VALUE"),
        (["simulate", "--devices", "many"], 2, "simulate.devices is 'many'"),
        (["simulate", "--bogus"], 2, "no such option: --bogus"),
        (["frobnicate"], 2, "no such command"),
        (["replay"], 2, "FILE"),
        (["replay", "/nonexistent.csv"], 2, "/nonexistent.csv cannot be read"),
        (["replay", "x.csv", "--on-error", "ignore"], 2, "Give one of: stop  skip"),
        (["replay", "x.csv", "--speed", "fast"], 2, "speed 'fast'"),
        (["process", "--config", "/nonexistent.yaml"], 2, "/nonexistent.yaml"),
        (["db", "migrate"], 2, "no database is named"),
        (["sink", "timescale"], 2, "database.url is not set"),
        (["sink", "notify"], 2, "notify.routes is not set"),
        (["sink", "mqtt"], 2, "mqtt_sink.url is not set"),
        (["schemas", "register"], 2, "schema_registry.url is not set"),
        (["tail", "readings", "--from", "middle"], 2, "Give beginning or end"),
        (["up", "--wide"], 2, "Name the file with --replay"),
        (["up", "--duration", "soon"], 2, "--duration soon"),
        (["up", "--duration", "0"], 2, "above zero"),
        (
            ["db", "status", "--database", "postgresql://me:hush@127.0.0.1:1/x"],
            1,
            "127.0.0.1:1/x cannot be reached",
        ),
    ],
)
def test_mistakes_are_one_line(arguments, code, said, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGMAWATCH_STATE_DIR", str(tmp_path))
    assert main(arguments) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert said in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert "hush" not in shown.err


def test_no_command_shows_help_and_is_a_mistake(capsys):
    assert main([]) == 2
    shown = capsys.readouterr()
    assert "Usage: sigmawatch" in shown.out + shown.err
    assert "error:" not in shown.err


def test_flags_before_and_after_the_command_are_put_together(capsys):
    arguments = [
        "--set",
        "processor.k=5",
        "--set",
        "processor.panes=8",
        "settings",
        "--set",
        "processor.k=6",
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "\n  k: 6.0\n" in said
    assert "\n  panes: 8\n" in said


def test_listed_settings_are_a_file_of_settings(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGMAWATCH_DATABASE__URL", "postgresql://me:hush@db/x")
    main(["settings", "--set", "processor.window=1h", "--set", "kafka.options.client.rack=a"])
    listed = capsys.readouterr().out
    assert "hush" not in listed
    file = tmp_path / "settings.yaml"
    file.write_text(listed)
    assert main(["settings", "--config", str(file)]) == 0
    assert capsys.readouterr().out == listed


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sigmawatch ")


def test_a_reader_that_goes_away_is_no_error():
    code = "import sys; from deploy.cli.main import main; sys.exit(main(['settings']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("pace", [["--speed", "max", "--duration", "10h"], ["--interval", "0.01"]])
def test_a_reader_of_readings_that_has_seen_enough(pace):
    arguments = ["simulate", "--fleet", "energy", "--to", "-", *pace]
    code = f"import sys; from deploy.cli.main import main; sys.exit(main({arguments}))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert json.loads(process.stdout.readline())["device_id"].startswith("mock-")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_down_without_an_up_and_without_a_terminal(capsys, tmp_path):
    assert main(["down", "--state-dir", str(tmp_path)]) == 0
    assert "nothing runs" in capsys.readouterr().err
    (tmp_path / "tansu").mkdir()
    with Path(os.devnull).open() as nothing:
        before, sys.stdin = sys.stdin, nothing
        try:
            assert main(["down", "--purge", "--state-dir", str(tmp_path)]) == 1
        finally:
            sys.stdin = before
    assert (tmp_path / "tansu").exists()
    assert main(["down", "--purge", "--yes", "--state-dir", str(tmp_path)]) == 0
    assert not tmp_path.exists()
