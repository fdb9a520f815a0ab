"""Fleet files: those that are shipped, a user's own, and fleets of another size."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.devices.catalogue import load_catalogue
from producers.devices.expand import expand, fleet_types
from producers.devices.fleet_spec import FleetSpec, Group
from producers.devices.fleets import load_fleet, shipped_fleets, spread_fleet
from schemas.errors import ConfigError

CATALOGUE = load_catalogue()


def test_the_shipped_fleets():
    assert shipped_fleets() == ["energy", "environmental", "evaluation", "industrial", "mixed", "signal"]


@pytest.mark.parametrize("name", shipped_fleets())
def test_every_shipped_fleet_expands(name):
    spec = load_fleet(name)
    devices = expand(spec, CATALOGUE, 1)
    assert len(devices) == sum(group.count for group in spec.groups)
    assert len(fleet_types(spec, CATALOGUE)) == len(spec.groups)
    assert spec.title
    assert spec.interval


def test_the_five_devices_of_the_mock_service():
    spec = load_fleet("energy")
    devices = expand(spec, CATALOGUE, 1)
    kinds = fleet_types(spec, CATALOGUE)
    assert spec.interval == 5.0
    assert spec.faults.probability == 0.02
    assert [
        (device.device_id, device.name, device.location.name, device.parameters["base_power"], kinds[device.group].name)
        for device in devices
    ] == [
        ("mock-hvac-001", "HVAC System", "Building A HVAC", 25.0, "hvac"),
        ("mock-lighting-001", "LED Lighting", "Office lighting", 8.5, "lighting"),
        ("mock-server-001", "Server Rack", "Data center equipment", 45.0, "server"),
        ("mock-industrial-001", "Production Line", "Industrial equipment", 120.0, "industrial"),
        ("mock-appliance-001", "Kitchen Equipment", "Cafeteria appliances", 15.0, "appliance"),
    ]  # fmt: skip


def test_the_mixed_fleet_has_some_of_every_type():
    spec = load_fleet("mixed")
    assert {group.type for group in spec.groups} == set(CATALOGUE.types)
    families = {CATALOGUE.types[group.type].family for group in spread_fleet(spec, 6).groups}
    assert families == {"energy", "industrial", "environmental", "signal"}


@pytest.mark.parametrize("name", shipped_fleets())
def test_most_readings_of_a_shipped_fleet_are_healthy_and_some_are_not(name):
    """The share of readings with a fault, at each fleet's own interval, from the means of the durations."""
    spec = load_fleet(name)
    for group, kind in zip(spec.groups, fleet_types(spec, CATALOGUE), strict=True):
        chance = spec.faults.probability if group.faults.probability is None else group.faults.probability
        weight = sum(fault.weight for fault in kind.faults.values())
        readings = 0.0
        for fault in kind.faults.values():
            mean = (fault.duration.low + fault.duration.high) / 2.0
            readings += fault.weight / weight * (mean if fault.duration.in_readings else mean / spec.interval)
        share = chance * readings / (1.0 + chance * readings)
        assert 0.003 < share < 0.13, (name, group.type, share)


groups = st.lists(st.integers(1, 50), min_size=1, max_size=8)


@given(groups, st.integers(1, 2000))
def test_a_fleet_of_another_size_has_exactly_so_many_in_proportion(counts, devices):
    spec = FleetSpec(groups=tuple(Group(type="oven", count=count) for count in counts))
    spread = [group.count for group in spread_fleet(spec, devices).groups]
    assert sum(spread) == devices
    if devices < len(counts):
        assert spread == [1] * devices
        return
    assert len(spread) == len(counts)
    assert min(spread) >= 1
    exact = [devices * count / sum(counts) for count in counts]
    if min(exact) >= 1.0:
        assert max(abs(one - other) for one, other in zip(spread, exact, strict=True)) < 1.0


def test_a_fleet_of_its_own_size_stays_as_it_is():
    spec = load_fleet("mixed")
    assert spread_fleet(spec, sum(group.count for group in spec.groups)) == spec


def test_the_largest_groups_stay_where_there_are_too_few_devices():
    spec = FleetSpec(
        groups=tuple(Group(type="oven", count=count, first_number=count) for count in (1, 5, 3, 5))
    )
    kept = spread_fleet(spec, 2)
    assert [(group.first_number, group.count) for group in kept.groups] == [(5, 1), (5, 1)]
    assert [group.first_number for group in spread_fleet(spec, 3).groups] == [5, 3, 5]


def test_a_device_with_an_id_of_its_own_stays_the_only_one():
    spec = FleetSpec(groups=(Group(type="hvac", device_id="main"), Group(type="oven")))
    assert [group.count for group in spread_fleet(spec, 10).groups] == [1, 9]
    with pytest.raises(ConfigError, match="1 devices with ids of their own and cannot have 3"):
        spread_fleet(FleetSpec(groups=(Group(type="hvac", device_id="main"),)), 3)
    with pytest.raises(ConfigError, match="0 devices"):
        spread_fleet(spec, 0)


def test_files_beside_a_fleet_are_found(tmp_path, monkeypatch):
    folder = tmp_path / "fleets"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "types: types.yaml\ncities_file: cities.csv\nfactors_file: /etc/factors.yaml\ngroups: [{type: oven}]\n"
    )
    monkeypatch.chdir(tmp_path)
    for path in ("fleets/mine.yaml", str(folder / "mine.yaml"), Path("fleets/mine.yaml")):
        spec = load_fleet(path)
        assert spec.types == (str(folder / "types.yaml"),)
        assert spec.cities_file == str(folder / "cities.csv")
        assert spec.factors_file == "/etc/factors.yaml"


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("", "fleet.yaml: expected a fleet, found nothing", "Begin with `groups:`."),
        ("groups: []", "line 1: groups: expected at least one group", ""),
        ("title: x", "groups is missing", "Give groups."),
        ("groups:\n- typ: oven", "line 2: groups.0.type is missing; groups.0.typ is no key here", ""),
        (
            "groups:\n- type: oven\n- {type: fan, cuont: 3}",
            "line 3: groups.1.cuont is no key here",
            "Did you mean count?",
        ),
        ("groups:\n- {type: oven, count: 0}", "line 2: groups.0.count is 0", ""),
        ("interval: 0s\ngroups: [{type: oven}]", "line 1: interval", ""),
        (
            "interval: soon\ngroups: [{type: oven}]",
            "line 1: interval is 'soon': expected a length of time",
            "",
        ),
        ("faults: {probability: 2}\ngroups: [{type: oven}]", "line 1: faults.probability is 2", ""),
        ("groups: [{type: oven, device_id: '{x}'}]", "device_id is '{x}': {x} is unknown", ""),
        ("groups: [{type: oven, name: '{x}'}]", "name is '{x}': {x} is unknown", ""),
        ("groups: [{type: oven, locations: [{name: a, latitude: 91}]}]", "latitude is 91", ""),
        ("groups: [{type: oven, locations: [{name: a, timezone: Mars}]}]", "no such time zone", ""),
        (
            "groups: [{type: oven, cities: any, locations: [{name: a}]}]",
            "give one of locations and cities",
            "",
        ),
        ("groups: [{type: Oven}]", "groups.0.type is 'Oven': expected a name", ""),
        ("groups: [", "fleet.yaml, line 1", "Mend the YAML there."),
    ],
)
def test_fleet_files_that_make_no_sense_are_refused(tmp_path, text, message, remedy):
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_fleet(path)
    assert refused.value.message.startswith(str(path))
    assert message in refused.value.message
    assert remedy in refused.value.remedy


def test_a_fleet_that_is_not_there():
    with pytest.raises(ConfigError, match=r"there is no fleet mxed. Did you mean mixed\?"):
        load_fleet("mxed")
    with pytest.raises(ConfigError, match=r"nothing\.yaml: cannot be read"):
        load_fleet("nothing.yaml")
