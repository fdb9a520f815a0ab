"""The fleet as a whole: its grid, that seeds decide everything, coming and going, and going on from a snapshot."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from fleets_of_tests import SECOND, START, rows
from hypothesis import given
from hypothesis import strategies as st

from producers.devices.catalogue import load_catalogue
from producers.devices.fleet_spec import FleetSpec, Group
from producers.devices.fleets import load_fleet
from producers.simulation import snapshot
from producers.simulation.commands import (
    CreateDevices,
    DeleteDevices,
    DeviceExistsError,
    InjectFault,
    ListDevices,
    Selector,
    UpdateDevices,
)
from producers.simulation.device_fleet import DeviceFleet
from schemas.errors import ConfigError, InputError

LIVELY = load_fleet("mixed").model_copy(
    update={"faults": load_fleet("mixed").faults.model_copy(update={"probability": 0.05})}
)
LIVELY = LIVELY.model_copy(
    update={
        "groups": tuple(
            group.model_copy(update={"count": 2, "faults": LIVELY.faults}) for group in LIVELY.groups
        )
    }
)


def lively(seed=1, keep=None, interval=SECOND):
    return DeviceFleet(LIVELY, load_catalogue(), seed, interval, keep)


def step(fleet, seconds, begin=START):
    batch = fleet.between(begin, begin + seconds * SECOND)
    return rows(fleet, batch)


WHOLE = step(lively(), 60)


@given(st.lists(st.integers(1, 60 * SECOND - 1), max_size=12))
def test_any_chunking_gives_the_same_bits(cuts):
    fleet = lively()
    edges = sorted({0, 60 * SECOND, *cuts})
    pieces = [rows(fleet, fleet.between(START + a, START + b)) for a, b in itertools.pairwise(edges)]
    assert list(itertools.chain(*pieces)) == WHOLE


def test_the_run_has_something_of_everything():
    assert len({fault for *_, fault in WHOLE}) > 10
    times = [time for _, _, time, _, _ in WHOLE]
    assert times == sorted(times)
    assert START <= times[0] <= times[-1] < START + 60 * SECOND


def test_another_seed_gives_other_readings():
    assert [row[3] for row in step(lively(seed=2), 60)] != [row[3] for row in WHOLE]


def test_shards_have_the_whole_between_them():
    ids = sorted({row[0] for row in WHOLE})
    halves = [step(lively(keep=lambda name, part=part: ids.index(name) % 2 == part), 60) for part in (0, 1)]
    assert sorted(halves[0] + halves[1]) == sorted(WHOLE)


def test_devices_are_independent_of_each_other():
    fleet = DeviceFleet(
        FleetSpec(groups=LIVELY.groups[:1], faults=LIVELY.faults), load_catalogue(), 1, SECOND
    )
    alone = step(fleet, 60)
    ids = {row[0] for row in alone}
    assert alone == [row for row in WHOLE if row[0] in ids]


def test_each_device_is_read_once_an_interval_at_its_own_time():
    fleet = fleet_of_healthy()
    batch = fleet.between(START, START + 30 * SECOND)
    assert fleet.rate * 30 == len(batch)
    offsets = set()
    for series in range(len(fleet.table)):
        times = batch.time[batch.series == series]
        assert set(np.diff(times).tolist()) == {SECOND}
        offsets.add(int(times[0]))
    assert len(offsets) > len(fleet.devices) / 2


def fleet_of_healthy():
    spec = FleetSpec(
        groups=({"type": "hvac", "count": 5}, {"type": "oven", "count": 5}), faults={"probability": 0}
    )
    return DeviceFleet(spec, load_catalogue(), 1, SECOND)


def test_next_time_is_when_the_next_reading_is_due():
    fleet = fleet_of_healthy()
    times = sorted({row[2] for row in step(fleet_of_healthy(), 3)})
    for before, after in itertools.pairwise(times):
        assert fleet.next_time(before) == before
        assert fleet.next_time(before + 1) == after


def test_it_only_goes_forward():
    fleet = fleet_of_healthy()
    fleet.between(START, START + SECOND)
    with pytest.raises(ValueError, match="is over"):
        fleet.between(START, START + SECOND)


def test_scheduled_commands_come_at_their_time_however_it_is_cut():
    runs = []
    for cut in (1, 7, 30):
        fleet = fleet_of_healthy()
        fleet.schedule(START + 10 * SECOND, InjectFault(Selector(type="oven"), fault="drift", seconds=5))
        fleet.schedule(START + 12 * SECOND, UpdateDevices(Selector("hvac-001"), online=False))
        fleet.schedule(START + 20 * SECOND, UpdateDevices(Selector("hvac-001"), online=True))
        edges = [*range(0, 30, cut), 30]
        runs.append(
            [row for a, b in itertools.pairwise(edges) for row in step(fleet, b - a, START + a * SECOND)]
        )
    assert runs[0] == runs[1] == runs[2]
    drifting = [time - START for device, _, time, _, fault in runs[0] if fault == "drift"]
    assert 10 * SECOND <= min(drifting) <= max(drifting) < 16 * SECOND
    silent = [time - START for device, _, time, _, _ in runs[0] if device == "hvac-001"]
    assert not [time for time in silent if 12 * SECOND <= time < 20 * SECOND]
    assert len(silent) == 22 * 4


def test_devices_come_and_go_and_the_others_do_not_notice():
    fleet, undisturbed = fleet_of_healthy(), fleet_of_healthy()
    step(fleet, 10)
    created = fleet.apply(CreateDevices(Group(type="hvac", name="Second roof"))).devices[0]
    assert (created.device.device_id, created.device.name) == ("hvac-006", "Second roof")
    assert [device.device_id for device in fleet.take_changed()] == ["hvac-006"]
    gone = fleet.apply(DeleteDevices(Selector("hvac-002")))
    assert gone.count == 1
    after = step(fleet, 10, START + 10 * SECOND)
    assert {row[0] for row in after} == {"hvac-006", *(row[0] for row in step(undisturbed, 10))} - {
        "hvac-002"
    }
    others = [row for row in step(undisturbed, 10, START + 10 * SECOND) if row[0] != "hvac-002"]
    assert [row for row in after if row[0] != "hvac-006"] == others
    with pytest.raises(DeviceExistsError):
        fleet.apply(CreateDevices(Group(type="hvac", device_id="hvac-001")))


def test_an_empty_fleet_goes_on():
    fleet = fleet_of_healthy()
    fleet.apply(DeleteDevices(Selector()))
    assert step(fleet, 5) == []
    assert fleet.next_time(START + 5 * SECOND) > START + 5 * SECOND
    fleet.apply(CreateDevices(Group(type="oven")))
    assert len(step(fleet, 5, START + 5 * SECOND)) == 5


def test_updates_are_seen_in_the_record_and_in_the_readings():
    fleet = fleet_of_healthy()
    step(fleet, 2)
    view = fleet.apply(
        UpdateDevices(
            Selector("hvac-001"),
            name="Roof",
            place="North",
            firmware="3.0-beta",
            parameters={"base_power": 100},
        )
    ).devices[0]
    assert (view.device.name, view.device.location.name, view.device.firmware) == (
        "Roof",
        "North",
        "3.0-beta",
    )
    assert view.parameters["base_power"] == 100
    assert [device.device_id for device in fleet.take_changed()] == ["hvac-001"]
    power = [row[3] for row in step(fleet, 5, START + 2 * SECOND) if row[:2] == ("hvac-001", "power")]
    assert all(90 <= value <= 110 for value in power)
    assert fleet.apply(ListDevices(Selector(place="nor*"))).count == 1
    assert fleet.apply(ListDevices(limit=3)).count == 10
    assert len(fleet.apply(ListDevices(limit=3)).devices) == 3


def test_counters_can_be_reset():
    fleet = fleet_of_healthy()
    step(fleet, 100)
    before = fleet.apply(ListDevices(Selector("hvac-001"))).devices[0].values["energy"]
    fleet.apply(UpdateDevices(Selector("hvac-001"), reset_counters=True))
    after = [row[3] for row in step(fleet, 1, START + 100 * SECOND) if row[:2] == ("hvac-001", "energy")]
    assert 0 <= after[0] < before


def test_a_resumed_fleet_gives_the_same_bits(tmp_path):
    path = tmp_path / "state.npz"
    runs = []
    for resumed in (False, True):
        fleet = lively()
        fleet.schedule(START + 90 * SECOND, InjectFault(Selector(type="oven"), fault="spike", readings=9))
        step(fleet, 60)
        fleet.apply(CreateDevices(Group(type="hvac")))
        fleet.apply(DeleteDevices(Selector("hvac-001")))
        fleet.apply(UpdateDevices(Selector("hvac-002"), parameters={"base_power": 77}, fault_factor=3.0))
        if resumed:
            snapshot.save(fleet, path, {"mine": 1}, {"queue": np.arange(3)})
            fleet, extra, arrays = snapshot.load(path, load_catalogue())
            assert extra == {"mine": 1}
            assert arrays["queue"].tolist() == [0, 1, 2]
        runs.append((step(fleet, 60, START + 60 * SECOND), fleet.apply(ListDevices()), fleet.episodes))
    assert runs[0][0] == runs[1][0]
    assert runs[0][2] == runs[1][2]
    assert [replace(view, fault=None) for view in runs[0][1].devices] == [
        replace(view, fault=None) for view in runs[1][1].devices
    ]


def test_states_that_are_none(tmp_path):
    path = tmp_path / "state.npz"
    with pytest.raises(InputError, match="No such file"):
        snapshot.load(path, load_catalogue())
    path.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InputError, match="is no state of a simulation"):
        snapshot.load(path, load_catalogue())
    np.savez(
        path, document=np.frombuffer(b'{"version": 99}', np.uint8), devices=np.zeros(1), series=np.zeros(1)
    )
    with pytest.raises(ConfigError, match="version 99"):
        snapshot.load(path, load_catalogue())


def test_an_interrupted_save_leaves_the_old_state(tmp_path):
    path = tmp_path / "state.npz"
    fleet = fleet_of_healthy()
    snapshot.save(fleet, path)
    before = path.read_bytes()
    (tmp_path / "state.npz.part").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        snapshot.save(fleet, path)
    assert path.read_bytes() == before


def test_an_interval_below_a_microsecond_is_refused():
    with pytest.raises(ConfigError, match="less than a microsecond"):
        DeviceFleet(LIVELY, load_catalogue(), 1, 0)
