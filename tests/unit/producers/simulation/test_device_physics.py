"""What healthy devices read: levels, cycles, inertia, wander, relations, counters, operating states."""

import numpy as np
import pytest
from fleets_of_tests import MINUTE, SECOND, START, column, flat, fleet_of

DAY = 86_400 * SECOND


def test_current_follows_power_and_voltage_and_energy_is_the_integral(tmp_path):
    fleet = fleet_of(tmp_path, {}, [{"type": "hvac", "device_id": "a"}], interval=5 * SECOND)
    batch = fleet.between(START, START + 3600 * SECOND)
    power, voltage, current, energy = (
        column(fleet, batch, "a", metric) for metric in ("power", "voltage", "current", "energy")
    )
    assert len(power) == 720
    assert ((power >= 22.5) & (power <= 27.5)).all()
    assert ((voltage >= 240 * 0.98) & (voltage <= 240 * 1.02)).all()
    assert current == pytest.approx(power * 1000 / voltage, abs=0.01)
    assert energy == pytest.approx(np.cumsum(power) * 5 / 3600, abs=0.01)


def test_a_day_has_its_peak_at_the_local_hour(tmp_path):
    cycle = {"period": "1d", "amplitude": 10, "peak": "15:00"}
    places = [{"name": "Tokyo", "timezone": "Asia/Tokyo"}, {"name": "Denver", "timezone": "America/Denver"}]
    fleet = fleet_of(
        tmp_path, {"sensor": {"metrics": {"level": flat(cycles=[cycle])}}},
        [{"type": "sensor", "device_id": "s{number}", "count": 2, "locations": places}], interval=MINUTE,
    )  # fmt: skip
    midnight = START - START % DAY
    batch = fleet.between(midnight, midnight + DAY)
    for device, hour in (("s1", 6.0), ("s2", 21.0)):  # 15:00 in Tokyo, and in Denver in summer, as UTC
        values = column(fleet, batch, device, "level")
        assert np.argmax(values) / 60 == pytest.approx(hour, abs=0.05)
        assert values.max() == pytest.approx(110.0, abs=0.01)
        assert values.min() == pytest.approx(90.0, abs=0.01)


def test_clocks_that_are_put_forward_move_the_cycle(tmp_path):
    cycle = {"period": "1d", "amplitude": 10, "peak": "12:00"}
    place = {"name": "Berlin", "timezone": "Europe/Berlin"}
    fleet = fleet_of(
        tmp_path, {"sensor": {"metrics": {"level": flat(cycles=[cycle])}}},
        [{"type": "sensor", "device_id": "s", "locations": [place]}], interval=MINUTE,
    )  # fmt: skip
    before = 1_774_656_000_000_000  # 2026-03-28 00:00 UTC; on the 29th Berlin's clocks go forward
    batch = fleet.between(before, before + 2 * DAY)
    values = column(fleet, batch, "s", "level").reshape(2, -1)
    assert (np.argmax(values, axis=1) / 60).tolist() == pytest.approx([11.0, 10.0], abs=0.05)


def test_wander_has_the_spread_and_memory_that_it_promises(tmp_path):
    types = {"sensor": {"metrics": {"level": flat(wander={"std": 3, "time": "60s"}, decimals=9)}}}
    fleet = fleet_of(tmp_path, types, [{"type": "sensor", "device_id": "s{number}", "count": 400}])
    batch = fleet.between(START, START + 400 * SECOND)
    values = np.stack([column(fleet, batch, f"s{number}", "level") for number in range(1, 401)])
    # 400 independent series: the standard error of a std is std / sqrt(2 * 400).
    assert values[:, 0].std() == pytest.approx(3.0, abs=4 * 3 / np.sqrt(800))
    assert values[:, -1].std() == pytest.approx(3.0, abs=4 * 3 / np.sqrt(800))
    correlation = np.corrcoef(values[:, 100], values[:, 160])[0, 1]
    assert correlation == pytest.approx((1 + 1 / 60) ** -60, abs=0.15)


@pytest.mark.parametrize(("noise", "std"), [({"normal": 2}, 2.0), ({"uniform": 2}, 2 / np.sqrt(3))])
def test_noise(tmp_path, noise, std):
    fleet = fleet_of(
        tmp_path,
        {"sensor": {"metrics": {"level": flat(noise=noise, decimals=9)}}},
        [{"type": "sensor", "device_id": "s"}],
    )
    values = column(fleet, fleet.between(START, START + 20_000 * SECOND), "s", "level")
    assert values.mean() == pytest.approx(100.0, abs=4 * std / np.sqrt(20_000))
    assert values.std() == pytest.approx(std, rel=0.03)
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.03


def test_levels_follow_the_operating_state_with_inertia(tmp_path):
    oven = {
        "states": {"cold": {"lasts": "1000d"}, "hot": {"lasts": "1000d"}},
        "metrics": {"level": flat({"cold": 20, "hot": 220}, inertia="100s", decimals=6)},
    }
    fleet = fleet_of(tmp_path, {"oven_of_test": oven}, [{"type": "oven_of_test", "device_id": "o"}])
    from producers.simulation.commands import Selector, UpdateDevices  # noqa: PLC0415

    fleet.apply(UpdateDevices(Selector("o"), state="cold"))
    assert set(column(fleet, fleet.between(START, START + 10 * SECOND), "o", "level")) == {20.0}
    fleet.apply(UpdateDevices(Selector("o"), state="hot"))
    values = column(fleet, fleet.between(START + 10 * SECOND, START + 510 * SECOND), "o", "level")
    assert (np.diff(values) > 0).all()
    assert values[99] == pytest.approx(20 + 200 * (1 - np.exp(-1)), abs=1e-3)
    assert values[-1] > 217


def test_states_last_as_long_as_they_say(tmp_path):
    lamp = {
        "states": {"on": {"lasts": "30s"}, "off": {"lasts": "90s"}},
        "metrics": {"level": flat({"on": 1, "off": 0}, digital=True)},
    }
    fleet = fleet_of(
        tmp_path, {"lamp_of_test": lamp}, [{"type": "lamp_of_test", "device_id": "l{number}", "count": 50}]
    )
    batch = fleet.between(START, START + 20_000 * SECOND)
    values = np.stack([column(fleet, batch, f"l{number}", "level") for number in range(1, 51)])
    assert set(np.unique(values)) == {0.0, 1.0}
    assert values.mean() == pytest.approx(0.25, abs=0.02)
    switches = (np.diff(values, axis=1) > 0).sum()
    assert 20_000 * 50 / switches == pytest.approx(120 + 2, rel=0.05)


def test_a_metric_follows_another_against_its_deviation(tmp_path):
    kind = {
        "metrics": {
            "heat": flat(20, wander={"std": 2, "time": "60s"}, decimals=9),
            "damp": flat(60, follows={"heat": -1.5}, decimals=9),
        }
    }
    fleet = fleet_of(tmp_path, {"kind": kind}, [{"type": "kind", "device_id": "k"}])
    batch = fleet.between(START, START + 500 * SECOND)
    heat, damp = column(fleet, batch, "k", "heat"), column(fleet, batch, "k", "damp")
    assert damp == pytest.approx(60 - 1.5 * (heat - 20), abs=1e-6)


def test_values_stay_in_their_range_and_have_their_decimals(tmp_path):
    metric = flat(1, noise={"normal": 5}, range=[0, 2], decimals=1)
    fleet = fleet_of(tmp_path, {"kind": {"metrics": {"level": metric}}}, [{"type": "kind", "device_id": "k"}])
    values = column(fleet, fleet.between(START, START + 1000 * SECOND), "k", "level")
    assert (values.min(), values.max()) == (0.0, 2.0)
    assert (np.round(values, 1) == values).all()


def test_steps_hold_their_level(tmp_path):
    cycle = {"period": "100s", "amplitude": 10, "shape": "steps"}
    fleet = fleet_of(
        tmp_path, {"kind": {"metrics": {"level": flat(cycles=[cycle])}}}, [{"type": "kind", "device_id": "k"}]
    )
    values = column(fleet, fleet.between(START, START + 100_000 * SECOND), "k", "level")
    edges = np.flatnonzero(np.diff(values))
    assert 990 <= len(edges) <= 1000
    assert set(np.diff(edges).tolist()) <= {100, 99, 101, 200}
    assert np.abs(values - 100).max() <= 10
    assert values.std() == pytest.approx(10 / np.sqrt(3), rel=0.1)


def test_recipes_are_drawn_once_for_each_device(tmp_path):
    cycle = {"period": ["60s", "480s"], "amplitude": [1, 5]}
    fleet = fleet_of(
        tmp_path,
        {"kind": {"metrics": {"level": flat(cycles=[cycle])}}},
        [{"type": "kind", "device_id": "k{number}", "count": 30}],
    )
    batch = fleet.between(START, START + 1000 * SECOND)
    heights = [np.abs(column(fleet, batch, f"k{number}", "level") - 100).max() for number in range(1, 31)]
    assert len(set(heights)) == 30
    assert all(0.95 <= height <= 5.0 for height in heights)
