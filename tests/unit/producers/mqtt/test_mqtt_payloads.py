"""What simulated devices publish, to the byte."""

import itertools
import json
from functools import partial

import pytest
from fleets_of_mqtt import SECOND, START, energy_fleet, fleet_of_types, rows

from producers.bridge.decode import RuleReader
from producers.devices.catalogue import load_catalogue
from producers.mqtt.payloads import (
    RESERVED,
    Answer,
    DataMessages,
    require_publishable,
    simulator_payload,
    status_fields,
    status_payload,
)
from producers.mqtt.topics import Topics
from producers.simulation.commands import ClearFaults, InjectFault, ListDevices, Selector, UpdateDevices
from schemas.bridge_rules import DEFAULT_RULES
from schemas.dead_letters import TimeBounds
from schemas.errors import ConfigError, InputError
from schemas.readings import Device, Reading

HVAC = "mock-hvac-001"


def step(fleet, end_us, begin_us=None):
    """The batch from where the fleet stands, and its messages as (device, document, readings)."""
    batch = fleet.between(fleet.position_us or START if begin_us is None else begin_us, end_us)
    messages = DataMessages(fleet.table, fleet.interval_us).of(batch)
    return batch, [(each.device_id, json.loads(each.payload), each.readings) for each in messages]


def of_hvac(messages):
    return [document for device_id, document, _ in messages if device_id == HVAC]


def test_an_energy_device_speaks_as_iot_mock_service_does():
    fleet = energy_fleet()
    batch = fleet.between(START, START + 5 * SECOND)
    messages = list(DataMessages(fleet.table, fleet.interval_us).of(batch))
    assert [each.readings for each in messages] == [4] * 5
    (message,) = [each for each in messages if each.device_id == HVAC]
    value = {metric: value for device, metric, _, value, _ in rows(fleet, batch) if device == HVAC}
    ((_, _, time, _, _), *_) = [row for row in rows(fleet, batch) if row[0] == HVAC]
    seconds, micros = divmod(time - START, SECOND)
    expected = (
        f'{{"device_id":"mock-hvac-001","timestamp":"2026-09-21T14:13:{20 + seconds}.{micros:06}Z",'
        f'"power":{value["power"]},"voltage":{value["voltage"]},"current":{value["current"]},'
        f'"energy":{value["energy"]},"status":"online","enabled":true,"anomaly":false}}'
    )
    assert message.payload.decode() == expected


def test_during_a_fault():
    fleet = energy_fleet()
    step(fleet, START + 5 * SECOND)
    fleet.apply(InjectFault(Selector(HVAC), fault="voltage_fluctuation", readings=3))
    documents = [of_hvac(step(fleet, fleet.position_us + 5 * SECOND)[1])[0] for _ in range(4)]
    assert [document["anomaly"] for document in documents] == [True, True, True, False]
    assert [document.get("anomaly_duration_remaining") for document in documents] == [2, 1, 0, None]
    assert list(documents[0]) == [
        "device_id", "timestamp", "power", "voltage", "current", "energy", "status", "enabled",
        "anomaly", "anomaly_type", "anomaly_duration_remaining", "anomaly_metrics",
    ]  # fmt: skip
    assert documents[0]["anomaly_type"] == "voltage_fluctuation"
    assert documents[0]["anomaly_metrics"] == ["voltage", "current"]
    assert "anomaly_type" not in documents[3]


def documents_in_pieces(seconds):
    """Half an hour of many faults that come and go by themselves."""
    fleet, documents = energy_fleet(probability=0.05), []
    while (fleet.position_us or START) < START + 1800 * SECOND:
        documents += of_hvac(step(fleet, (fleet.position_us or START) + seconds * SECOND)[1])
    return documents


def test_the_remaining_duration_counts_down():
    documents = documents_in_pieces(1)
    assert len(documents) == 360
    assert sum(document["anomaly"] for document in documents) > 50
    for before, after in itertools.pairwise(documents):
        if left := before.get("anomaly_duration_remaining"):
            assert after["anomaly_type"] == before["anomaly_type"]
            assert after["anomaly_duration_remaining"] == left - 1
        elif before["anomaly"]:
            assert not after["anomaly"] or after["anomaly_duration_remaining"] >= 2


@pytest.mark.parametrize("seconds", [5, 12, 60, 600])
def test_it_is_the_same_in_pieces_of_many_readings(seconds):
    assert documents_in_pieces(seconds) == documents_in_pieces(1)


def remaining_with_commands(seconds):
    """Faults of one kind that commands begin, cut short and make to follow each other, and a device that is away."""
    fleet, select = energy_fleet(), Selector(HVAC)
    spike = partial(InjectFault, select, fault="power_spike")
    for at, what in (
        (10, spike(readings=6)),
        (25, ClearFaults(select)),
        (30, spike(readings=2)),
        (40, spike(readings=4)),
        (45, UpdateDevices(select, online=False)),
        (50, UpdateDevices(select, online=True)),
        (75, spike(until_cleared=True)),
        (85, ClearFaults(select)),
        (90, spike(readings=3)),
        (95, InjectFault(select, fault="voltage_fluctuation", readings=2)),
    ):
        fleet.schedule(START + at * SECOND, what)
    documents = []
    while (fleet.position_us or START) < START + 120 * SECOND:
        documents += of_hvac(step(fleet, (fleet.position_us or START) + seconds * SECOND)[1])
    return [
        (document.get("anomaly_type"), document.get("anomaly_duration_remaining")) for document in documents
    ]


@pytest.mark.parametrize("seconds", [1, 8, 40, 120])
def test_it_is_what_was_known_at_the_reading_whatever_came_later(seconds):
    none, forever = (None, None), ("power_spike", None)
    assert remaining_with_commands(seconds) == [
        none, none,
        *(("power_spike", left) for left in (5, 4, 3)), none,
        *(("power_spike", left) for left in (1, 0, 3)),
        *(("power_spike", left) for left in (1, 0)), none, none, none,
        forever, forever, none,
        ("power_spike", 2), ("voltage_fluctuation", 1), ("voltage_fluctuation", 0), none, none, none,
    ]  # fmt: skip


def test_a_fault_until_cleared_has_no_remaining_duration():
    fleet = energy_fleet()
    step(fleet, START + 5 * SECOND)
    fleet.apply(InjectFault(Selector(HVAC), fault="power_spike", until_cleared=True))
    for document in of_hvac(step(fleet, fleet.position_us + 20 * SECOND)[1]):
        assert document["anomaly_type"] == "power_spike"
        assert "anomaly_duration_remaining" not in document


def test_who_says_nothing_publishes_nothing():
    fleet = energy_fleet()
    step(fleet, START + 5 * SECOND)
    fleet.apply(InjectFault(Selector(HVAC), fault="missing_data", readings=2))
    counts = [len(of_hvac(step(fleet, fleet.position_us + 5 * SECOND)[1])) for _ in range(3)]
    assert counts == [0, 0, 1]


def test_metrics_that_say_nothing_are_left_out():
    fleet = energy_fleet()
    batch = fleet.between(START, START + 5 * SECOND)
    first, second, *_ = DataMessages(fleet.table, fleet.interval_us).of(batch.rows(2, 8))
    assert json.loads(first.payload).keys() & {"power", "voltage", "current", "energy"} == {
        "current",
        "energy",
    }
    assert (first.readings, second.readings) == (2, 4)


@pytest.mark.parametrize(
    "types", [tuple(sorted(load_catalogue().types)), ("hvac", "server")], ids=["all", "energy"]
)
def test_the_default_rule_gives_exactly_the_readings(types):
    fleet = fleet_of_types(types, probability=0.05)
    (rule,) = DEFAULT_RULES
    reader = RuleReader(rule)
    for _ in range(3):
        batch = fleet.between(fleet.position_us or START, (fleet.position_us or START) + 200 * SECOND)
        expected = [Reading(*row) for row in rows(fleet, batch)]
        assert {reading.fault for reading in expected} > {None}
        found = []
        for message in DataMessages(fleet.table, fleet.interval_us).of(batch):
            parts = reader.pattern.match(Topics("energy").data(message.device_id))
            readings = reader.readings(parts, message.payload, START, TimeBounds())
            assert len(readings) == message.readings
            found += readings
        assert found == expected


def test_the_numbers_of_series_may_grow():
    fleet = energy_fleet()
    messages = DataMessages(fleet.table, fleet.interval_us)
    assert list(messages.of(fleet.between(START, START))) == []
    first = {each.device_id for each in messages.of(fleet.between(START, START + 5 * SECOND))}
    fleet.table.series("later", "power")
    batch = fleet.between(START + 5 * SECOND, START + 10 * SECOND)
    batch.series[:] = fleet.table.series("later", "power")
    assert {each.device_id for each in messages.of(batch)} == {"later"}
    assert len(first) == 5


def test_what_is_no_number_is_refused():
    fleet = energy_fleet()
    batch = fleet.between(START, START + 5 * SECOND)
    batch.value[3] = float("nan")
    with pytest.raises(InputError, match="is no number"):
        list(DataMessages(fleet.table, fleet.interval_us).of(batch))


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_metrics_cannot_be_called_as_other_fields(name):
    require_publishable([Device("d", "t", units={"power": "kW"})])
    with pytest.raises(ConfigError, match=f"d: the metric {name} cannot be published"):
        require_publishable([Device("d", "t", units={"power": "kW", name: "1"})])


def test_every_shipped_type_can_be_published():
    for name, kind in load_catalogue().types.items():
        require_publishable([Device("d", name, units=dict.fromkeys(kind.metrics, "1"))])


def test_a_status():
    fleet = energy_fleet()
    (view,) = fleet.apply(ListDevices(Selector(HVAC))).devices
    fields = status_fields(view, "plant-7")
    expected = {
        "device_id": HVAC,
        "timestamp": "2026-09-21T14:13:20Z",
        "status": "online",
        "enabled": True,
        "name": "HVAC System",
        "type": "hvac",
        "location": "Building A HVAC",
        "firmware": view.device.firmware,
        "parameters": {"base_power": 25.0, "base_voltage": 240.0},
        "simulator": "plant-7",
    }
    assert json.loads(status_payload(fields, START)) == expected
    assert list(json.loads(status_payload(fields, START))) == list(expected)
    answered = json.loads(status_payload(fields, START, Answer("turn_on", success=True, message="done")))
    assert answered == {
        **expected,
        "last_command": {"command": "turn_on", "success": True, "message": "done"},
    }
    assert simulator_payload("plant-7", online=False) == b'{"simulator":"plant-7","status":"offline"}'


def test_topics():
    topics = Topics("plant/energy")
    assert topics.data("d") == "plant/energy/devices/d/data"
    assert topics.status("d") == "plant/energy/devices/d/status"
    assert topics.commands == "plant/energy/devices/+/commands"
    assert topics.commanded("plant/energy/devices/d/commands") == "d"
    for other in ("plant/energy/devices//commands", "plant/energy/devices/a/b/commands", "energy/devices/d/commands",
                  "plant/energy/devices/d/data", "plant/energy/devices/commands"):  # fmt: skip
        assert topics.commanded(other) is None
