"""A changed fleet file and the running fleet."""

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from producers.devices.catalogue import load_catalogue
from producers.devices.fleet_spec import FleetSpec
from producers.devices.fleets import load_fleet
from producers.reloading import ExpandedFleet, FleetFile, Reloading, changes
from producers.simulation.commands import (
    CreateDevices,
    DeleteDevices,
    Selector,
    SetFaultChances,
    UpdateDevices,
    command_of,
    to_json,
)
from producers.simulation.device_fleet import DeviceFleet
from producers.watching import FileWatch
from schemas.errors import ConfigError
from schemas.testing import START_US, ManualClock

SEED = 3
MINUTE_US = 60_000_000
CATALOGUE = load_catalogue()
OVENS = {"type": "oven", "count": 3}
SENSORS = {"type": "environmental", "count": 4, "cities": "any", "gps_radius_m": 100}


def spec(*groups, **rest):
    return FleetSpec.model_validate({"groups": list(groups), **rest})


def expanded(of):
    return ExpandedFleet.of(of, CATALOGUE, SEED)


def wanted(old, new):
    """Commands from one spec to another, as they come out of JSON: they may cross process borders."""
    found = changes(expanded(old), expanded(new), CATALOGUE, SEED)
    assert [command_of(json.loads(json.dumps(to_json(command)))) for command in found] == found
    return found


def fleet_of(of):
    return DeviceFleet(of, CATALOGUE, SEED, 1_000_000)


def changed(old, new, minutes=2):
    """A fleet that ran for a while as `old` and then became `new`."""
    fleet = fleet_of(old)
    fleet.between(START_US, START_US + minutes * MINUTE_US)
    for command in wanted(old, new):
        fleet.apply(command)
    return fleet


def kinds(commands):
    return [type(command) for command in commands]


def chances(fleet):
    """Device -> chance of a fault per reading."""
    of = fleet.population
    return {of.member(int(row["member"])).spec.device_id: row["chance"] for row in of.devices}


def readings(fleet, begin_us, end_us, device_ids):
    """Readings of some devices, sorted: (device, metric, time, value, fault)."""
    batch, table = fleet.between(begin_us, end_us), fleet.table
    columns = zip(
        batch.series.tolist(), batch.time.tolist(), batch.value.tolist(), batch.fault.tolist(), strict=True
    )
    return sorted(
        (
            table.device_ids[series],
            table.metrics[series],
            time,
            value,
            table.faults[fault] if fault >= 0 else "",
        )
        for series, time, value, fault in columns
        if table.device_ids[series] in device_ids
    )


def test_the_same_file_is_no_command():
    assert wanted(spec(OVENS, SENSORS), spec(OVENS, SENSORS)) == []


def test_another_order_of_the_groups_is_no_command():
    assert wanted(spec(OVENS, SENSORS), spec(SENSORS, OVENS)) == []


def test_more_devices_are_one_command():
    found = wanted(spec(OVENS), spec({**OVENS, "count": 5}))
    assert kinds(found) == [CreateDevices]
    assert found[0].exact
    assert (found[0].group.first_number, found[0].group.count) == (4, 2)


def test_fewer_devices_are_removed_one_by_one():
    found = wanted(spec(SENSORS), spec({**SENSORS, "count": 2}))
    assert [(type(command), command.select.device_id) for command in found] == [
        (DeleteDevices, "SENSOR_003"),
        (DeleteDevices, "SENSOR_004"),
    ]


def test_what_can_be_changed_in_place_is():
    old = {
        "type": "hvac",
        "device_id": "meter",
        "firmware": "1",
        "manufacturer": "A",
        "model": "x",
        "name": "old",
    }
    new = old | {
        "firmware": "2",
        "manufacturer": "B",
        "model": "y",
        "name": "new",
        "parameters": {"base_power": 30},
    }
    new["attributes"] = {"floor": "3"}
    serial = {"serial_number": "S-1"}
    (found,) = wanted(spec(old | serial), spec(new | serial))
    assert isinstance(found, UpdateDevices)
    assert (found.select.device_id, found.firmware, found.manufacturer) == ("meter", "2", "B")
    assert (found.model, found.name) == ("y", "new")
    assert found.parameters == {"base_power": 30.0}
    assert found.attributes == {"floor": "3"}


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"temperature": {"range": [10, 300]}}},
        {"locations": [{"name": "Hall", "latitude": 1, "longitude": 2}]},
        {"serial_number": "S-1"},
    ],
)
def test_what_cannot_be_changed_in_place_makes_the_device_anew(change):
    one = {"type": "oven", "device_id": "oven"}
    assert kinds(wanted(spec(one), spec(one | change))) == [DeleteDevices, CreateDevices]


def test_chances_of_a_type_are_one_command():
    found = wanted(spec(OVENS, SENSORS), spec(OVENS, SENSORS, faults={"probability": 0.25}))
    assert kinds(found) == [SetFaultChances, SetFaultChances]
    assert {command.type: command.chances.probability for command in found} == {
        "oven": 0.25,
        "environmental": 0.25,
    }
    found = wanted(spec(OVENS), spec({**OVENS, "faults": {"kinds": {"drift": {"weight": 9}}}}))
    assert kinds(found) == [SetFaultChances]
    assert list(found[0].chances.kinds) == ["drift"]


def test_chances_of_one_group_of_a_type_leave_the_other_group_alone():
    a, b = {**OVENS, "device_id": "a-{number}"}, {**OVENS, "device_id": "b-{number}"}
    old, new = spec(a, b), spec(a, {**b, "faults": {"probability": 0.5}})
    assert {
        command.select.device_id for command in wanted(old, new) if isinstance(command, DeleteDevices)
    } == {
        "b-1",
        "b-2",
        "b-3",
    }
    assert chances(changed(old, new)) == chances(fleet_of(new))


def test_faults_that_are_switched_off_come_no_more_and_come_again():
    on, off = (
        spec(OVENS, faults={"probability": 0.5}),
        spec(OVENS, faults={"probability": 0.5, "enabled": False}),
    )
    fleet = changed(on, off)
    assert set(chances(fleet).values()) == {0.0}
    for command in wanted(off, on):
        fleet.apply(command)
    assert chances(fleet) == chances(fleet_of(on))


def test_devices_that_are_not_concerned_keep_their_state():
    """Their readings go on to the bit as if nothing had happened, counters and drifts among them."""
    meters = {"type": "hvac", "count": 3, "faults": {"probability": 0.01}}
    old = spec(OVENS, SENSORS, meters)
    new = spec({**OVENS, "count": 1}, {**SENSORS, "count": 9}, {"type": "lamp", "count": 2}, meters)
    undisturbed = fleet_of(old)
    undisturbed.between(START_US, START_US + 2 * MINUTE_US)
    fleet = changed(old, new)
    kept = {device.device_id for device in fleet.devices} & {
        device.device_id for device in undisturbed.devices
    }
    assert len(kept) == 1 + 4 + 3
    span = START_US + 2 * MINUTE_US, START_US + 4 * MINUTE_US, kept
    assert readings(fleet, *span) == readings(undisturbed, *span)


GROUPS = st.fixed_dictionaries(
    {"type": st.sampled_from(["oven", "lamp", "hvac", "environmental"]), "count": st.integers(1, 4)},
    optional={
        "firmware": st.sampled_from(["1.0", "3.0-beta"]),
        "manufacturer": st.sampled_from(["SensorTech", "DataSense"]),
        "cities": st.sampled_from(["any", "Denver"]),
        "gps_radius_m": st.sampled_from([0.0]),
        "attributes": st.dictionaries(
            st.sampled_from(["floor", "room"]), st.sampled_from(["1", "{2}"]), max_size=2
        ),
        "serial_number": st.sampled_from(["S"]),
        "faults": st.fixed_dictionaries(
            {},
            optional={
                "probability": st.sampled_from([0.0, 0.1]),
                "enabled": st.booleans(),
                "kinds": st.sampled_from([{"stuck": {"weight": 2.0}}, {"missing_data": {"duration": "1m"}}]),
            },
        ),
    },
)


@st.composite
def specs(draw):
    groups = draw(st.lists(GROUPS, min_size=1, max_size=4))
    named = [
        {**group, "device_id": f"{{type}}-{number}-{{number}}"}
        for number, group in zip(draw(st.permutations(range(len(groups)))), groups, strict=True)
    ]
    return spec(*named, faults={"probability": draw(st.sampled_from([0.01, 0.2]))})


@given(specs(), specs())
@settings(max_examples=60)
def test_the_running_fleet_becomes_the_new_one(old, new):
    fleet, fresh = changed(old, new), fleet_of(new)
    assert fleet.devices == fresh.devices
    assert chances(fleet) == pytest.approx(chances(fresh))
    faults = [_faults(one) for one in (fleet, fresh)]
    assert faults[0] == faults[1]


def _faults(fleet):
    """Device -> its faults that come by themselves, complete."""
    of = fleet.population
    found = {}
    for _, member in of.members():
        kind = of.programs[member.spec.group].type
        found[member.spec.device_id] = {
            name: fault for name, fault in kind.faults.items() if fault.weight > 0
        }
    return found


def test_a_shard_changes_its_own_devices_only():
    """What each of two shards becomes is together the new fleet; nothing fails for devices of the other one."""
    old, new = spec({**SENSORS, "count": 9}), spec({**SENSORS, "count": 6, "firmware": "2"}, OVENS)
    shards = [(lambda device_id, odd=odd: (zlib.crc32(device_id.encode()) & 1) == odd) for odd in (0, 1)]
    devices = []
    for keep in shards:
        fleet = DeviceFleet(old, CATALOGUE, SEED, 1_000_000, keep)
        for command in changes(expanded(old), expanded(new), CATALOGUE, SEED, keep):
            fleet.apply(command)
        assert all(keep(device.device_id) for device in fleet.devices)
        devices += fleet.devices
    assert sorted(devices, key=lambda device: device.device_id) == fleet_of(new).devices


def test_a_type_that_was_changed_is_refused():
    old = ExpandedFleet.of(spec(OVENS), CATALOGUE, SEED)
    oven = {**CATALOGUE.documents["oven"], "title": "Another oven"}
    new = replace(old, documents={"oven": oven})
    with pytest.raises(ConfigError, match=r"device type oven was changed.*--resume"):
        changes(old, new, CATALOGUE, SEED)
    with pytest.raises(ConfigError, match="device type kiln is new"):
        changes(old, replace(old, documents={"kiln": oven}), CATALOGUE, SEED)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "fleet.yaml"
    path.write_text("groups: [{type: environmental, count: 2}]\n")
    return path


@pytest.fixture
def running(file, clock):
    """A fleet that runs, and what looks at its file."""

    def load():
        found = load_fleet(file)
        return FleetFile(
            found, load_catalogue([Path(name) for name in found.types]), {"log": file.read_text()[:1]}
        )

    began = load()
    return fleet_of(began.spec), Reloading(FileWatch([file], 1.0, clock), load, began, SEED)


def look(running, clock):
    """What is logged at the next look."""
    fleet, reloading = running
    clock.advance(1.0)
    with capture_logs() as logs:
        reloading(fleet, START_US)
    return logs


def test_a_changed_file_is_taken_over(running, clock, file):
    fleet, _ = running
    assert look(running, clock) == []
    file.write_text("groups: [{type: environmental, count: 5}]\n")
    (log,) = look(running, clock)
    assert (log["event"], log["log_level"], log["changes"]) == ("changed file taken over", "info", 1)
    assert len(fleet.devices) == 5
    assert look(running, clock) == []


def test_a_faulty_file_is_refused_with_the_reason_and_the_old_one_stays(running, clock, file):
    fleet, _ = running
    before = fleet.devices
    file.write_text("groups: [{type: enviromental}]\n")
    (log,) = look(running, clock)
    assert log["log_level"] == "warning"
    assert "environmental" in log["reason"]
    assert log["files"] == [str(file)]
    assert fleet.devices == before
    assert look(running, clock) == []
    file.write_text("groups: [{type: environmental, count: 1}]\n")
    assert look(running, clock)[0]["changes"] == 1
    assert len(fleet.devices) == 1


def test_files_that_the_new_file_names_are_watched_too(file, clock, tmp_path):
    cities = tmp_path / "cities.csv"

    def load():
        found = load_fleet(file)
        return FleetFile(found, CATALOGUE, files=(file, *([cities] if found.cities_file else [])))

    began = load()
    running = fleet_of(began.spec), Reloading(FileWatch([file], 1.0, clock), load, began, SEED)
    cities.write_text("name,latitude,longitude\nHere,1,2\n")
    file.write_text("cities_file: cities.csv\ngroups: [{type: environmental, count: 2, cities: Here}]\n")
    assert look(running, clock)[0]["changes"] == 4
    cities.write_text("name,latitude,longitude\nHere,3,4\n")
    assert look(running, clock)[0]["files"] == [str(cities)]
    assert {device.location.latitude for device in running[0].devices} == {3.0}


def test_what_waits_for_a_restart_is_said(running, clock, file):
    file.write_text("interval: 2s\nseed: 9\ngroups: [{type: environmental, count: 2}]\n")
    (log,) = look(running, clock)
    assert log["changes"] == 0
    assert log["after_restart"] == ["interval", "seed", "log"]


def test_a_device_that_somebody_removed_meanwhile_is_no_trouble(running, clock, file):
    fleet, _ = running
    fleet.apply(DeleteDevices(Selector(device_id="SENSOR_002")))
    file.write_text("groups: [{type: environmental, count: 1}]\n")
    (log,) = look(running, clock)
    assert log["changes"] == 0
    assert "no device SENSOR_002" in log["failed"][0]
    assert [device.device_id for device in fleet.devices] == ["SENSOR_001"]


def test_a_fleet_that_began_without_faults_stays_so(file, clock):
    file.write_text("faults: {enabled: no}\ngroups: [{type: environmental}]\n")

    def load():
        return FleetFile(load_fleet(file), CATALOGUE)

    began = load()
    running = fleet_of(began.spec), Reloading(FileWatch([file], 1.0, clock), load, began, SEED)
    file.write_text("groups: [{type: environmental}]\n")
    (log,) = look(running, clock)
    assert "began without faults" in log["reason"]
    assert not np.any(list(chances(running[0]).values()))
