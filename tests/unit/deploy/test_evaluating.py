"""`evaluate faults` and the flags of `quality`: the same seed gives the same figures, mistakes are one line."""

import json
import os

import pytest

from deploy.cli.main import main
from deploy.quality.simulated import BEGIN_US, Trial, measure
from producers.devices.catalogue import load_catalogue
from producers.devices.expand import fleet_types
from producers.devices.fleets import load_fleet
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.settings import load_settings

SMALL = ("--devices", "8", "--days", "2", "--warm-up", "12h")


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SIGMAWATCH_")]:
        monkeypatch.delenv(name)


def faults(capsys, *arguments):
    assert main(["evaluate", "faults", *arguments, "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    (line,) = shown.out.splitlines()
    return line


def test_the_same_seed_gives_the_same_figures(capsys):
    one = faults(capsys, *SMALL, "--seed", "7")
    assert faults(capsys, *SMALL, "--seed", "7") == one
    assert faults(capsys, *SMALL, "--seed", "8") != one


def test_what_it_says(capsys):
    said = json.loads(faults(capsys, *SMALL))
    assert set(said) == {
        "recall", "precision", "false_alarms_per_device_day", "kind_accuracy", "by_fault",
        "confusion", "events", "alarms", "device_days", "settings",
    }  # fmt: skip
    assert said["device_days"] == pytest.approx(8 * 1.5, rel=0.001)
    assert said["settings"] == {
        "fleet": "evaluation", "devices": 8, "days": 2.0, "seed": 1, "interval_s": 60.0,
        "readings": said["settings"]["readings"], "warm_up_s": 43200.0, "slack_s": 900.0, "slack_readings": 15,
    }  # fmt: skip
    assert said["events"]["total"] == sum(fault["events"] for fault in said["by_fault"].values()) >= 5
    assert all(set(fault) == {"events", "recall", "median_delay_s"} for fault in said["by_fault"].values())
    assert said["alarms"]["true"] + said["alarms"]["false"] == said["alarms"]["total"]


def test_people_see_a_table(capsys):
    assert main(["evaluate", "faults", *SMALL]) == 0
    shown = capsys.readouterr().out
    assert "fleet evaluation, seed 1: 8 devices, 2 days" in shown
    assert "a device-day   (12.0 device-days)" in shown
    assert main(["evaluate", "faults", "--devices", "1", "--days", "1"]) == 0
    assert "all of it is warm-up" in capsys.readouterr().err


def test_how_the_time_is_cut_makes_no_difference(monkeypatch):
    settings, codec = load_settings(None, {}), Codec(Catalogue())
    trial = Trial(devices=4, days=1.5)
    shares = []
    whole = measure(trial, settings, codec, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    monkeypatch.setattr("deploy.quality.simulated.PIECE_US", 7 * 60_000_000)
    assert (
        measure(trial, settings, codec, lambda _: None).quality.faults.keys() == whole.quality.faults.keys()
    )


def test_another_interval_and_fleet(capsys):
    said = json.loads(
        faults(
            capsys,
            "--fleet",
            "signal",
            "--devices",
            "2",
            "--days",
            "0.1",
            "--interval",
            "30s",
            "--warm-up",
            "0",
        )
    )
    assert said["settings"]["interval_s"] == 30.0
    assert said["settings"]["readings"] == 2 * 3 * 288
    assert set(said["by_fault"]) == {"spike"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "faults", "--days", "0"], "--days 0"),
        (["evaluate", "faults", "--days", "nan"], "--days nan"),
        (["evaluate", "faults", "--days", "inf"], "--days inf"),
        (["evaluate", "faults", "--devices", "0"], "--devices"),
        (["evaluate", "faults", "--fleet", "nonesuch"], "there is no fleet nonesuch"),
        (["evaluate", "faults", "--interval", "0"], "--interval 0"),
        (["evaluate", "faults", "--warm-up", "soon"], "--warm-up soon"),
        (["evaluate", "nab", "."], "--out"),
        (["quality"], "no database is named"),
        (["quality", "--since", "1h", "--from", "2026-01-01"], "both --since and --from"),
        (["quality", "--since", "0"], "--since 0"),
        (["quality", "--from", "yesterday"], "--from yesterday"),
        (["quality", "--database", "postgresql://me:hush@127.0.0.1:1/x"], "127.0.0.1:1/x cannot be reached"),
    ],
)
def test_mistakes_are_one_line(arguments, said, capsys):
    assert main(arguments) in (1, 2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert said in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert "hush" not in shown.err


UNKNOWABLE = {"lamp": {"device_failure", "stuck"}, "fan": {"device_failure"}}
"""Faults that say the same as a device that is switched off, or as another of its faults."""


def test_the_fleet_has_every_family_and_each_fault_of_its_types():
    spec = load_fleet("evaluation")
    catalogue = load_catalogue()
    kinds = fleet_types(spec, catalogue)
    assert {kind.family for kind in kinds} == {"energy", "industrial", "environmental", "signal"}
    for group, kind in zip(spec.groups, kinds, strict=True):
        weights = [fault.weight for fault in kind.faults.values() if fault.weight]
        without = {name for name, fault in kind.faults.items() if not fault.weight}
        assert without == UNKNOWABLE.get(group.type, set())
        assert kind.faults.keys() == catalogue.types[group.type].faults.keys()
        assert max(weights) <= 2 * min(weights), group.type
        own = catalogue.types[group.type].faults
        assert {name: fault.intensity for name, fault in kind.faults.items()} == {
            name: fault.intensity for name, fault in own.items()
        }


def test_virtual_time_begins_at_a_monday():
    assert BEGIN_US % (7 * 86_400_000_000) == 4 * 86_400_000_000  # 1970 began on a Thursday
