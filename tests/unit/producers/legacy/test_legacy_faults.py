"""The faults that sensor-log-generator's files ask for."""

import numpy as np
import pytest
from legacy_fleets import CATALOGUE, DENVER, config, run

from producers.legacy.convert import LegacyOptions, fleet_of
from producers.legacy.identity import LegacyIdentity

TYPES = "{spike: {weight: 0.4}, trend: {weight: 0.2, duration_seconds: 300}, missing_data: {weight: 0.4}}"


@pytest.mark.parametrize("probability", [0.05, 0.2])
@pytest.mark.parametrize(
    ("types", "shares"),
    [
        ("{}", {"spike": 0.4, "trend": 0.2, "pattern": 0.1, "missing_data": 0.1, "noise": 0.2}),
        (TYPES, {"spike": 0.4, "trend": 0.2, "missing_data": 0.4}),
        ("{noise: {duration_seconds: 20}}", {"noise": 1.0}),
    ],
)
def test_probability_and_weights_are_shares_of_the_readings(probability, types, shares):
    """As theirs, whose anomalies change one reading each; whatever the durations and the interval are."""
    text = f"replicas: {{count: 60}}\nanomalies: {{probability: {probability}, types: {types}}}"
    identity = LegacyIdentity(manufacturer="other", firmware="9")
    fleet, batch = run(text + "\nsimulation: {readings_per_second: 0.2}", identity, hours=24, interval_s=5)
    steps = len(fleet.devices) * 24 * 720
    labelled = np.bincount(batch.fault[batch.fault >= 0], minlength=len(fleet.table.faults)) / steps
    # Spikes and trends are on one of the four metrics, the others on all; silence is what is missing.
    seen = {
        name: share / (1 if name in {"spike", "trend"} else 4)
        for name, share in zip(fleet.table.faults, labelled.tolist(), strict=True)
    }
    seen["missing_data"] = 1 - len(batch) / 4 / steps
    assert sum(seen.values()) == pytest.approx(probability, rel=0.1)
    for name, share in shares.items():
        assert seen[name] == pytest.approx(share * probability, rel=0.25), name
    assert {name for name, share in seen.items() if share > 0} == set(shares)


def test_a_fault_is_seen_within_minutes_of_their_example():
    """Theirs never fired one with the configuration that it came with."""
    text = """
simulation: {readings_per_second: 3}
anomalies:
  probability: 0.05
  types: {spike: {weight: 0.3}, trend: {weight: 0.25, duration_seconds: 300}, noise: {weight: 0.1, duration_seconds: 120}}
"""
    fleet, _ = run(text, DENVER, hours=0.5, interval_s=1 / 3)
    assert fleet.episodes["spike"] > 20


def faults(text):
    spec, _ = fleet_of(config(text), DENVER)
    return spec.faults


def test_only_kinds_that_are_listed_and_enabled_come_by_themselves():
    found = faults("anomalies: {types: {spike: {weight: 0.5}, trend: {enabled: false}, noise: }}")
    weights = {name: kind["weight"] for name, kind in found.kinds.items()}
    # At a reading a second, and noise of three minutes.
    assert weights == {"spike": 0.5, "trend": 0.0, "pattern": 0.0, "missing_data": 0.0, "noise": 1 / 180}
    assert all(kind["weight"] > 0 for kind in faults("anomalies: {probability: 0.1}").kinds.values())


@pytest.mark.parametrize(
    "text", ["{enabled: false}", "{types: {spike: {enabled: false}}}", "{types: {spike: {weight: 0}}}"]
)
def test_anomalies_can_be_switched_off(text):
    assert faults(f"anomalies: {text}").enabled is False


def test_the_ends_of_the_probability():
    assert faults("anomalies: {probability: 0}").probability == 0.0
    assert faults("anomalies: {probability: 1}").probability == 1.0


def test_an_identity_alone_has_the_chances_of_the_simulation():
    spec, found = fleet_of(None, DENVER)
    assert (spec.interval, spec.faults.probability, found) == (None, None, LegacyOptions())


def longest(text, kind):
    """Seconds that the longest episode of a kind lasts, and the readings' labels."""
    fleet, batch = run(
        f"anomalies: {{probability: 0.02, types: {{{text}}}}}\nsimulation: {{readings_per_second: 0.2}}",
        DENVER,
        hours=48,
        interval_s=5,
    )
    number = fleet.table.faults.index(kind)
    times = np.unique(batch.time[batch.fault == number])
    return max(len(run) for run in np.split(times, np.flatnonzero(np.diff(times) > 5_000_000) + 1)) * 5


@pytest.mark.parametrize("kind", ["spike", "trend", "pattern", "noise"])
def test_faults_last_as_long_as_they_say(kind):
    assert longest(f"{kind}: {{duration_seconds: 120}}", kind) == 120


def test_missing_data_is_missing():
    text = "anomalies: {probability: 0.05, types: {missing_data: {duration_seconds: 60}}}\nsimulation: {readings_per_second: 0.2}"
    fleet, batch = run(text, DENVER, hours=24, interval_s=5)
    times = np.unique(batch.time)
    assert set(np.diff(times) // 5_000_000) == {1, 13}
    assert not (batch.fault >= 0).any()
    assert fleet.episodes.keys() == {"missing_data"}


def test_multipliers_change_the_size_of_faults():
    base = CATALOGUE.types["environmental"].faults
    found = faults(
        "anomalies: {types: {spike: {severity_factor: 4}, trend: {rate_change: -0.2, duration_seconds: 120},"
        " pattern: {frequency: 0.01}, noise: {noise_multiplier: 3}}}"
    ).kinds
    assert found["spike"]["intensity"] == [2 * end for end in base["spike"].intensity]
    assert (found["trend"]["scale"], found["trend"]["sign"]) == ("baseline", "down")
    assert found["trend"]["intensity"] == pytest.approx(0.4)
    assert (found["pattern"]["effect"], found["pattern"]["period"]) == ("oscillate", "1m40s")
    # Noise of the usual size and this one make up three times the usual.
    assert found["noise"]["intensity"] ** 2 + 1 == pytest.approx(9)
    assert faults("anomalies: {types: {pattern: {frequency: 50}}}").kinds["pattern"]["period"] == "4s"


def test_the_default_severity_changes_nothing():
    base = CATALOGUE.types["environmental"].faults["spike"].intensity
    assert (
        tuple(faults("anomalies: {types: {spike: {severity_factor: 2.0}}}").kinds["spike"]["intensity"])
        == base
    )
