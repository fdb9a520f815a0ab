"""What the bridge's rules have for messages of simulated devices: faults of some metrics, and numbers that are none."""

import json

import pytest

from producers.bridge.decode import RuleReader
from producers.checks import NotBelievableError
from schemas.bridge_rules import DEFAULT_RULES, BridgeRule
from schemas.dead_letters import TimeBounds

FIELDS = ("power", "voltage", "current", "energy")
FAULTY = {
    "timestamp": "2026-09-21T14:13:21Z",
    "power": 25.0,
    "voltage": 190.0,
    "current": 131.5,
    "energy": 1.0,
    "anomaly": True,
    "anomaly_type": "voltage_fluctuation",
    "anomaly_duration_remaining": 2,
    "anomaly_metrics": ["voltage", "current"],
}


def rule(**fields):
    return BridgeRule(**{"topic": "{device_id}", "time": "$.timestamp", "fault": "$.anomaly_type", **fields})


def faults(chosen, **changed):
    payload = json.dumps({**FAULTY, **changed}).encode()
    found = RuleReader(chosen).readings({"device_id": "d"}, payload, 1_790_000_100_000_000, TimeBounds())
    return {reading.metric: reading.fault for reading in found}


@pytest.mark.parametrize(
    "chosen",
    [
        DEFAULT_RULES[0],
        rule(metrics={name: name for name in FIELDS}, fault_metrics="$.anomaly_metrics"),
    ],
    ids=["every number", "named"],
)
def test_only_the_metrics_that_it_changed_have_the_fault(chosen):
    some = {"power": None, "voltage": "voltage_fluctuation", "current": "voltage_fluctuation", "energy": None}
    every = dict.fromkeys(some, "voltage_fluctuation")
    assert faults(chosen) == some
    assert faults(chosen, anomaly_metrics=[]) == dict.fromkeys(some)
    assert faults(chosen, anomaly_metrics=None) == every
    for wrong in ("voltage", [1], {"voltage": 1}):
        with pytest.raises(NotBelievableError, match="anomaly_metrics: expected a list of texts"):
            faults(chosen, anomaly_metrics=wrong)


def test_metrics_are_meant_by_the_name_that_they_have_in_the_payload():
    chosen = rule(metrics={"$.power": "p", "$.inner.voltage": "v"}, fault_metrics="anomaly_metrics")
    assert faults(chosen, inner={"voltage": 3}) == {"p": None, "v": "voltage_fluctuation"}


def test_numbers_that_are_no_metrics():
    assert "anomaly_duration_remaining" in faults(rule(metrics="*"))
    assert faults(rule(metrics="*", ignore=["anomaly_duration_remaining", "power"])).keys() == {
        "voltage",
        "current",
        "energy",
    }


def test_no_rule():
    with pytest.raises(ValueError, match="no fault that they could have"):
        rule(metrics="*", fault=None, fault_metrics="$.a")
    with pytest.raises(ValueError, match='only metrics "\\*" takes what is not named'):
        rule(metrics={"$.a": "a"}, ignore=["b"])
