"""What faults do to readings, when they come, and how commands start and end them."""

from pathlib import Path

import numpy as np
import pytest
from fleets_of_tests import SECOND, START, column, flat, fleet_of, rows

from producers.devices.catalogue import load_catalogue
from producers.devices.fleet_spec import FaultChances, FleetSpec
from producers.devices.model import Effect
from producers.simulation.commands import (
    ClearFaults,
    CommandError,
    InjectFault,
    ListDevices,
    Selector,
    SetFaultChances,
    UnknownDeviceError,
    UpdateDevices,
)
from producers.simulation.device_fleet import DeviceFleet

WAVE = {"period": "40s", "amplitude": 4, "peak": "00:00"}
COUNT = 10


def faulty(tmp_path, fault, metric=None, readings=COUNT, intensity=None):
    """The values of one metric without and with a fault that lasts some readings, from the third on."""
    found = []
    for inject in (False, True):
        kind = {
            "metrics": {"level": metric or flat(cycles=[WAVE], decimals=9)},
            "faults": {"wrong": {"duration": "5 readings", **fault}},
        }
        fleet = fleet_of(tmp_path, {"kind": kind}, [{"type": "kind", "device_id": "k"}])
        first = fleet.between(START, START + 3 * SECOND)
        if inject:
            fleet.apply(InjectFault(fault="wrong", readings=readings, intensity=intensity))
        then = fleet.between(START + 3 * SECOND, START + (3 + COUNT + 5) * SECOND)
        found.append(
            (
                fleet,
                np.concatenate([column(fleet, first, "k", "level"), column(fleet, then, "k", "level")]),
                then,
            )
        )
    (_, healthy, _), (fleet, values, then) = found
    assert (values[:3] == healthy[:3]).all()
    if fault["effect"] == "silence":
        return healthy[3 + readings :], values[3:]
    assert (values[3 + readings :] == healthy[3 + readings :]).all()
    labels = [fault for *_, fault in rows(fleet, then)]
    assert labels == ["wrong"] * readings + [None] * (COUNT + 5 - readings)
    return healthy[3 : 3 + readings], values[3 : 3 + readings]


def test_multiply_and_its_onset(tmp_path):
    healthy, values = faulty(tmp_path, {"effect": "multiply", "intensity": 3})
    assert values == pytest.approx(3 * healthy)
    healthy, values = faulty(tmp_path, {"effect": "multiply", "intensity": 3, "onset": 0.5})
    factors = values / healthy
    assert (np.diff(factors[:6]) > 0).all()
    assert factors[0] == pytest.approx(1 + 2 / 6, rel=1e-6)
    assert factors[5:] == pytest.approx(3)


def test_add_has_its_sign_and_scale(tmp_path):
    for sign, expected in (("up", 20.0), ("down", -20.0)):
        healthy, values = faulty(tmp_path, {"effect": "add", "intensity": 20, "sign": sign})
        assert values - healthy == pytest.approx(expected)
    healthy, values = faulty(tmp_path, {"effect": "add", "intensity": 0.2, "scale": "baseline"})
    assert values - healthy == pytest.approx(20.0)
    healthy, values = faulty(tmp_path, {"effect": "add", "intensity": 5, "scale": "spread"})
    assert values - healthy == pytest.approx(5 * 4 / np.sqrt(2))


def test_an_intensity_of_ones_own(tmp_path):
    healthy, values = faulty(tmp_path, {"effect": "add", "intensity": [50, 100], "sign": "down"}, intensity=7)
    assert values - healthy == pytest.approx(-7.0)


def test_ramp_is_whole_at_its_end(tmp_path):
    healthy, values = faulty(tmp_path, {"effect": "ramp", "intensity": 30})
    assert values - healthy == pytest.approx(np.arange(1, COUNT + 1) * 3.0)


def test_oscillation_and_jitter_and_noise_stay_in_bounds(tmp_path):
    healthy, values = faulty(tmp_path, {"effect": "oscillate", "intensity": 10, "period": "4 readings"})
    swing = values - healthy
    assert np.abs(swing).max() <= 10.0 + 1e-6
    assert swing[:4] == pytest.approx(swing[4:8], abs=1e-6)
    assert swing[0] == pytest.approx(-swing[2], abs=1e-6)
    healthy, values = faulty(tmp_path, {"effect": "jitter", "intensity": 10})
    assert np.abs(values - healthy).max() <= 10.0
    assert len(set((values - healthy).round(6))) == COUNT
    healthy, values = faulty(tmp_path, {"effect": "noise", "intensity": 10})
    assert 2.0 < (values - healthy).std() < 25.0


def test_mirror_turns_the_cycle_round(tmp_path):
    healthy, values = faulty(tmp_path, {"effect": "mirror", "intensity": 1})
    assert values - 100 == pytest.approx(-(healthy - 100))


def test_calibration_hold_freeze_and_silence(tmp_path):
    healthy, values = faulty(tmp_path, {"effect": "calibration", "intensity": 0.3})
    assert values == pytest.approx(1.3 * healthy)
    _, values = faulty(tmp_path, {"effect": "hold", "target": 7})
    assert set(values) == {7.0}
    healthy, values = faulty(tmp_path, {"effect": "freeze"})
    assert len(set(values)) == 1
    assert len(set(healthy)) > 1
    after, values = faulty(tmp_path, {"effect": "silence"})
    assert values.tolist() == after.tolist()


def test_flicker_is_the_other_one_each_second_reading(tmp_path):
    healthy, values = faulty(tmp_path, {"effect": "flicker"}, flat(1, digital=True))
    assert set(healthy) == {1.0}
    assert values.tolist() == [0.0, 1.0] * (COUNT // 2)


def test_every_effect_is_tried_here():
    text = Path(__file__).read_text()
    assert [effect for effect in Effect if f'"{effect}"' not in text] == []


@pytest.mark.parametrize(
    ("kind", "metrics"),
    [
        ("hvac", {"power"}),
        ("oven", {"temperature"}),
        ("fan", {"speed"}),
        ("signal", {"sinusoid", "trend", "step"}),
    ],
)
def test_a_level_shift_is_there_at_once_and_stays_as_it_is(kind, metrics):
    """The shipped fault, on shipped types: the values beside what they would have been."""
    state = [UpdateDevices(Selector("x"), state="running")] if kind == "fan" else []
    spec = FleetSpec(groups=[{"type": kind, "device_id": "x"}], faults={"probability": 0})
    found = []
    for faults in ([], [InjectFault(fault="level_shift", readings=100)]):
        fleet = DeviceFleet(spec, load_catalogue(), 1, SECOND)
        fleet.between(START, START + 100 * SECOND)
        for command in (*state, *faults):
            fleet.apply(command)
        batch = fleet.between(START + 100 * SECOND, START + 250 * SECOND)
        found.append({metric: column(fleet, batch, "x", metric) for metric in metrics})
    changes = [found[1][metric] - found[0][metric] for metric in metrics]
    (change,) = [change for change in changes if change.any()]
    assert abs(change[0]) > 0.1
    assert np.ptp(change[:100]) < 0.05 * abs(change[0])  # but for the decimals
    assert not change[100:].any()


def test_limits_hold_in_a_fault(tmp_path):
    _, values = faulty(tmp_path, {"effect": "add", "intensity": 1000}, flat(limits=[0, 350]))
    assert set(values) == {350.0}


def test_what_follows_a_faulty_metric_is_labelled_too(tmp_path):
    fleet = fleet_of(tmp_path, {}, [{"type": "hvac", "device_id": "a"}])
    fleet.between(START, START + SECOND)
    fleet.apply(InjectFault(fault="power_spike", readings=1))
    found = {
        metric: fault
        for _, metric, _, _, fault in rows(fleet, fleet.between(START + SECOND, START + 2 * SECOND))
    }
    assert found == {
        "power": "power_spike",
        "voltage": None,
        "current": "power_spike",
        "energy": "power_spike",
    }


def test_one_metric_of_several(tmp_path):
    kind = {
        "metrics": {name: flat() for name in ("a", "b", "c")},
        "faults": {"wrong": {"effect": "add", "intensity": 9, "pick": "one", "duration": "1 reading"}},
    }
    fleet = fleet_of(tmp_path, {"kind": kind}, faults={"probability": 1})
    hit = [
        metric for _, metric, _, _, fault in rows(fleet, fleet.between(START, START + 900 * SECOND)) if fault
    ]
    assert len(hit) == 900
    assert all(250 < hit.count(metric) < 350 for metric in "abc")


def test_faults_come_as_often_and_last_as_long_as_they_should(tmp_path):
    kind = {
        "metrics": {"level": flat()},
        "faults": {
            "often": {"effect": "add", "intensity": 1, "duration": "3-5 readings", "weight": 3},
            "seldom": {"effect": "add", "intensity": 1, "duration": "10s", "weight": 1},
            "never": {"effect": "add", "intensity": 1, "duration": "10s", "weight": 0},
        },
    }
    fleet = fleet_of(tmp_path, {"kind": kind}, [{"type": "kind", "count": 20}], faults={"probability": 0.01})
    batch = fleet.between(START, START + 20_000 * SECOND)
    episodes = fleet.episodes
    assert set(episodes) == {"often", "seldom"}
    labels = [fleet.table.faults[fault] for fault in batch.fault.tolist() if fault >= 0]
    assert labels.count("often") / episodes["often"] == pytest.approx(4, rel=0.02)
    assert labels.count("seldom") / episodes["seldom"] == pytest.approx(10, rel=0.02)
    total = sum(episodes.values())
    assert episodes["often"] / total == pytest.approx(0.75, abs=0.03)
    healthy = len(batch) - len(labels)
    assert total / healthy == pytest.approx(0.01, rel=0.06)


def test_manufacturer_and_firmware_change_the_chance(tmp_path):
    groups = [
        {
            "type": "environmental",
            "device_id": "a{number}",
            "count": 50,
            "manufacturer": "SensorTech",
            "firmware": "3.0-beta",
        },
        {
            "type": "environmental",
            "device_id": "b{number}",
            "count": 50,
            "manufacturer": "DataSense",
            "firmware": "1.4",
        },
    ]
    fleet = fleet_of(
        tmp_path,
        {},
        groups,
        faults={
            "probability": 0.01,
            "kinds": {
                "trend": {"weight": 0},
                "pattern": {"weight": 0},
                "noise": {"weight": 0},
                "missing_data": {"weight": 0},
            },
        },
    )
    batch = fleet.between(START, START + 2000 * SECOND)
    table = fleet.table
    begun = {"a": 0, "b": 0}
    for series in batch.series[batch.fault >= 0].tolist():
        begun[table.device_ids[series][0]] += 1
    assert begun["a"] / begun["b"] == pytest.approx(1.2 * 1.5 / (0.8 * 0.7), rel=0.15)


def test_a_fault_lasts_until_it_is_cleared(tmp_path):
    fleet = fleet_of(tmp_path, {}, [{"type": "oven", "device_id": "o"}])
    fleet.between(START, START + SECOND)
    view = fleet.apply(InjectFault(Selector("o"), fault="spike", until_cleared=True)).devices[0].fault
    assert (view.fault, view.ends_us, view.readings_left, view.injected) == ("spike", None, None, True)
    batch = fleet.between(START + SECOND, START + 7200 * SECOND)
    assert (batch.fault >= 0).all()
    assert fleet.apply(ListDevices(faulty=True)).count == 1
    assert fleet.apply(ClearFaults()).count == 1
    assert fleet.apply(ClearFaults()).count == 0
    assert fleet.apply(ListDevices(faulty=True)).count == 0
    assert (fleet.between(START + 7200 * SECOND, START + 7300 * SECOND).fault == -1).all()


def test_readings_left_count_down_to_nothing(tmp_path):
    fleet = fleet_of(tmp_path, {}, [{"type": "oven", "device_id": "o"}])
    fleet.between(START, START + SECOND)
    fleet.apply(InjectFault(fault="spike", readings=3))
    left = []
    for second in range(1, 6):
        view = fleet.apply(ListDevices()).devices[0].fault
        left.append(view and view.readings_left)
        fleet.between(START + second * SECOND, START + (second + 1) * SECOND)
    assert left == [3, 2, 1, None, None]


def test_a_random_device_is_the_same_for_the_same_seed(tmp_path):
    chosen = []
    for _ in range(2):
        fleet = fleet_of(tmp_path, {}, [{"type": "oven", "count": 20}, {"type": "hvac", "count": 20}])
        fleet.between(START, START + SECOND)
        chosen.append(
            [fleet.apply(InjectFault(random_one=True)).devices[0].device.device_id for _ in range(2)]
        )
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (InjectFault(Selector("nobody")), "there is no device nobody"),
        (InjectFault(Selector("o"), fault="power_spike"), "devices of type oven have no fault 'power_spike'"),
        (UpdateDevices(Selector("o"), state="broken"), "devices of type oven have no state 'broken'"),
        (UpdateDevices(Selector("o"), parameters={"base_power": 3}), "base_power is no parameter of oven"),
        (UpdateDevices(Selector("h"), parameters={"base_power": 3000}), "base_power of 3000 kW"),
        (SetFaultChances(FaultChances(), type="lamp"), "no device of type lamp"),
    ],
)
def test_commands_that_make_no_sense_change_nothing(tmp_path, command, message):
    fleet = fleet_of(tmp_path, {}, [{"type": "oven", "device_id": "o"}, {"type": "hvac", "device_id": "h"}])
    before = fleet.apply(ListDevices())
    with pytest.raises(CommandError, match=message) as raised:
        fleet.apply(command)
    assert isinstance(raised.value, UnknownDeviceError) == ("nobody" in message)
    assert raised.value.remedy
    assert fleet.apply(ListDevices()) == before


def test_chances_change_on_the_way_and_active_faults_stay(tmp_path):
    fleet = fleet_of(tmp_path, {}, [{"type": "oven", "count": 30}])
    assert (fleet.between(START, START + 100 * SECOND).fault == -1).all()
    fleet.apply(InjectFault(fault="drift", until_cleared=True))
    fleet.apply(SetFaultChances(FaultChances(probability=0.5, kinds={"drift": {"weight": 0}}), type="oven"))
    assert (fleet.counts.devices, fleet.counts.online, fleet.counts.faulty) == (30, 30, 30)
    fleet.apply(ClearFaults())
    fleet.between(START + 100 * SECOND, START + 200 * SECOND)
    assert fleet.counts.faulty > 20
    assert fleet.episodes["drift"] == 30
