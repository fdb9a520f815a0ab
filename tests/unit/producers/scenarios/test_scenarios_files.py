"""Scenario files: what they may say, and what is said of a mistake."""

import pytest

from producers.scenarios.files import list_scenarios, load_scenario
from producers.scenarios.model import parse_offset
from producers.scenarios.timeline import timeline_of
from producers.simulation.commands import (
    ClearFaults,
    CreateDevices,
    DeleteDevices,
    InjectFault,
    Selector,
    SetFaultChances,
    UpdateDevices,
)
from schemas.errors import ConfigError

HEAD = """
title: A test
interval: 10s
duration: 1h
fleet:
  groups:
    - {type: oven, places: [restaurant, factory], count: 20, device_id: "oven-{place}-{number}"}
    - {type: environmental, cities: Denver, manufacturer: DataLogger, firmware: "2.1.0"}
timeline:
"""


@pytest.fixture
def scenario(tmp_path):
    def write(timeline, head=HEAD):
        path = tmp_path / "story.yaml"
        path.write_text(head + timeline)
        return path

    return write


def commands(path):
    return [(at / 1e6, command) for at, command in timeline_of(load_scenario(path))]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:10", 600),
        ("1:30", 5400),
        ("26:30:15", 95_415),
        ("10m", 600),
        ("1h30m", 5400),
        (90, 90),
        (0, 0),
        ("0s", 0),
    ],
)
def test_times_are_read(text, seconds):
    assert parse_offset(text) == seconds


@pytest.mark.parametrize("text", ["ten", "00:60", "-5m", "1:2", True, None, "00:10:99"])
def test_other_times_are_refused(text):
    with pytest.raises(ValueError, match="hours and minutes"):
        parse_offset(text)


def test_hours_and_minutes_need_no_quotes(scenario):
    found = commands(scenario("  - {at: 00:10, clear: yes}\n  - {at: 0:30, clear: yes}\n"))
    assert [at for at, _ in found] == [600, 1800]


def test_each_action_is_its_command(scenario):
    found = commands(
        scenario("""
  - {at: 1m, select: {type: oven, place: factory}, fault: {kind: drift, for: 15m, intensity: 20, onset: 0.5}}
  - {at: 2m, select: {type: oven}, fault: {kind: spike, for: 3 readings, random_one: yes}}
  - {at: 3m, select: {type: oven}, fault: {for: until cleared}}
  - {at: 4m, select: {city: denver}, clear: yes}
  - {at: 5m, select: {manufacturer: DataLogger}, update: {firmware: 3.0-beta, attributes: {tested: "no"}}}
  - {at: 6m, create: {type: lamp, count: 2}}
  - {at: 7m, select: {type: lamp}, delete: yes}
  - {at: 8m, select: {type: oven}, chances: {probability: 0.5}}
  - {at: 9m, chances: {kinds: {drift: {weight: 0}}}}
""")
    )
    oven = Selector(type="oven")
    assert [at for at, _ in found] == [60, 120, 180, 240, 300, 360, 420, 480, 540]
    by_minute = {round(at / 60): command for at, command in found}
    assert by_minute[1] == InjectFault(
        Selector(type="oven", place="factory"), fault="drift", seconds=900.0, intensity=20, onset=0.5
    )
    assert by_minute[2] == InjectFault(oven, fault="spike", readings=3, random_one=True)
    assert by_minute[3] == InjectFault(oven, until_cleared=True)
    assert by_minute[4] == ClearFaults(Selector(city="denver"))
    assert by_minute[5] == UpdateDevices(
        Selector(manufacturer="DataLogger"), firmware="3.0-beta", attributes={"tested": "no"}
    )
    assert isinstance(by_minute[6], CreateDevices)
    assert (by_minute[6].group.type, by_minute[6].group.count) == ("lamp", 2)
    assert by_minute[7] == DeleteDevices(Selector(type="lamp"))
    assert isinstance(by_minute[8], SetFaultChances)
    assert (by_minute[8].type, by_minute[8].chances.probability) == ("oven", 0.5)
    assert by_minute[9].type is None


def test_a_cut_ends_and_what_comes_next_finds_the_link_back(scenario):
    found = commands(scenario("  - {at: 10m, cut: {for: 2m}}\n  - {at: 12m, cut: {for: 1m}}\n"))
    assert [(at, command.online) for at, command in found] == [
        (600, False),
        (720, True),
        (720, False),
        (780, True),
    ]


def test_a_cut_at_the_end_stays(scenario):
    assert [
        (at, command.online) for at, command in commands(scenario("  - {at: 59m, cut: {for: 1m}}\n"))
    ] == [(3540, False)]


def test_entries_come_in_the_order_of_time_and_then_of_the_file(scenario):
    found = commands(
        scenario(
            "  - {at: 20m, clear: yes}\n  - {at: 5m, update: {firmware: a}}\n  - {at: 5m, update: {firmware: b}}\n"
        )
    )
    assert [(at, getattr(command, "firmware", None)) for at, command in found] == [
        (300, "a"),
        (300, "b"),
        (1200, None),
    ]


def test_repeats_end_after_so_many_times_or_with_the_scenario(scenario):
    path = scenario("  - {at: 10m, clear: yes, repeat: {every: 20m, times: 2}}\n")
    assert [at for at, _ in commands(path)] == [600, 1800]
    path = scenario("  - {at: 10m, clear: yes, repeat: {every: 20m}}\n")
    assert [at for at, _ in commands(path)] == [600, 1800, 3000]
    path = scenario("  - {at: 10m, clear: yes, repeat: {every: 20m, times: 9}}\n")
    assert [at for at, _ in commands(path)] == [600, 1800, 3000]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{at: soon, clear: yes}", ["entry 1 (at soon)", "at is 'soon'", "00:10"]),
        ("{at: 1m}", ["entry 1 (at 1m)", "expected one of fault", "found none"]),
        ("{at: 1m, clear: yes, delete: yes}", ["found clear and delete"]),
        ("{clear: yes}", ["entry 1", "at is missing"]),
        ("{at: 1m, falt: {kind: drift}}", ["falt is no key here", "fault"]),
        ("{at: 1m, fault: {knd: drift}}", ["fault.knd is no key here", "kind"]),
        ("{at: 1m, fault: {kind: drift, for: soon}}", ["fault.for is 'soon'", "until cleared"]),
        ("{at: 1m, fault: {kind: drift, for: 1m-2m}}", ["one length, not a range"]),
        ("{at: 1m, fault: {kind: dritf}}", ["no fault dritf", "drift"]),
        ("{at: 1m, select: {type: ovn}, clear: yes}", ["select.type: no device of ovn", "oven"]),
        ("{at: 1m, select: {city: Denvr}, clear: yes}", ["select.city: no device of Denvr", "Denver"]),
        ("{at: 1m, select: {place: factry}, clear: yes}", ["select.place", "factory"]),
        ("{at: 1m, select: {manufacturer: DatLogger}, clear: yes}", ["DataLogger"]),
        ("{at: 1m, select: {city: Denver, type: oven}, clear: yes}", ["no device fits all of it"]),
        ("{at: 1m, select: {type: oven}, update: {}}", ["expected what to change"]),
        ("{at: 1m, select: {type: oven}, update: {state: heatin}}", ["oven has no state heatin", "heating"]),
        ("{at: 1m, select: {type: oven}, update: {parameters: {power: 3}}}", ["oven has no power"]),
        ("{at: 1m, cut: {for: 0s}}", ["cut.for"]),
        ("{at: 1m, cut: {for: 2m}, repeat: {every: 1m, times: 3}}", ["shorter than repeat's every"]),
        ("{at: 1m, create: {type: ovn}}", ["create", "there is no device type ovn", "oven"]),
        ("{at: 1m, select: {type: oven}, create: {type: oven}}", ["create has no select"]),
        ("{at: 1m, delete: yes}", ["delete needs a select"]),
        ("{at: 1m, select: {city: Denver}, chances: {probability: 1}}", ["chances can be set for a type"]),
        ("{at: 1m, chances: {probability: 2}}", ["chances.probability is 2"]),
        ("{at: 1m, chances: {kinds: {dritf: {weight: 1}}}}", ["no fault dritf", "drift"]),
        ("{at: 2h, clear: yes}", ["the scenario ends after 1h"]),
        ("{at: 1s, clear: yes, repeat: {every: 10us}}", ["more than 1,000,000 things happen"]),
        (
            "{at: 1m, select: {device_id: oven-factory-99}, clear: yes}",
            ["no device of oven-factory-99", "oven-"],
        ),
    ],
)
def test_mistakes_are_named_with_file_entry_and_remedy(scenario, entry, words):
    path = scenario(f"  - {entry}\n")
    with pytest.raises(ConfigError) as refused:
        load_scenario(path)
    text = str(refused.value)
    assert text.startswith(str(path))
    assert all(word in text for word in words), text


def test_an_entry_is_judged_by_what_happened_before_it(scenario):
    path = scenario("""
  - {at: 30m, select: {firmware: 3.0-beta}, clear: yes}
  - {at: 10m, update: {firmware: 3.0-beta}}
  - {at: 40m, create: {type: lamp, device_id: porch}}
  - {at: 41m, select: {device_id: porch}, fault: {kind: flicker}}
  - {at: 45m, select: {type: lamp}, delete: yes}
  - {at: 50m, select: {city: Denver}, update: {place: Depot}}
  - {at: 51m, select: {place: depot}, clear: yes}
""")
    assert len(commands(path)) == 7
    path = scenario(
        "  - {at: 10m, select: {type: oven}, delete: yes}\n  - {at: 11m, select: {type: oven}, clear: yes}\n"
    )
    with pytest.raises(ConfigError, match="entry 2"):
        load_scenario(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["expected keys and values"]),
        ("- 1\n", ["found a list"]),
        ("title: [\n", ["line 2"]),
        ("title: x\ntitle: y\n", ["title is said twice"]),
        ("title: x\nfleet: mixd\ntimeline: [{at: 1m, clear: yes}]\n", ["fleet", "mixed"]),
        ("title: x\nfleet: {groups: [{type: ovn}]}\ntimeline: [{at: 1m, clear: yes}]\n", ["ovn", "oven"]),
        ("title: x\nfleet: mixed\ntimeline: []\n", ["timeline"]),
        ("title: x\nfleet: mixed\ntimelin: []\n", ["timelin is no key here", "timeline"]),
        (
            "title: x\nfleet: mixed\ntimeline: [{at: 1m, clear: yes, repeat: {every: 1m}}]\n",
            ["repeat without an end"],
        ),
        (
            "title: x\nfleet: mixed\ntimeline: [{at: 1m, clear: yes}]\nexpect: {faults: [dritf]}\n",
            ["expect.faults", "drift"],
        ),
    ],
)
def test_a_file_that_is_no_scenario_is_refused(scenario, text, words):
    with pytest.raises(ConfigError) as refused:
        load_scenario(scenario(text, head=""))
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_unknown_names_get_the_nearest_one():
    with pytest.raises(ConfigError, match="heatwave"):
        load_scenario("heatwav")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_scenario("nowhere/heatwave.yaml")


def test_a_fleet_beside_the_scenario_brings_its_own_types(tmp_path):
    (tmp_path / "kiln.yaml").write_text("types:\n  kiln: {extends: oven}\n")
    (tmp_path / "pottery.yaml").write_text("types: kiln.yaml\ngroups: [{type: kiln, places: factory}]\n")
    story = tmp_path / "story.yaml"
    story.write_text(
        "title: x\nfleet: pottery.yaml\ntimeline: [{at: 1m, select: {type: kiln}, fault: {kind: drift}}]\n"
    )
    loaded = load_scenario(str(story))
    assert loaded.name == str(story)
    assert loaded.fleet.types == (str(tmp_path / "kiln.yaml"),)
    story.write_text(
        "title: x\nfleet: {types: kiln.yaml, groups: [{type: kiln}]}\ntimeline: [{at: 1m, clear: yes}]\nseed: 7\n"
    )
    assert load_scenario(story).seed == 7


def test_shipped_scenarios_are_described():
    scenarios = list_scenarios()
    assert [scenario.name for scenario in scenarios] == sorted(scenario.name for scenario in scenarios)
    for scenario in scenarios:
        assert len(scenario.description) > 80
        assert load_scenario(scenario.name).title == scenario.title
