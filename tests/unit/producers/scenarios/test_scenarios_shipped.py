"""Each shipped scenario tells its story in the readings: on the devices, at the times, and nowhere else."""

import numpy as np
import pytest
from scenario_story import told

from producers.devices.catalogue import load_catalogue
from producers.devices.expand import expand
from producers.devices.fleet_spec import FleetSpec
from producers.scenarios.files import list_scenarios
from producers.scenarios.timeline import timeline_of
from producers.simulation.commands import InjectFault, UpdateDevices
from producers.simulation.selecting import matcher

NAMES = [scenario.name for scenario in list_scenarios()]


def test_there_are_stories_enough():
    assert len(NAMES) >= 5
    assert "three-incidents" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_faults_that_are_expected_are_seen(name):
    story = told(name)
    assert set(story.scenario.expect.faults) <= story.faults()
    assert story.scenario.expect.faults


@pytest.mark.parametrize("name", NAMES)
def test_every_reading_is_a_number_at_its_time(name):
    story = told(name)
    assert np.isfinite(story.value).all()
    assert (np.diff(story.minute) >= 0).all()
    assert 0 <= story.minute[0] < story.scenario.duration / 60
    assert story.minute[-1] < story.scenario.duration / 60


@pytest.mark.parametrize("name", NAMES)
def test_what_is_cut_is_silent_just_so_long(name):
    story = told(name)
    cuts = {}
    for at, command in timeline_of(story.scenario):
        if isinstance(command, UpdateDevices) and command.online is not None:
            cuts.setdefault(command.select, []).append((at / 60e6, command.online))
    for select, changes in cuts.items():
        pattern = f"*{select.city or select.type or select.device_id}*"
        for (begin, went), (end, came) in zip(changes[::2], changes[1::2], strict=True):
            assert (went, came) == (False, True)
            assert not story.of(pattern, begin=begin, end=end).any()
            assert story.of(pattern, begin=begin - 1, end=begin).any()
            assert story.of(pattern, begin=end, end=end + 1).any()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_tells_the_same_story(name):
    told.cache_clear()
    first = told(name)
    told.cache_clear()
    again = told(name)
    assert first.value.tobytes() == again.value.tobytes()
    assert (first.fault == again.fault).all()


def devices_of(scenario):
    """Every device that there ever is: (spec, name of its type)."""
    groups = [
        scenario.fleet,
        *(FleetSpec(groups=(entry.create,)) for entry in scenario.timeline if entry.create),
    ]
    catalogue = load_catalogue()
    return [
        (device, fleet.groups[device.group].type)
        for fleet in groups
        for device in expand(fleet, catalogue, 1)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_told_faults_are_on_the_told_devices_at_the_told_times_and_only_there(name):
    story = told(name)
    devices = devices_of(story.scenario)
    allowed = np.zeros(len(story.fault), bool)
    told_kinds = set()
    for at, command in timeline_of(story.scenario):
        if not isinstance(command, InjectFault):
            continue
        fits = matcher(command.select)
        ids = [device.device_id for device, kind in devices if fits(device, kind)]
        lasting = command.seconds or (command.readings or 0) * story.scenario.interval or np.inf
        # A fault begins and ends with a reading: up to an interval later than told.
        end = at / 60e6 + (lasting + story.scenario.interval) / 60
        inside = (story.minute >= at / 60e6) & (story.minute < end) & np.isin(story.device, ids)
        told_kinds.add(command.fault)
        begun = inside & (story.fault == command.fault)
        assert len(set(story.device[begun])) == (1 if command.random_one else len(ids))
        allowed |= begun
    outside = np.isin(story.fault, list(told_kinds)) & ~allowed
    assert not outside.any()
    if not story.scenario.fleet.faults.probability and name != "three-incidents":
        assert story.faults() == told_kinds


def test_three_incidents():
    story = told("three-incidents")
    # The oven of the factory drifts for a quarter of an hour, and no other one.
    assert story.faults("oven-factory-*", 10, 25) == {"drift"}
    assert story.faults("oven-*", 0, 10) == story.faults("oven-*", 25) == set()
    assert story.faults("oven-restaurant-*") == story.faults("oven-supermarket-*") == set()
    drifting = story.of("oven-factory-*", begin=10.2, end=25)
    assert (story.fault[drifting] == "drift").all()
    # Firmware 3.0-beta fails 1.5 / 0.85 times as often; the others go on as before.
    before, after = story.episodes("logger_*", 0, 30), story.episodes("logger_*", 30, 60)
    assert 1.3 * before < after < 2.5 * before
    others = story.episodes("tech_*", 0, 30), story.episodes("tech_*", 30, 60)
    assert others[1] < 1.5 * others[0]
    # Denver is silent for two minutes, everybody else talks.
    assert not story.of("denver_*", begin=40, end=42).any()
    for pattern in ("oven-*", "logger_*", "tech_*"):
        assert story.of(pattern, begin=40, end=42).any()
    assert story.faults("denver_*") == set()


def test_heatwave():
    story = told("heatwave")
    hot = [
        story.value[story.of(f"{city}-outside-*", "temperature", 8 * 60, 9 * 60)].mean()
        - story.value[story.of(f"{city}-outside-*", "temperature", 0, 60)].mean()
        for city in ("phoenix", "las-vegas", "seattle", "minneapolis")
    ]
    assert min(hot[:2]) > max(hot[2:]) + 4
    assert story.faults("phoenix-outside-*", 60, 9 * 60) == {"trend"}
    assert story.faults("seattle-*") == story.faults("minneapolis-*") == set()
    assert set(story.fault[story.of("*-outside-*", "humidity")]) == {""}
    # The cooling comes up over the first third of its five hours, and ends with them.
    load = [
        story.value[story.of("phoenix-hvac-*", "power", 60 * hour, 60 * hour + 60)].mean()
        for hour in (0, 3, 5, 7, 9)
    ]
    assert load[0] < load[1] < load[2] == pytest.approx(load[3], rel=0.03)
    assert load[2] == pytest.approx(2.5 * load[0], rel=0.05)
    assert load[4] == pytest.approx(load[0], rel=0.05)
    assert story.faults("phoenix-server-*", 6 * 60, 6 * 60 + 40) == {"voltage_fluctuation"}
    assert set(story.value[story.of("phoenix-server-*", "power", 6 * 60 + 41, 7 * 60 + 10)]) == {0.0}


def test_brown_out():
    story = told("brown-out")
    assert story.faults("annex-*") == set()
    assert story.faults("a-*", 5, 15) == {"voltage_fluctuation"}
    calm, wild = (story.value[story.of("a-*", "voltage", *minutes)].std() for minutes in ((0, 5), (5, 15)))
    assert wild > 5 * calm
    assert set(story.value[story.of("a-lighting-*", "power", 15.1, 23)]) == {0.0}
    assert not story.of("a-appliance-*", begin=16, end=25).any()
    assert story.of("a-appliance-*", begin=25, end=26).any()
    assert story.faults("a-hvac-*", 23, 23.5) == {"power_spike"}
    assert story.faults("a-hvac-*", 23.6) == set()
    surge = story.of("a-hvac-1", "power") & (story.fault == "power_spike")
    assert surge.sum() == 6
    assert story.value[surge].min() > 3 * 25
    assert story.faults("a-appliance-*", 25, 35) == {"high_power_consumption"}


def test_failing_bearing():
    story = told("failing-bearing")
    speed = {
        begin: story.value[story.of("fan-factory-*", "speed", begin, begin + 10)]
        for begin in (0, 21, 71, 110, 160)
    }
    assert speed[0].std() < speed[21].std() < speed[71].std()
    assert set(speed[110]) == {0.0}
    assert speed[160].mean() == pytest.approx(speed[0].mean(), rel=0.1)
    assert story.value[story.of("fan-factory-*", "speed", 100.2, 101.8)].min() > 800
    assert story.faults("fan-factory-*", 150) == set()
    assert story.faults("fan-restaurant-*") == story.faults("fan-supermarket-*") == set()
    assert set(story.value[story.of("fan-*", "state")]) == {1.0}


def test_dust_storm():
    story = told("dust-storm")
    assert story.faults("pm-madrid-*") == set()
    assert story.faults("pm-dubai-*", 0, 60) == story.faults("pm-dubai-*", 180) == set()
    assert story.faults("pm-dubai-*", 60, 180) == {"dust_storm"}
    assert story.faults("pm-riyadh-*", 90, 210) == {"dust_storm"}
    at_worst = {
        city: story.value[story.of(f"pm-{city}-*", "pm", 125, 130)].mean() for city in ("dubai", "madrid")
    }
    assert at_worst["dubai"] > at_worst["madrid"] + 200
    # One sensor, of Riyadh, keeps dust on its optics.
    dirty = np.unique(story.device[story.fault == "calibration_error"])
    assert len(dirty) == 1
    assert dirty[0].startswith("pm-riyadh-")


def test_black_friday():
    story = told("black-friday")
    assert not story.of("extra-*", begin=0, end=20).any()
    assert len(np.unique(story.device[story.of("extra-*", begin=20, end=21)])) == 10
    assert not story.of("extra-*", begin=210).any()
    assert not any(device.startswith("extra-") for device in story.devices)
    assert story.faults("rack-*", 40, 160) == story.faults("extra-*", 40, 160) == {"high_power_consumption"}
    busy = story.value[story.of("rack-*", "power", 60, 150)].mean()
    assert busy == pytest.approx(3 * 45, rel=0.05)
    assert story.faults("kitchen-*", 80, 140) == {"sustained_high_load"}
    assert np.unique(story.device[story.fault == "flicker"]).tolist() == ["lamp-2"]
    state = story.value[story.of("lamp-2", "state", 105.2, 110)]
    assert (np.abs(np.diff(state)) == 1).mean() > 0.9


def test_bad_rollout():
    story = told("bad-rollout")
    london = [story.episodes("london_*", begin, begin + 30) for begin in (0, 30, 60, 90, 120, 150, 180)]
    assert 2 * london[2] > london[0] + london[1]
    assert sum(london[3:5]) > 2 * sum(london[0:2])
    assert sum(london[5:7]) < sum(london[3:5]) / 2
    others = [story.episodes("*_1??", begin, begin + 30) for begin in (30, 60, 90, 150)]
    assert others[1] < 2 * others[0]
    assert others[2] > 2 * others[1]
    assert others[3] < others[2] / 1.5
    stuck = story.fault == "stuck"
    assert np.unique(story.device[stuck]).tolist() == ["london_001", "london_002"]
    for device in ("london_001", "london_002"):
        frozen = story.value[story.of(device, "temperature", 120.2, 150)]
        assert len(np.unique(frozen)) == 1
    assert story.minute[stuck].max() < 150
