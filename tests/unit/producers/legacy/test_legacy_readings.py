"""What devices of sensor-log-generator's files read."""

import numpy as np
import pytest
from legacy_fleets import DENVER, run, values


def test_standard_deviations_of_the_types_are_those_that_are_scaled():
    """`std_dev` is the spread over days: the day's cycle, the slow wander, the noise."""
    text = """
replicas: {count: 30}
anomalies: {enabled: false}
normal_parameters:
  temperature: {mean: 61, std_dev: 4, min: -100, max: 300}
  humidity: {mean: 40, std_dev: 2.5, min: 0, max: 100}
  pressure: {mean: 101325, std_dev: 1000, min: 9000, max: 200000}
  voltage: {mean: 230, std_dev: 3, min: 0, max: 500}
  vibration: {mean: 2.5, std_dev: 0.5, min: -9, max: 10}
"""
    fleet, batch = run(text, DENVER, hours=240, interval_s=600)
    said = {"temperature": (61, 4), "humidity": (40, 2.5), "pressure": (101_325, 1000), "voltage": (230, 3)}
    said["vibration"] = (2.5, 0.5)
    for metric, (mean, std) in said.items():
        numbers = [number for number, name in enumerate(fleet.table.metrics) if name == metric]
        found = batch.value[np.isin(batch.series, numbers)]
        assert len(numbers) == 30
        assert found.mean() == pytest.approx(mean, abs=0.1 * std)
        assert found.std() == pytest.approx(std, rel=0.06)


def test_values_stay_between_min_and_max():
    text = "anomalies: {enabled: false}\nnormal_parameters: {temperature: {mean: 20, std_dev: 9, min: 18, max: 23}}"
    found = values(text, "temperature", identity=DENVER)
    assert (found.min(), found.max()) == (18, 23)


def test_one_bound_alone_leaves_the_other_side_open():
    text = "anomalies: {enabled: false}\nnormal_parameters: {temperature: {mean: 500, std_dev: 5, min: 499}}"
    found = values(text, "temperature", identity=DENVER)
    assert found.min() == 499
    assert found.max() > 508


def test_small_spreads_are_not_rounded_away():
    text = "anomalies: {enabled: false}\nnormal_parameters: {voltage: {mean: 1, std_dev: 0.0001, min: 0, max: 2}}"
    assert len(np.unique(values(text, "voltage", identity=DENVER))) > 10


def test_no_spread_is_no_spread():
    text = "anomalies: {enabled: false}\nnormal_parameters: {temperature: {mean: 21, std_dev: 0}, humidity: {mean: 50, std_dev: 0}}"
    assert set(values(text, "temperature", identity=DENVER)) == {21.0}
    assert set(values(text, "humidity", identity=DENVER)) == {50.0}


@pytest.mark.parametrize(("mean", "unit"), [(12, "bar"), (1013, "hPa"), (101_325, "Pa")])
def test_the_unit_of_pressure_follows_from_its_size(mean, unit):
    fleet, _ = run(f"normal_parameters: {{pressure: {{mean: {mean}}}}}", DENVER, hours=0.1)
    assert fleet.devices[0].units["pressure"] == unit


def test_vibration_is_read_only_where_it_is_configured():
    fleet, _ = run("", DENVER, hours=0.1)
    assert set(fleet.table.metrics) == {"temperature", "humidity", "pressure", "voltage"}
    fleet, _ = run("normal_parameters: {vibration: {mean: 3}}", DENVER, hours=0.1)
    assert set(fleet.table.metrics) == {"temperature", "humidity", "pressure", "voltage", "vibration"}
